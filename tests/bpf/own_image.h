// This test program as an image to be probed: functions of ours stand for those of a runtime.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "userspace/capture/kernel.h"
#include "userspace/locators/core/attach_plan.h"

namespace penstock::testing_kernel {

// Where in the program's file the code at this address is.
inline std::uint64_t file_offset(const void* code) {
  const auto address = reinterpret_cast<std::uint64_t>(code);
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    unsigned long begin = 0, end = 0, offset = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx %*s %lx", &begin, &end, &offset) == 3 && begin <= address && address < end)
      return address - begin + offset;
  }
  ADD_FAILURE() << "no mapping holds this code";
  return 0;
}

inline void attach_own(capture::Kernel& kernel, std::vector<locators::ProbeSite> sites) {
  struct stat st {};
  ASSERT_EQ(stat("/proc/self/exe", &st), 0);
  const auto attached = kernel.attach({"/proc/self/exe", st.st_dev, st.st_ino}, {"own", std::move(sites), ""});
  ASSERT_TRUE(attached) << attached.error().message();
}

// An application-data record around these bytes, as it goes over the wire.
inline std::string record_of(const std::string& sealed) {
  return std::string("\x17\x03\x03", 3) + static_cast<char>(sealed.size() >> 8) + static_cast<char>(sealed.size()) +
         sealed;
}

}  // namespace penstock::testing_kernel
