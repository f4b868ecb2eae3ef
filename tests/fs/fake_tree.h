// The whole tree over the fakes; TreeTest asks it directly, MountTest through the kernel.
#pragma once

#include <optional>

#include "fs/root.h"
#include "fs/tree.h"
#include "tests/fs/fakes.h"

namespace ckptfs {

class FakeTree {
 protected:
  FakeTree() {
    ViewOptions options;
    options.agent = &agent_;
    options.workers = workers_.get();
    options.admissions = admissions_.get();
    options.node = "here";
    view_.emplace(options);
    tree_.emplace(std::make_shared<RootFolder>(&*view_), workers_.get());
  }
  // Workers first: what they do needs the tree.
  ~FakeTree() {
    EndWorkers();
    tree_.reset();
  }
  void EndWorkers() {
    admissions_.reset();
    workers_.reset();
  }

  fake::FakeStore store_;
  fake::FakeAgent agent_{&store_};
  std::unique_ptr<Workers> workers_ = std::make_unique<Workers>(2);
  std::unique_ptr<Workers> admissions_ = std::make_unique<Workers>(1);
  std::optional<View> view_;
  std::optional<Tree> tree_;
};

}  // namespace ckptfs
