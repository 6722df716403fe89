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
  kTlsWriteRet = 3,  // f(ctx, buf, len): n > 0 bytes. SSL_write, gnutls_record_send, ssl_SecureSend
  kTlsReadRet = 4,   // f(ctx, buf, len): n > 0 bytes. SSL_read, gnutls_record_recv
  kTlsWriteFlagsOut =
      5,  // f(ctx, buf, size_t len, flags, size_t* written): > 0 is success. ssl_write_internal from 3.3 on

  // Go, register ABI (1.17 on): rax = receiver, rbx = buffer, rcx = length. Never a uretprobe (stacks move): the probes
  // sit on the RET instructions themselves, and are tied to the entry by goroutine. At the entry skip the hit when CF
  // or ZF is set: the stack check jumps, and the function begins again. (7 is not used.)
  kGoWrite = 6,       // (*tls.Conn).Write, entry: plaintext at entry
  kGoRead = 8,        // (*tls.Conn).Read, entry
  kGoReadReturn = 9,  // one of its RETs: n in rax

  // One record at the AEAD boundary (BoringSSL and AWS-LC). In TLS the additional data are the record header, so a
  // probe checks itself: adlen is 5, ad = 1[4-7] 03 0[1-4] LL LL. In TLS 1.3 the last plaintext byte is the content
  // type. open may call open_gather, and seal seal_scatter, for the same record: a hit nested in another one on its
  // thread is the same bytes.
  kAeadSeal = 10,  // f(ctx, out, *outlen, max, nonce, nlen, s1 in, s2 inlen, s3 ad, s4 adlen): plaintext at entry,
                   // ciphertext on return
  kAeadSealScatter =
      11,  // f(ctx, out, tag, *taglen, maxtag, nonce, s1 nlen, s2 in, s3 inlen, s4 extra, s5 extralen, s6 ad, s7 adlen)
  kAeadOpen = 12,  // f(ctx, out, *outlen, max, nonce, nlen, s1 in, s2 inlen, s3 ad, s4 adlen): out[*outlen] on return 1
  kAeadOpenGather =
      13,  // f(ctx, out, nonce, nlen, in, inlen, s1 tag, s2 taglen, s3 ad, s4 adlen): out[inlen] on return 1

  // The same in ring; a Rust function without a fixed ABI. The probe finds its arguments by looking for a pointer to a
  // record header among registers and stack words.
  kRingSeal = 14,  // plaintext at entry, ciphertext on return, in place
  kRingOpen = 15,  // plaintext on return, in place

  kTlsFree = 16,    // f(ctx): the context ends, its address may be reused; entry only. SSL_free
  kTlsRecord = 17,  // f(bio, records, int len): ciphertext on its way out, inside a write; entry only. BIO_write
  kTlsReadFlagsRet =
      18,  // f(ctx, buf, len, flags): n > 0 bytes; those that are only looked at (flags & 2) do not count
};

std::string_view name(CallShape);

struct ProbeSite {
  // Entry: the instruction to probe. Arguments are in place and [rsp] is the return address there.
  std::uint64_t entry_offset = 0;
  // True if the kernel emulates the instruction at entry_offset (push, nop, jcc, jmp, call): ~0.5 µs instead of a
  // single step of 1-16 µs. False is reported by `coverage`.
  bool cheap = false;
  // The same as entry_offset if the return is to be seen too (one session probes both: its breakpoint replaces [rsp]).
  // 0: no return probe.
  std::uint64_t return_offset = 0;
  CallShape shape = CallShape::kTlsWriteRet;
  std::string what;  // the function, e.g. "ssl_write_internal"; for people, never for decisions

  bool operator==(const ProbeSite&) const = default;
};

struct AttachPlan {
  std::string runtime;           // name of the locator: "openssl", "boringssl", "go", …
  std::vector<ProbeSite> sites;  // never empty
  std::string note;              // what people should know ("writes are inlined: 2 sites"); may be empty

  // False for a part of a library that only helps another image's calls (libcrypto): nothing is seen by it alone.
  bool sees_plaintext() const;

  bool operator==(const AttachPlan&) const = default;
};

}  // namespace penstock::locators
