#include "parsers/session/content.h"

#include <algorithm>

namespace penstock::parsers::session {
namespace {

constexpr std::size_t kEnoughToTell = 4;
constexpr std::size_t kLookedAt = 64;  // of the start: no compressed stream is printable for so long
constexpr std::string_view kGzip = "\x1f\x8b";
constexpr std::string_view kZstd = "\x28\xb5\x2f\xfd";

// How many bytes of `text` are printable, in UTF-8; a character that the end cuts counts.
std::size_t printable(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const auto first = static_cast<unsigned char>(text[at]);
    const bool ascii = (first >= ' ' && first <= '~') || first == '\t' || first == '\r' || first == '\n';
    const bool lead = first >= 0xc2 && first <= 0xf4;
    if (!ascii && !lead) return at;
    const std::size_t more = ascii ? 0 : first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
    for (std::size_t n = 1; n <= more && at + n < text.size(); ++n)
      if ((static_cast<unsigned char>(text[at + n]) & 0xc0) != 0x80) return at;
    at += 1 + more;
  }
  return text.size();
}

// JSON, an event stream or a form: text that no compressed stream begins with by accident. Brotli and raw deflate have
// no magic number, so this is what speaks against them.
bool plain_text(std::string_view start) {
  start = start.substr(0, kLookedAt);
  if (printable(start) < start.size()) return false;
  const std::size_t at = start.find_first_not_of(" \t\r\n");
  if (at == std::string_view::npos) return true;
  start.remove_prefix(at);
  for (std::string_view text : {"{", "[", "data", "even", "id: ", "retr", ": ", "--"})
    if (start.starts_with(text.substr(0, start.size()))) return true;
  return false;
}

}  // namespace

void ContentDecoder::feed(std::string_view bytes) {
  if (decoder_) {
    decode(bytes);
    return;
  }
  if (start_.empty() && bytes.size() >= kEnoughToTell) {
    decide(bytes);
    decode(bytes);
    return;
  }
  start_.append(bytes);
  if (start_.size() < kEnoughToTell) return;
  const std::string start = std::move(start_);
  decide(start);
  decode(start);
}

void ContentDecoder::finish() {
  if (!decoder_ && !start_.empty()) {
    const std::string start = std::move(start_);
    decide(start);
    decode(start);
  }
  if (decoder_ && coded() && decoder_->finish() != ParseState::kDone) failed_ = true;
}

void ContentDecoder::decide(std::string_view start) {
  std::string_view coding = announced_;
  if (start.starts_with(kGzip) && coding.find("gzip") == std::string_view::npos) coding = "gzip";
  if (start.starts_with(kZstd) && coding.find("zstd") == std::string_view::npos) coding = "zstd";
  if (plain_text(start)) coding = {};
  decoder_.emplace(coding);
}

void ContentDecoder::decode(std::string_view bytes) {
  if (stopped(decoder_->feed({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, *this)))
    failed_ = true;
}

void ContentDecoder::on_inflated(std::span<const std::uint8_t> bytes) {
  sink_.on_content({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

}  // namespace penstock::parsers::session
