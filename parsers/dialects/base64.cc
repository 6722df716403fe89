#include "parsers/dialects/base64.h"

namespace penstock::parsers::dialects {
namespace {

int value_of(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+' || c == '-') return 62;
  if (c == '/' || c == '_') return 63;
  return -1;
}

}  // namespace

void Base64Decoder::feed(std::string_view text, std::string& out) {
  for (const char c : text) {
    if (c == '=') ended_ = true;
    const int value = value_of(c);
    if (ended_ || value < 0) continue;
    bits_ = (bits_ << 6 | static_cast<std::uint32_t>(value)) & 0xffffff;
    if (++count_ == 4) count_ = 0;
    if (count_ == 2) out.push_back(static_cast<char>(bits_ >> 4 & 0xff));
    if (count_ == 3) out.push_back(static_cast<char>(bits_ >> 2 & 0xff));
    if (count_ == 0) out.push_back(static_cast<char>(bits_ & 0xff));
  }
}

std::string base64_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size() / 4 * 3 + 3);
  Base64Decoder().feed(text, out);
  return out;
}

}  // namespace penstock::parsers::dialects
