// Numbers of enforcement scopes. A number outlives the process that gave it out: the kernel keeps what is written under
// it while no daemon runs, so the same name must find the same number after a restart. Names are opaque; number 0 is
// the default scope and is never given out. Pipeline thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "userspace/base/result.h"

namespace penstock::pipeline {

class ScopeIds {
 public:
  // `path` empty: in memory only. A file that cannot be understood is set aside: numbers then start beyond
  // `after_unknown`, away from those that the kernel may still hold.
  static base::Result<ScopeIds> open(const std::string& path);

  // The number of `name`; a new one is written to disk before it is returned. With all numbers taken, `in_use` tells
  // which must stay; 0 (the default scope) when all must, counted.
  std::uint32_t id_of(const std::string& name, const std::function<bool(std::uint32_t)>& in_use);
  const std::map<std::string, std::uint32_t>& all() const { return ids_; }
  std::uint64_t exhausted() const { return exhausted_; }
  std::uint64_t save_errors() const { return save_errors_; }

 private:
  void save();
  std::string path_;
  std::map<std::string, std::uint32_t> ids_;
  std::uint32_t next_ = 1;
  std::uint64_t exhausted_ = 0;
  std::uint64_t save_errors_ = 0;
};

}  // namespace penstock::pipeline
