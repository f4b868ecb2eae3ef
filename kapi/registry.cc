#include "kapi/registry.h"

#include "kapi/criu/criu_checkpointer.h"

namespace ckptfs {

std::vector<std::unique_ptr<Checkpointer>> MakeCheckpointers() {
  std::vector<std::unique_ptr<Checkpointer>> all;
  all.push_back(std::make_unique<CriuCheckpointer>());
  return all;
}

}  // namespace ckptfs
