// For tests and benchmarks: writes HTTP/2 frames and header blocks as a peer would (blocks by nghttp2's deflater).
#pragma once

#include <nghttp2/nghttp2.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "parsers/wire/http2/frame.h"

namespace penstock::parsers::wire::http2::testing {

inline std::string frame(FrameType type, std::uint8_t flags, std::uint32_t stream, std::string_view payload) {
  std::string out;
  for (const int shift : {16, 8, 0}) out.push_back(static_cast<char>(payload.size() >> shift));
  out.push_back(static_cast<char>(type));
  out.push_back(static_cast<char>(flags));
  for (const int shift : {24, 16, 8, 0}) out.push_back(static_cast<char>(stream >> shift));
  return out.append(payload);
}

inline std::string setting(std::uint16_t id, std::uint32_t value) {
  std::string out;
  for (const int shift : {8, 0}) out.push_back(static_cast<char>(id >> shift));
  for (const int shift : {24, 16, 8, 0}) out.push_back(static_cast<char>(value >> shift));
  return out;
}

using FieldList = std::vector<std::pair<std::string, std::string>>;

class Encoder {
 public:
  explicit Encoder(std::size_t table_bytes = 4096) { nghttp2_hd_deflate_new(&deflater_, table_bytes); }
  ~Encoder() { nghttp2_hd_deflate_del(deflater_); }
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;
  void change_table_size(std::size_t bytes) { nghttp2_hd_deflate_change_table_size(deflater_, bytes); }
  std::string block(const FieldList& fields) {
    std::vector<nghttp2_nv> list;
    for (const auto& [name, value] : fields) {
      list.push_back({reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
                      reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(), 0});
    }
    std::string out(nghttp2_hd_deflate_bound(deflater_, list.data(), list.size()), '\0');
    const ssize_t size = nghttp2_hd_deflate_hd(deflater_, reinterpret_cast<std::uint8_t*>(out.data()), out.size(),
                                               list.data(), list.size());
    out.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
    return out;
  }

 private:
  nghttp2_hd_deflater* deflater_ = nullptr;
};

}  // namespace penstock::parsers::wire::http2::testing
