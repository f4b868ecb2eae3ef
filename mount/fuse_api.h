// libfuse's low-level API in the one version that we are written for.
#pragma once

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>
