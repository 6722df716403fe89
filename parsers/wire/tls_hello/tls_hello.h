// The first bytes that a TLS client sends: records (RFC 8446 §5.1) and the ClientHello in them (§4.1.2), in whatever
// segments the bytes were written and however many records carry the message. Tells whom the client asks for (SNI, RFC
// 6066 §3), what it would speak (ALPN, RFC 7301 §3.1), whether the name is only a front (encrypted ClientHello, RFC
// 9849), and how many bytes were handshake and how many application data. Keeps at most kMaxHello bytes, until the
// hello was read.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace penstock::parsers::wire::tls_hello {

inline constexpr std::size_t kMaxHello = 4096;  // of the handshake message; longer ones are read as far as they came

struct ClientHello {
  std::string server_name;  // lower case; empty: none was sent
  std::string alpn;         // what was offered, in order, comma-separated; empty: nothing
  bool ech = false;         // an encrypted hello is inside: `server_name` says who is in front
  bool early_data = false;  // application data may follow before the server has answered
  bool whole = false;       // false: the message is longer than what was seen; what is absent may be in the rest
};

class FirstBytes {
 public:
  // `at`: where the bytes are in what the connection sent. Bytes fed before are skipped; a hole ends the reading.
  void feed(std::uint64_t at, std::span<const std::uint8_t> bytes);
  // No more bytes will come: what was seen of an unfinished hello is taken.
  void finish();

  // Absent until the hello was read, and for good when this is no TLS client.
  const std::optional<ClientHello>& hello() const { return hello_; }
  // The bytes do not make TLS records, or there was a hole.
  bool broken() const { return broken_; }
  // Bytes fed so far, holes not counted.
  std::uint64_t seen_bytes() const { return next_; }
  // Of these: records of the handshake, and of application data (which carry the end of a TLS 1.3 handshake too).
  std::uint64_t handshake_bytes() const { return handshake_bytes_; }
  std::uint64_t application_bytes() const { return application_bytes_; }

 private:
  void record_bytes(std::span<const std::uint8_t> bytes);
  void begin_record();
  void handshake(std::span<const std::uint8_t> bytes);
  void read_hello(bool whole);

  std::uint64_t next_ = 0;
  std::uint64_t handshake_bytes_ = 0;
  std::uint64_t application_bytes_ = 0;
  std::array<std::uint8_t, 5> header_{};
  std::size_t header_have_ = 0;
  std::size_t record_left_ = 0;
  std::vector<std::uint8_t> message_;  // the first handshake message, its header included
  std::optional<ClientHello> hello_;
  bool read_ = false;  // the first message is over, whatever it was
  bool broken_ = false;
};

}  // namespace penstock::parsers::wire::tls_hello
