// The locators over damaged and made-up images: no crash, no unbounded work, no probe outside of the file. The fuzzer
// does the same for longer.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <random>

#include "userspace/locators/testing/hostile_image.h"

namespace penstock::locators {
namespace {

std::vector<std::uint8_t> read(const char* path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(HostileImages, MadeUpCodeAroundEveryAnchor) {
  std::mt19937 random(1);
  for (int round = 0; round < 400; ++round) {
    std::vector<std::uint8_t> input(random() % 3000);
    for (auto& b : input) b = static_cast<std::uint8_t>(random());
    testing::analyze_hostile(input);
  }
}

TEST(HostileImages, DamagedRealLibraries) {
  std::mt19937 random(2);
  for (const char* path : {"/usr/lib/x86_64-linux-gnu/libssl.so.3", "/usr/lib/x86_64-linux-gnu/libssl3.so"}) {
    const auto whole = read(path);
    ASSERT_FALSE(whole.empty()) << path;
    for (int round = 0; round < 40; ++round) {
      auto damaged = whole;
      const std::size_t where = round % 2 == 0 ? 1024 : damaged.size();  // the headers, or anywhere
      for (int i = 0; i < 8; ++i) damaged[random() % where] = static_cast<std::uint8_t>(random());
      if (round % 5 == 0) damaged.resize(random() % damaged.size());
      testing::analyze_bytes(damaged);
    }
  }
}

// An image that is nothing but references and calls: the result of every pass is capped.
TEST(HostileImages, NothingButReferences) {
  std::vector<std::uint8_t> input(200'000);
  for (std::size_t i = 0; i < input.size(); ++i) input[i] = i % 2 == 0 ? 0x07 : 0xe8;
  testing::analyze_hostile(input);
}

}  // namespace
}  // namespace penstock::locators
