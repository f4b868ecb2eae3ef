// Inodes: the nodes that the kernel knows, by number, for as long as it does.
//
// A number is a hash of the node's key: the same node has the same number also
// after the kernel forgot it, and a plain readdir can name numbers without
// keeping anything. Two keys with one hash get neighbouring numbers.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "base/guarded.h"
#include "fs/node.h"

namespace ckptfs {

using Ino = uint64_t;
inline constexpr Ino kRootIno = 1;

// Thread-safe.
class Inodes {
 public:
  explicit Inodes(NodePtr root);

  // nullptr: the kernel asks for what it was told to forget (or never had).
  NodePtr Find(Ino ino) const;
  // The number that `node` has or would get.
  Ino NumberOf(const Node& node) const;
  // The kernel got it in one more lookup.
  Ino Ref(const NodePtr& node);
  void Forget(Ino ino, uint64_t lookups);
  size_t size() const { return table_.Lock()->size(); }

 private:
  struct Known {
    NodePtr node;
    uint64_t lookups = 0;
  };
  using Table = std::unordered_map<Ino, Known>;
  static Ino Place(const Table& table, const Node& node);
  Guarded<Table> table_;
};

}  // namespace ckptfs
