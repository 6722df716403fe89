// For tests and benchmarks: writes event-stream messages with string headers.
#pragma once

#include <zlib.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace penstock::parsers::wire::eventstream::testing {

inline void append32(std::string& out, std::size_t value) {
  for (const int shift : {24, 16, 8, 0}) out.push_back(static_cast<char>(value >> shift));
}
inline void append_crc(std::string& out) {
  append32(out, crc32_z(0, reinterpret_cast<const Bytef*>(out.data()), out.size()));
}

inline std::string message(const std::vector<std::pair<std::string, std::string>>& headers, std::string_view payload) {
  std::string block;
  for (const auto& [name, value] : headers) {
    block.push_back(static_cast<char>(name.size()));
    block += name;
    block.push_back(7);
    block.push_back(static_cast<char>(value.size() >> 8));
    block.push_back(static_cast<char>(value.size()));
    block += value;
  }
  std::string out;
  append32(out, 16 + block.size() + payload.size());
  append32(out, block.size());
  append_crc(out);
  out += block;
  out += payload;
  append_crc(out);
  return out;
}

}  // namespace penstock::parsers::wire::eventstream::testing
