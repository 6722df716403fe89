// For tests and benchmarks: writes WebSocket frames.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace penstock::parsers::wire::websocket::testing {

// `first`: FIN, RSV bits and opcode. Masked frames use the mask 1 2 3 4.
inline std::string frame(std::uint8_t first, std::string_view payload, bool masked) {
  std::string out(1, static_cast<char>(first));
  const auto mask_bit = static_cast<std::uint8_t>(masked ? 0x80 : 0);
  if (payload.size() < 126) {
    out.push_back(static_cast<char>(mask_bit | payload.size()));
  } else if (payload.size() < 65536) {
    out.push_back(static_cast<char>(mask_bit | 126));
    for (const int shift : {8, 0}) out.push_back(static_cast<char>(payload.size() >> shift));
  } else {
    out.push_back(static_cast<char>(mask_bit | 127));
    for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(payload.size() >> shift));
  }
  if (!masked) return out.append(payload);
  out += "\x01\x02\x03\x04";
  for (std::size_t i = 0; i < payload.size(); ++i)
    out.push_back(static_cast<char>(payload[i] ^ static_cast<char>(i % 4 + 1)));
  return out;
}

}  // namespace penstock::parsers::wire::websocket::testing
