// Why the plaintext of a connection was not seen, in the words of `penstock coverage` and the metrics.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace penstock::pipeline {

enum class Unseen : std::uint8_t {
  kUnknownTls,    // encrypted by code that nobody has found
  kNoProbe,       // found, but not to be probed
  kBypassed,      // its library is probed, and these bytes did not pass through it, or before it was
  kProbeRemoved,  // the program has put its own bytes back
  kNotExamined,   // its images are still being looked at
  kJava,          // encrypted by code that the JVM makes at run time
  kKernelTls,
  kQuic,
  kEch,          // the server's name is encrypted: it may be an AI endpoint
  kForeignSend,  // sent by sendfile, splice or io_uring: no call of a library leads to the socket
  kJoinedLate,   // the connection is older than the daemon
};

struct UnseenText {
  std::string_view name;  // label and JSON value
  std::string_view hint;  // what would help
};
inline constexpr std::array<UnseenText, 11> kUnseenTexts{{
    {"unknown_tls", "its TLS library is not known; run it with one that is (docs/KERNELS.md), or `opaque: deny`"},
    {"no_probe", "its TLS library is known, its calls were not found; another build of it may do"},
    {"bypassed", "its TLS library is probed, these bytes did not pass through it: `mode: strict` refuses them"},
    {"probe_removed", "it has removed its probe: `mode: strict` refuses what it sends"},
    {"not_examined", "its program is being examined; list large ones under `images:` to have it done beforehand"},
    {"java", "the JVM's own TLS is not read; use a TLS library with a native provider, or `opaque: deny`"},
    {"ktls", "turn kernel TLS off in the program (OpenSSL: SSL_OP_ENABLE_KTLS)"},
    {"quic", "turn HTTP/3 off in the program, or gate it: UDP to port 443 is refused in `enforce` and `strict`"},
    {"ech", "turn the encrypted ClientHello off, or name the address under `endpoints:`"},
    {"foreign_send", "have the program send with its TLS library, without io_uring or sendfile"},
    {"joined_late", "connections made from now on are seen; restart the program to have them all"},
}};

constexpr std::string_view name(Unseen reason) { return kUnseenTexts[static_cast<std::size_t>(reason)].name; }
constexpr std::string_view hint(Unseen reason) { return kUnseenTexts[static_cast<std::size_t>(reason)].hint; }

}  // namespace penstock::pipeline
