// Render: the flat-keyed texts, "KEY VALUE" a line, keys in a fixed order, a
// value that is not there as "none". Values have no newlines.
#pragma once

#include <string>
#include <vector>

#include "agent/agent.h"

namespace ckptfs {

struct NodeFacts {
  std::string node;
  std::string key_id;
  std::string suite;
  size_t jobs = 0;
  std::vector<std::string> trusted;  // names
  Result<StoreUse> use{StoreUse{}};
  std::vector<CheckpointerStatus> checkpointers;
  std::vector<IncomingInfo> incoming;
};

std::string RenderNode(const NodeFacts& facts);
std::string RenderJob(const JobStatus& job, const std::vector<IncomingInfo>& incoming);
std::string RenderUnit(const UnitStatus& unit);
std::string RenderProgress(const JobProgress& progress);
std::string RenderCheckpointer(const CheckpointerStatus& checkpointer);
// "incoming sim/1 bad signer 1A2B… is not trusted"
std::string RenderIncoming(const IncomingInfo& incoming);

}  // namespace ckptfs
