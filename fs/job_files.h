// The files of a job that answer late: ctl (a command) and wait (the job's end).
#pragma once

#include <memory>
#include <string>

#include "fs/node.h"
#include "fs/view.h"

namespace ckptfs {

// jobs/JOB/ctl: a write is a command and returns when that has finished; an
// interruption cancels it. Reading lists the commands.
std::shared_ptr<OpenedFile> OpenControl(const View* view, std::string job, const Caller& opener);

// jobs/JOB/wait: a read returns once the job has ended, with one line; more reads
// at the end of that line give the end of the file. poll(2) says POLLIN then.
std::shared_ptr<OpenedFile> OpenWait(const View* view, std::string job, const Caller& opener);

}  // namespace ckptfs
