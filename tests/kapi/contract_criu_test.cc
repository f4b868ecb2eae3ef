#include "tests/kapi/contract.h"
#include "tests/kapi/criu_test.h"

namespace ckptfs {
namespace {

Checkpointer* TheCriu() {
  static auto* const criu = [] {
    ::setenv("CKPTFS_INIT", CKPTFS_BUILD_DIR "/ckptfs-init", 1);
    return new CriuCheckpointer;
  }();
  return criu;
}

INSTANTIATE_TEST_SUITE_P(Criu, CheckpointerContract,
                         testing::Values(ContractCase{"criu", [] { return TheCriu(); }}),
                         ContractName);

}  // namespace
}  // namespace ckptfs
