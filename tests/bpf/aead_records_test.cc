// TLS at the AEAD boundary: start → act → compare, one act per promise of bpf/capture/aead_records.bpf.c and
// ring_records.bpf.c. Functions with the calling convention of EVP_AEAD_CTX_seal and _open stand for a library's,
// others for what Rust compilers have made of ring's; the cipher is their own.
#include <sys/uio.h>

#include <array>
#include <thread>

#include "tests/bpf/kernel_test.h"
#include "tests/bpf/own_image.h"

namespace {

constexpr std::size_t kTagBytes = 16;

void encipher(std::uint8_t* out, const std::uint8_t* in, std::size_t n, const std::uint8_t* nonce) {
  for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<std::uint8_t>(in[i] ^ nonce[i % 8]);
}

struct Tag {  // comes back in two registers
  std::uint8_t bytes[kTagBytes];
};
struct TagOrError {  // … in memory
  std::uint8_t failed;
  Tag tag;
};
struct Overlapping {
  std::uint8_t* at;
  std::size_t len, from;
};

Tag tag_of(const std::uint8_t* nonce) {
  Tag tag;
  for (std::size_t i = 0; i < kTagBytes; ++i) tag.bytes[i] = static_cast<std::uint8_t>(0xa0 + nonce[i % 8] + i);
  return tag;
}

}  // namespace

extern "C" {

[[gnu::noinline]] int penstock_seal(void*, std::uint8_t* out, std::size_t* out_len, std::size_t,
                                    const std::uint8_t* nonce, std::size_t, const std::uint8_t* in, std::size_t in_len,
                                    const std::uint8_t*, std::size_t) {
  encipher(out, in, in_len, nonce);
  const Tag tag = tag_of(nonce);
  std::memcpy(out + in_len, tag.bytes, kTagBytes);
  *out_len = in_len + kTagBytes;
  return 1;
}

[[gnu::noinline]] int penstock_open(void*, std::uint8_t* out, std::size_t* out_len, std::size_t,
                                    const std::uint8_t* nonce, std::size_t, const std::uint8_t* in, std::size_t in_len,
                                    const std::uint8_t*, std::size_t) {
  if (in_len < kTagBytes) return 0;
  encipher(out, in, in_len - kTagBytes, nonce);
  *out_len = in_len - kTagBytes;
  return 1;
}
}

namespace {

[[gnu::noipa]] Tag old_ring_seal(const void*, const std::uint8_t* nonce, const std::uint8_t*, std::size_t,
                                 std::uint8_t* in_out, std::size_t len) {
  encipher(in_out, in_out, len, nonce);
  return tag_of(nonce);
}

// The first argument is where the tag goes, as with `sret`.
[[gnu::noipa]] Tag* ring_seal_to(Tag* out, const void*, const std::uint8_t* nonce, const std::uint8_t*, std::size_t,
                                 std::uint8_t* in_out, std::size_t len) {
  encipher(in_out, in_out, len, nonce);
  *out = tag_of(nonce);
  return out;
}

[[gnu::noipa]] TagOrError new_ring_seal(const void*, const std::uint8_t* nonce, const std::uint8_t*, std::size_t,
                                        std::uint8_t* in_out, std::size_t len, std::uint32_t) {
  encipher(in_out, in_out, len, nonce);
  return {0, tag_of(nonce)};
}

[[gnu::noipa]] Tag old_ring_open(const void*, const std::uint8_t* nonce, const std::uint8_t*, std::size_t,
                                 std::size_t from, std::uint8_t* in_out, std::size_t len) {
  encipher(in_out, in_out + from, len - from, nonce);
  return tag_of(nonce);
}

[[gnu::noipa]] TagOrError new_ring_open(const void*, const std::uint8_t* nonce, const std::uint8_t*, std::size_t,
                                        const Overlapping* in_out, std::uint32_t) {
  encipher(in_out->at, in_out->at + in_out->from, in_out->len - in_out->from, nonce);
  return {0, tag_of(nonce)};
}

}  // namespace

