// Where and how to probe an image: the contract between the locators, discovery and capture. All offsets are *file
// offsets* (what a uprobe takes), never virtual addresses. Plain data; nothing here depends on a TLS library's version:
// a call shape says where the plaintext and its length are, on entry and on return.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::locators {

// System V arguments are a1…a6 (rdi rsi rdx rcx r8 r9), then s1, s2 … (the words above the return address).
// Append only; the number is stored in the plan cache.
enum class CallShape : std::uint8_t {
  kTlsWriteOut = 1,  // f(ctx, buf, size_t len, size_t* written): > 0 is success. ssl_write_internal, SSL_write_ex
  kTlsReadOut = 2,   // f(ctx, buf, size_t len, size_t* readbytes): > 0 is success. ssl_read_internal, SSL_read_ex
  kTlsWriteRet = 3,  // f(ctx, buf, len): n > 0 bytes. SSL_write, gnutls_record_send, PR_Send, PR_Write
  kTlsReadRet = 4,   // f(ctx, buf, len): n > 0 bytes. SSL_read, gnutls_record_recv, PR_Recv, PR_Read
  kTlsWriteFlagsOut = 5,  // f(ctx, buf, size_t len, flags, size_t* written): > 0 is success. ssl_write_internal from 3.3 on
};

std::string_view name(CallShape);

struct ProbeSite {
  // Entry: the instruction to probe. Arguments are in place and [rsp] is the return address there.
  std::uint64_t entry_offset = 0;
  // True if the kernel emulates the instruction at entry_offset (push, nop, jcc, jmp, call): ~0.5 µs instead of a single
  // step of 1-16 µs. False is reported by `coverage`.
  bool cheap = false;
  // Where a uretprobe goes (registered like a uprobe: its breakpoint replaces [rsp]). 0: no return probe.
  std::uint64_t return_offset = 0;
  CallShape shape = CallShape::kTlsWriteRet;
  std::string what;  // the function, e.g. "ssl_write_internal"; for people, never for decisions

  bool operator==(const ProbeSite&) const = default;
};

struct AttachPlan {
  std::string runtime;           // name of the locator: "openssl", "boringssl", "go", …
  std::vector<ProbeSite> sites;  // never empty
  std::string note;              // what people should know ("writes are inlined: 2 sites"); may be empty

  bool operator==(const AttachPlan&) const = default;
};

}  // namespace penstock::locators
