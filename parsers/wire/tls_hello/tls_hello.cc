#include "parsers/wire/tls_hello/tls_hello.h"

#include <algorithm>

namespace penstock::parsers::wire::tls_hello {
namespace {

constexpr std::uint8_t kChangeCipherSpec = 0x14, kHandshake = 0x16, kApplicationData = 0x17, kHeartbeat = 0x18;
constexpr std::uint8_t kClientHello = 1;
constexpr std::size_t kMaxRecord = 16384 + 2048;  // RFC 5246 §6.2.3, the larger of the two versions
constexpr std::size_t kMessageHeader = 4;
constexpr std::size_t kMaxName = 255;
constexpr std::size_t kMaxProtocols = 8;
constexpr std::size_t kMaxProtocol = 32;

enum Extension : std::uint16_t { kServerName = 0, kAlpn = 16, kEarlyData = 42, kEch = 0xfe0d };

// Takes fields off a span; anything taken beyond its end leaves it failed and empty.
class Reader {
 public:
  explicit Reader(std::span<const std::uint8_t> bytes) : rest_(bytes) {}
  std::uint16_t number(std::size_t bytes) {
    std::uint16_t value = 0;
    for (const std::uint8_t byte : take(bytes)) value = static_cast<std::uint16_t>(value << 8 | byte);
    return value;
  }
  std::span<const std::uint8_t> take(std::size_t bytes) {
    if (bytes > rest_.size()) {
      failed_ = true;
      rest_ = {};
      return {};
    }
    const auto taken = rest_.first(bytes);
    rest_ = rest_.subspan(bytes);
    return taken;
  }
  // A vector whose length comes first, in so many bytes.
  std::span<const std::uint8_t> vector(std::size_t length_bytes) { return take(number(length_bytes)); }
  bool more() const { return !rest_.empty(); }
  bool failed() const { return failed_; }

 private:
  std::span<const std::uint8_t> rest_;
  bool failed_ = false;
};

// What may stand in a name that people and metrics are shown; anything else makes it no name.
std::string host_name(std::span<const std::uint8_t> bytes) {
  if (bytes.empty() || bytes.size() > kMaxName) return {};
  std::string name;
  for (const std::uint8_t byte : bytes) {
    const char c = static_cast<char>(byte >= 'A' && byte <= 'Z' ? byte + 32 : byte);
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_')) return {};
    name += c;
  }
  if (name.back() == '.') name.pop_back();
  return name;
}

void read_server_name(std::span<const std::uint8_t> bytes, ClientHello& hello) {
  Reader list(Reader(bytes).vector(2));
  while (list.more()) {
    const std::uint16_t type = list.number(1);
    const auto name = list.vector(2);
    if (type == 0 && !list.failed()) {
      hello.server_name = host_name(name);
      return;
    }
  }
}

void read_alpn(std::span<const std::uint8_t> bytes, ClientHello& hello) {
  Reader list(Reader(bytes).vector(2));
  for (std::size_t n = 0; list.more() && n < kMaxProtocols; ++n) {
    const auto protocol = list.vector(1);
    const bool plain = std::all_of(protocol.begin(), protocol.end(),
                                   [](std::uint8_t c) { return c > 0x20 && c < 0x7f && c != ',' && c != '"'; });
    if (list.failed() || protocol.empty() || protocol.size() > kMaxProtocol || !plain) continue;
    if (!hello.alpn.empty()) hello.alpn += ',';
    hello.alpn.append(protocol.begin(), protocol.end());
  }
}

// An extension comes once (RFC 8446 §4.2): the first of several holds.
void read_extension(std::uint16_t type, std::span<const std::uint8_t> bytes, ClientHello& hello) {
  switch (type) {
    case kServerName:
      if (hello.server_name.empty()) read_server_name(bytes, hello);
      return;
    case kAlpn:
      if (hello.alpn.empty()) read_alpn(bytes, hello);
      return;
    case kEarlyData:
      hello.early_data = true;
      return;
    case kEch:
      hello.ech = true;
      return;
    default:
      return;
  }
}

}  // namespace

void FirstBytes::feed(std::uint64_t at, std::span<const std::uint8_t> bytes) {
  if (at > next_) broken_ = true;
  if (broken_) return;
  const std::uint64_t known = next_ - at;
  if (known >= bytes.size()) return;
  bytes = bytes.subspan(static_cast<std::size_t>(known));
  next_ += bytes.size();
  record_bytes(bytes);
}

void FirstBytes::record_bytes(std::span<const std::uint8_t> bytes) {
  while (!bytes.empty() && !broken_) {
    if (record_left_ == 0) {
      header_[header_have_++] = bytes.front();
      bytes = bytes.subspan(1);
      if (header_have_ == header_.size()) begin_record();
      continue;
    }
    const auto piece = bytes.first(std::min(bytes.size(), record_left_));
    record_left_ -= piece.size();
    bytes = bytes.subspan(piece.size());
    (header_[0] == kApplicationData ? application_bytes_ : handshake_bytes_) += piece.size();
    if (header_[0] == kHandshake) handshake(piece);
    if (record_left_ == 0) header_have_ = 0;
  }
}

void FirstBytes::begin_record() {
  record_left_ = static_cast<std::size_t>(header_[3] << 8 | header_[4]);
  if (header_[0] < kChangeCipherSpec || header_[0] > kHeartbeat || header_[1] != 3 || record_left_ > kMaxRecord) {
    broken_ = true;
    return;
  }
  (header_[0] == kApplicationData ? application_bytes_ : handshake_bytes_) += header_.size();
  if (record_left_ == 0) header_have_ = 0;
}

void FirstBytes::handshake(std::span<const std::uint8_t> bytes) {
  if (read_) return;
  const std::size_t room = kMaxHello - message_.size();
  message_.insert(message_.end(), bytes.begin(),
                  bytes.begin() + static_cast<std::ptrdiff_t>(std::min(room, bytes.size())));
  if (message_.size() < kMessageHeader) return;
  const std::size_t length = kMessageHeader + (static_cast<std::size_t>(message_[1]) << 16) +
                             (static_cast<std::size_t>(message_[2]) << 8) + message_[3];
  if (message_[0] != kClientHello) {
    finish();
  } else if (message_.size() >= length) {
    message_.resize(length);
    read_hello(true);
  } else if (message_.size() == kMaxHello) {
    read_hello(false);
  }
}

void FirstBytes::finish() {
  if (read_) return;
  if (message_.size() > kMessageHeader && message_[0] == kClientHello) return read_hello(false);
  read_ = true;
  message_ = {};
}

void FirstBytes::read_hello(bool whole) {
  read_ = true;
  const std::vector<std::uint8_t> message = std::move(message_);
  message_ = {};
  ClientHello& hello = hello_.emplace();
  const std::span<const std::uint8_t> bytes(message);
  Reader body(bytes.subspan(kMessageHeader));
  body.take(2 + 32);  // version, random
  body.vector(1);     // session id
  body.vector(2);     // cipher suites
  body.vector(1);     // compression methods
  if (body.failed()) return;
  hello.whole = whole;
  if (!body.more()) return;  // extensions are optional before TLS 1.3
  const std::size_t length = body.number(2);
  std::size_t used = 0;
  while (body.more() && used < length) {
    const std::uint16_t type = body.number(2);
    const std::size_t size = body.number(2);
    const auto extension = body.take(size);
    if (body.failed()) break;
    used += 4 + size;
    read_extension(type, extension, hello);
  }
  if (body.failed()) hello.whole = false;
}

}  // namespace penstock::parsers::wire::tls_hello
