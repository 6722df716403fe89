// What the fuzz targets share. An input is a few bytes that say how the rest is cut, and the rest. The rest is fed
// whole and cut; both must give the same events, or the target aborts.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string_view>
#include <vector>

namespace penstock::fuzz {

using Bytes = std::span<const std::uint8_t>;
using Pieces = std::vector<Bytes>;

inline std::string_view text(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

// A fingerprint of events: content in pieces is added byte by byte, so that where pieces end does not show.
class Log {
 public:
  void add(std::string_view content) {
    for (const char c : content) mix(static_cast<std::uint8_t>(c));
  }
  void add(Bytes content) { add(text(content)); }
  void event(std::uint64_t kind, std::uint64_t value = 0) {
    mix(0x1ff);
    mix(kind);
    mix(value);
  }
  void event(std::uint64_t kind, std::string_view value) {
    event(kind, value.size());
    add(value);
  }
  std::uint64_t value() const { return hash_; }

 private:
  void mix(std::uint64_t value) {
    hash_ ^= value;
    hash_ *= 0x100000001b3;
    hash_ ^= hash_ >> 29;
  }
  std::uint64_t hash_ = 0xcbf29ce484222325;
};

// Takes the leading bytes of an input as choices.
class Input {
 public:
  explicit Input(Bytes bytes) : rest_(bytes) {}
  std::uint8_t byte() {
    if (rest_.empty()) return 0;
    const std::uint8_t first = rest_[0];
    rest_ = rest_.subspan(1);
    return first;
  }
  std::uint32_t word() {
    std::uint32_t value = 0;
    for (int i = 0; i < 4; ++i) value = value << 8 | byte();
    return value;
  }
  Bytes rest() const { return rest_; }

 private:
  Bytes rest_;
};

// Cuts into pieces of up to 1, 2, … 64 or 4096 bytes, as `seed` has it.
inline Pieces cut(Bytes bytes, std::uint32_t seed) {
  Pieces pieces;
  std::uint32_t state = seed | 1;
  const std::uint32_t largest = (seed >> 8) % 4 == 0 ? 4096 : 1u << ((seed >> 10) % 7);
  while (!bytes.empty()) {
    state = state * 1664525 + 1013904223;
    const std::size_t size = std::min<std::size_t>(bytes.size(), (state >> 16) % largest + 1);
    pieces.push_back(bytes.first(size));
    bytes = bytes.subspan(size);
  }
  return pieces;
}

// run(pieces) feeds a new parser and returns Log::value().
template <class Run>
void whole_against_cut(Bytes bytes, std::uint32_t seed, Run&& run) {
  const std::uint64_t whole = run(Pieces{bytes});
  const std::uint64_t pieces = run(cut(bytes, seed));
  if (whole == pieces) return;
  std::fprintf(stderr, "cutting the input changes its events\n");
  std::abort();
}

inline void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

}  // namespace penstock::fuzz

// Each target defines this.
void fuzz(penstock::fuzz::Input input);