namespace penstock {
namespace {

using testing_kernel::KernelTest;
using testing_tls::Pair;

enum class Abi { kEvp, kOldRing, kRingTo, kNewRing };

class AeadRecords : public KernelTest, public testing::WithParamInterface<Abi> {
 protected:
  void on_loaded() override {
    const auto site = [](auto* function, locators::CallShape shape) {
      const std::uint64_t at = testing_kernel::file_offset(reinterpret_cast<const void*>(function));
      return locators::ProbeSite{at, false, at, shape, "own"};
    };
    using Shape = locators::CallShape;
    testing_kernel::attach_own(*kernel_,
                               {site(&penstock_seal, Shape::kAeadSeal), site(&penstock_open, Shape::kAeadOpen),
                                site(&old_ring_seal, Shape::kRingSeal), site(&ring_seal_to, Shape::kRingSeal),
                                site(&new_ring_seal, Shape::kRingSeal), site(&old_ring_open, Shape::kRingOpen),
                                site(&new_ring_open, Shape::kRingOpen)});
  }

  // In place, as the library of this test does it; the tag is put behind the ciphertext.
  void seal_with(std::uint8_t* data, std::size_t len, const std::string& ad) {
    const auto* header = reinterpret_cast<const std::uint8_t*>(ad.data());
    std::size_t n = 0;
    Tag tag{};
    switch (GetParam()) {
      case Abi::kEvp:
        penstock_seal(nullptr, data, &n, len + kTagBytes, nonce_, sizeof nonce_, data, len, header, ad.size());
        return;
      case Abi::kOldRing:
        tag = old_ring_seal(this, nonce_, header, ad.size(), data, len);
        break;
      case Abi::kRingTo:
        ring_seal_to(&tag, this, nonce_, header, ad.size(), data, len);
        break;
      case Abi::kNewRing:
        tag = new_ring_seal(this, nonce_, header, ad.size(), data, len, 1).tag;
        break;
    }
    std::memcpy(data + len, tag.bytes, kTagBytes);
  }
  // `from`: where the ciphertext begins; the plaintext goes to the beginning.
  void open_with(std::uint8_t* data, std::size_t from, std::size_t len, const std::string& ad) {
    const auto* header = reinterpret_cast<const std::uint8_t*>(ad.data());
    std::size_t n = 0;
    const Overlapping in_out{data, from + len, from};
    switch (GetParam()) {
      case Abi::kEvp:
        penstock_open(nullptr, data + from, &n, len, nonce_, sizeof nonce_, data + from, len + kTagBytes, header,
                      ad.size());
        return;
      case Abi::kOldRing:
      case Abi::kRingTo:
        old_ring_open(this, nonce_, header, ad.size(), from, data, from + len);
        return;
      case Abi::kNewRing:
        new_ring_open(this, nonce_, header, ad.size(), &in_out, 1);
        return;
    }
  }

  // The record that carries this text, sealed by the probed function. Every record has a nonce of its own.
  std::string seal(const std::string& text, char type = 0x17) {
    std::string buffer = text + type + std::string(kTagBytes, '\0');
    const std::string header = testing_kernel::record_of(buffer).substr(0, 5);
    next_nonce();
    seal_with(bytes(buffer), text.size() + 1, header);
    return header + buffer;
  }
  // The same in TLS 1.2: an explicit nonce goes first, the type is in the header only.
  static std::string tls12_ad(std::size_t n) {
    return std::string("\0\0\0\0\0\0\0\1\x17\3\3", 11) + static_cast<char>(n >> 8) + static_cast<char>(n);
  }
  std::string seal12(const std::string& text) {
    std::string buffer = text + std::string(kTagBytes, '\0');
    next_nonce();
    seal_with(bytes(buffer), text.size(), tls12_ad(text.size()));
    return testing_kernel::record_of(std::string(8, 'n') + buffer);
  }
  // A record as the other side would send it, and its opening by the probed function.
  std::string foreign(const std::string& text, char type = 0x17) {
    std::string sealed = text + type;
    next_nonce();
    encipher(bytes(sealed), bytes(sealed), sealed.size(), nonce_);
    return testing_kernel::record_of(sealed + std::string(kTagBytes, 't'));
  }
  void open(std::string record) { open_with(bytes(record) + 5, 0, record.size() - 5 - kTagBytes, record.substr(0, 5)); }
  std::string foreign12(std::string text) {
    next_nonce();
    encipher(bytes(text), bytes(text), text.size(), nonce_);
    return testing_kernel::record_of(std::string(8, 'n') + text + std::string(kTagBytes, 't'));
  }
  void open12(std::string record) {
    const std::size_t len = record.size() - 5 - 8 - kTagBytes;
    open_with(bytes(record) + 5, 8, len, tls12_ad(len));
  }
  static void send_all(const base::Fd& fd, const std::string& data) {
    ASSERT_EQ(send(fd.get(), data.data(), data.size(), MSG_NOSIGNAL), static_cast<ssize_t>(data.size()));
  }
  static std::string receive(const base::Fd& fd, std::size_t n) {
    std::string data(n, '\0');
    EXPECT_EQ(recv(fd.get(), data.data(), n, MSG_WAITALL), static_cast<ssize_t>(n));
    return data;
  }

