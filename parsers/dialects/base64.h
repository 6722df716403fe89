// Base64 (RFC 4648 §4 and §5) in pieces. Characters outside the alphabet are skipped, "=" ends the data.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace penstock::parsers::dialects {

class Base64Decoder {
 public:
  // Appends what `text` completes.
  void feed(std::string_view text, std::string& out);

 private:
  std::uint32_t bits_ = 0;
  int count_ = 0;
  bool ended_ = false;
};

std::string base64_decode(std::string_view text);

}  // namespace penstock::parsers::dialects
