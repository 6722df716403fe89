// ClientHellos to order, for tests.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::parsers::wire::tls_hello::testing {

inline std::string number(std::size_t value, int bytes) {
  std::string out;
  while (bytes-- > 0) out += static_cast<char>(value >> (8 * bytes) & 0xff);
  return out;
}
inline std::string vector(std::string_view content, int length_bytes) {
  return number(content.size(), length_bytes) + std::string(content);
}
inline std::string extension(std::size_t type, std::string_view content) {
  return number(type, 2) + vector(content, 2);
}
inline std::string server_name(std::string_view name) {
  return extension(0, vector(number(0, 1) + vector(name, 2), 2));
}
inline std::string alpn(const std::vector<std::string>& protocols) {
  std::string list;
  for (const std::string& protocol : protocols) list += vector(protocol, 1);
  return extension(16, vector(list, 2));
}
// The handshake message, without a record around it.
inline std::string client_hello(std::string_view extensions) {
  const std::string body = number(0x0303, 2) + std::string(32, 'r') + vector(std::string(32, 's'), 1) +
                           vector("\x13\x01\x13\x02", 2) + vector(std::string(1, '\0'), 1) + vector(extensions, 2);
  return number(1, 1) + vector(body, 3);
}
inline std::string record(std::size_t type, std::string_view content) {
  return number(type, 1) + number(0x0301, 2) + vector(content, 2);
}

}  // namespace penstock::parsers::wire::tls_hello::testing
