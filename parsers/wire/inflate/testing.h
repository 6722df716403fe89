// For tests: writes what zlib writes. `window_bits` as zlib has it: MAX_WBITS, plus 16 for gzip, negative for raw
// deflate.
#pragma once

#include <zlib.h>

#include <string>
#include <string_view>

namespace penstock::parsers::wire::inflate::testing {

inline std::string deflated(std::string_view input, int window_bits, int level = 6) {
  z_stream stream{};
  deflateInit2(&stream, level, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, input.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input.data()));
  stream.avail_in = static_cast<uInt>(input.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}
inline std::string gzip(std::string_view input) { return deflated(input, MAX_WBITS + 16); }

}  // namespace penstock::parsers::wire::inflate::testing
