// For tests over recordings, which get their folder as the one argument.
#pragma once

#include <gtest/gtest.h>

#include <cstdio>
#include <string>

namespace penstock::parsers::decode::testing {

inline std::string& folder() {
  static std::string name;
  return name;
}

inline int run_over_folder(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
    return 2;
  }
  folder() = argv[1];
  return RUN_ALL_TESTS();
}

}  // namespace penstock::parsers::decode::testing
