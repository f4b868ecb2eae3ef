// A folder of its own for one test, removed with all in it.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "base/fd.h"

namespace ckptfs {

class TempDir {
 public:
  TempDir() {
    char name[] = "/tmp/ckptfs-test-XXXXXX";
    if (::mkdtemp(name) == nullptr) ADD_FAILURE() << "mkdtemp failed";
    path_ = name;
    auto opened = Open(path_, O_RDONLY | O_DIRECTORY);
    if (opened) fd_ = std::move(*opened);
  }
  ~TempDir() {
    auto removed = RemoveTree(kCwd, path_);
    if (!removed) ADD_FAILURE() << removed.error().Text();
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

  void Write(const std::string& name, std::string_view content, mode_t mode = 0644) const {
    auto fd = Open(*this / name, O_WRONLY | O_CREAT | O_TRUNC, mode);
    ASSERT_TRUE(fd);
    ASSERT_TRUE(WriteAll(fd->get(), AsBytes(content)));
    ASSERT_EQ(::fchmod(fd->get(), mode), 0);
  }
  std::string Read(const std::string& name) const {
    auto content = ReadFile(*this / name, 1 << 20);
    return content ? *content : "(" + content.error().Text() + ")";
  }
  bool Has(const std::string& name) const { return ::access((*this / name).c_str(), F_OK) == 0; }

 private:
  std::string path_;
  Fd fd_;
};

}  // namespace ckptfs