  // What gate events say went out on this connection: the thread's offered plaintext, by position.
  std::string committed(std::uint64_t cookie) const {
    std::string out;
    for (const pn_ev_gate& gate : seen_.gates) {
      if (gate.cookie != cookie) continue;
      EXPECT_EQ(gate.pos, out.size());
      for (const auto& d : seen_.data) {
        if (d.event.stream != gate.data_stream) continue;
        EXPECT_TRUE(d.event.flags & PN_DATA_PROVISIONAL);
        for (std::size_t i = 0; i < d.payload.size(); ++i) {
          const std::uint64_t at = d.event.pos + i;
          if (at >= gate.data_pos && at < gate.data_pos + gate.len) out += d.payload[i];
        }
      }
    }
    return out;
  }
  bool sent(const Pair& pair, const std::string& text) {
    return wait_for([&] { return committed(pair.cookie) == text; });
  }

  static std::uint8_t* bytes(std::string& s) { return reinterpret_cast<std::uint8_t*>(s.data()); }
  void next_nonce() {
    for (std::uint8_t& b : nonce_) b = static_cast<std::uint8_t>(b * 31 + 7 + ++count_);
  }
  std::uint8_t nonce_[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  std::uint8_t count_ = 0;
};

TEST_P(AeadRecords, TiesSealedRecordsToTheSocketThatCarriesThem) {
  Pair one, two;
  const std::string first = seal("a request of one"), second = seal("a request of two");
  send_all(two.client_fd, second);  // as long, and in the other order: only the ciphertext tells them apart
  send_all(one.client_fd, first);
  EXPECT_TRUE(sent(one, "a request of one"));
  EXPECT_TRUE(sent(two, "a request of two"));
  for (const auto& [stream, bind] : seen_.binds) EXPECT_EQ(bind.how, PN_BIND_PRINT);
  for (const pn_ev_gate& gate : seen_.gates) EXPECT_EQ(gate.what, PN_GATE_OBSERVED);
}

TEST_P(AeadRecords, ManyRecordsOfOneSendAreOneStretch) {
  Pair pair;
  std::string data, text;
  for (int i = 0; i < 20; ++i) {
    const std::string piece = "piece " + std::to_string(i) + std::string(1000, 'x');
    text += piece;
    data += seal(piece);
  }
  // In vectors that tear records apart.
  iovec vectors[] = {{data.data(), 700}, {data.data() + 700, 9000}, {data.data() + 9700, data.size() - 9700}};
  ASSERT_EQ(writev(pair.client_fd.get(), vectors, 3), static_cast<ssize_t>(data.size()));
  EXPECT_TRUE(sent(pair, text));
}

TEST_P(AeadRecords, AnotherThreadMaySend) {
  Pair pair;
  const std::string record = seal("sealed here, sent there");
  std::thread([&] { send_all(pair.client_fd, record); }).join();
  EXPECT_TRUE(sent(pair, "sealed here, sent there"));
}

TEST_P(AeadRecords, HoldsWhatIsGatedUntilItIsAdmitted) {
  Pair pair;
  enforce();
  const std::string record = seal("held request");
  send_all(pair.client_fd, record);
  ASSERT_TRUE(sent(pair, "held request"));
  EXPECT_EQ(seen_.gates.front().what, PN_GATE_CLOSED);
  EXPECT_EQ(seen_.gates.front().fd, pair.client_fd.get());
  EXPECT_EQ(pair.arrived_bytes(), 0);
  ASSERT_TRUE(gate_->admit(pair.cookie, 12, 0));
  ASSERT_TRUE(*gate_->push(ref(pair)));
  EXPECT_EQ(receive(pair.server_fd, record.size()), record);
}

TEST_P(AeadRecords, WhatIsOpenedBelongsToTheSocketItWasReceivedFrom) {
  Pair one, two;
  send_all(one.client_fd, seal("from now on a TLS program"));
  for (Pair* pair : {&one, &two}) {
    const std::string answer = foreign(pair == &one ? "answer to one" : "and to two");
    send_all(pair->server_fd, answer);
    open(receive(pair->client_fd, answer.size()));
  }
  ASSERT_TRUE(wait_for([&] { return seen_.plaintext(two.cookie, PN_TO_CLIENT) == "and to two"; }));
  EXPECT_EQ(seen_.plaintext(one.cookie, PN_TO_CLIENT), "answer to one");
}

TEST_P(AeadRecords, PaddingAndHandshakeMessagesAreNoData) {
  Pair pair;
  send_all(pair.client_fd, seal("Finished", 0x16) + seal("data"));
  EXPECT_TRUE(sent(pair, "data"));
  for (const auto& [text, type] :
       {std::pair(std::string("NewSessionTicket"), '\x16'), {std::string("answer\x17\0\0\0", 10), '\0'}}) {
    const std::string record = foreign(text, type);
    send_all(pair.server_fd, record);
    open(receive(pair.client_fd, record.size()));
  }
  EXPECT_TRUE(wait_for([&] { return seen_.plaintext(pair.cookie, PN_TO_CLIENT) == "answer"; }));
}

TEST_P(AeadRecords, ARecordThatIsShorterThanItsPrintIsKnownByItsTag) {
  Pair pair;
  std::string data, text;
  for (std::size_t n = 1; n < 20; ++n) {
    text += std::string(n, 's');
    data += seal(std::string(n, 's'));
  }
  send_all(pair.client_fd, data);
  EXPECT_TRUE(sent(pair, text));
}

TEST_P(AeadRecords, Tls12IsReadToo) {
  Pair pair;
  send_all(pair.client_fd, seal12("a request") + seal12("!"));
  EXPECT_TRUE(sent(pair, "a request!"));
  const std::string answer = foreign12("an answer");
  send_all(pair.server_fd, answer);
  open12(receive(pair.client_fd, answer.size()));
  EXPECT_TRUE(wait_for([&] { return seen_.plaintext(pair.cookie, PN_TO_CLIENT) == "an answer"; }));
}

TEST_P(AeadRecords, ACipherForSomethingElseIsNotRead) {
  Pair pair;
  std::array<std::uint8_t, 64> buffer{};
  next_nonce();
  seal_with(buffer.data(), 32, std::string("\x17\3\3\1\1", 5));  // not the length of what is sealed
  seal_with(buffer.data(), 32, std::string());
  send_all(pair.client_fd, seal("the only record"));
  EXPECT_TRUE(sent(pair, "the only record"));
  EXPECT_EQ(seen_.data.size(), 1u);
}

std::string abi_name(const testing::TestParamInfo<Abi>& tested) {
  constexpr std::array kNames{"Evp", "OldRing", "RingTo", "NewRing"};
  return kNames[static_cast<std::size_t>(tested.param)];
}

INSTANTIATE_TEST_SUITE_P(Abis, AeadRecords, testing::Values(Abi::kEvp, Abi::kOldRing, Abi::kRingTo, Abi::kNewRing),
                         abi_name);

}  // namespace
}  // namespace penstock
