#include "fs/inodes.h"

#include <string>

namespace ckptfs {
namespace {

constexpr Ino kLastBit = 1ull << 62;

Ino HashOf(const Node& node) {
  uint64_t hash = 0xcbf29ce484222325ull;  // FNV-1a
  for (char c : node.key()) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  hash &= kLastBit - 1;
  // Small numbers are the root's and the kernel's own.
  if (hash < 256) hash += 256;
  return node.sorts_last() ? hash | kLastBit : hash;
}

}  // namespace

Inodes::Inodes(NodePtr root) {
  auto table = table_.Lock();
  (*table)[kRootIno] = {std::move(root), 1};  // never forgotten
}

Ino Inodes::Place(const Table& table, const Node& node) {
  if (node.key() == table.at(kRootIno).node->key()) return kRootIno;
  Ino ino = HashOf(node);
  if (node.inode_per_lookup()) {
    while (table.contains(ino)) ++ino;
    return ino;
  }
  for (auto at = table.find(ino); at != table.end() && at->second.node->key() != node.key();
       at = table.find(ino))
    ++ino;
  return ino;
}

NodePtr Inodes::Find(Ino ino) const {
  auto table = table_.Lock();
  auto at = table->find(ino);
  return at == table->end() ? nullptr : at->second.node;
}

Ino Inodes::NumberOf(const Node& node) const {
  auto table = table_.Lock();
  return Place(*table, node);
}

Ino Inodes::Ref(const NodePtr& node) {
  auto table = table_.Lock();
  Ino ino = Place(*table, *node);
  Known& known = (*table)[ino];
  if (!known.node) known.node = node;
  ++known.lookups;
  return ino;
}

void Inodes::Forget(Ino ino, uint64_t lookups) {
  if (ino == kRootIno) return;
  NodePtr dropped;  // destroyed outside of the lock
  auto table = table_.Lock();
  auto at = table->find(ino);
  if (at == table->end()) return;
  if (at->second.lookups > lookups) {
    at->second.lookups -= lookups;
    return;
  }
  dropped = std::move(at->second.node);
  table->erase(at);
}

}  // namespace ckptfs
