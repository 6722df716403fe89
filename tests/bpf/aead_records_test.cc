// TLS at the AEAD boundary: start → act → compare, one act per promise of bpf/capture/aead_records.bpf.c. Two functions
// with the calling convention of EVP_AEAD_CTX_seal and _open stand for a library's; the cipher is their own.
#include <sys/uio.h>

#include <thread>

#include "tests/bpf/kernel_test.h"
#include "tests/bpf/own_image.h"

extern "C" {

[[gnu::noinline]] int penstock_seal(void*, std::uint8_t* out, std::size_t* out_len, std::size_t,
                                    const std::uint8_t* nonce, std::size_t, const std::uint8_t* in, std::size_t in_len,
                                    const std::uint8_t*, std::size_t) {
  for (std::size_t i = 0; i < in_len; ++i) out[i] = static_cast<std::uint8_t>(in[i] ^ nonce[i % 8]);
  for (std::size_t i = 0; i < 16; ++i) out[in_len + i] = static_cast<std::uint8_t>(0xa0 + i);
  *out_len = in_len + 16;
  return 1;
}

[[gnu::noinline]] int penstock_open(void*, std::uint8_t* out, std::size_t* out_len, std::size_t,
                                    const std::uint8_t* nonce, std::size_t, const std::uint8_t* in, std::size_t in_len,
                                    const std::uint8_t*, std::size_t) {
  if (in_len < 16) return 0;
  for (std::size_t i = 0; i + 16 < in_len; ++i) out[i] = static_cast<std::uint8_t>(in[i] ^ nonce[i % 8]);
  *out_len = in_len - 16;
  return 1;
}
}

namespace penstock {
namespace {

using testing_kernel::KernelTest;
using testing_tls::Pair;

class AeadRecords : public KernelTest {
 protected:
  void on_loaded() override {
    const auto site = [](auto* function, locators::CallShape shape) {
      const std::uint64_t at = testing_kernel::file_offset(reinterpret_cast<const void*>(function));
      return locators::ProbeSite{at, false, at, shape, "own"};
    };
    testing_kernel::attach_own(*kernel_, {site(&penstock_seal, locators::CallShape::kAeadSeal),
                                          site(&penstock_open, locators::CallShape::kAeadOpen)});
  }

  // The record that carries this text, sealed by the probed function. Every record has a nonce of its own.
  std::string seal(const std::string& text, char type = 0x17) {
    std::string buffer = text + type + std::string(16, '\0');
    const std::string header = testing_kernel::record_of(buffer).substr(0, 5);
    std::size_t n = 0;
    next_nonce();
    penstock_seal(nullptr, bytes(buffer), &n, buffer.size(), nonce_, sizeof nonce_, bytes(buffer), text.size() + 1,
                  reinterpret_cast<const std::uint8_t*>(header.data()), header.size());
    return header + buffer;
  }
  // A record as the other side would send it, and its opening by the probed function.
  std::string foreign(const std::string& text, char type = 0x17) {
    std::string sealed = text + type;
    next_nonce();
    for (std::size_t i = 0; i < sealed.size(); ++i) sealed[i] = static_cast<char>(sealed[i] ^ nonce_[i % 8]);
    return testing_kernel::record_of(sealed + std::string(16, 't'));
  }
  void open(std::string record) {
    const std::string header = record.substr(0, 5);
    std::size_t n = 0;
    penstock_open(nullptr, bytes(record) + 5, &n, record.size(), nonce_, sizeof nonce_, bytes(record) + 5,
                  record.size() - 5, reinterpret_cast<const std::uint8_t*>(header.data()), header.size());
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

 private:
  static std::uint8_t* bytes(std::string& s) { return reinterpret_cast<std::uint8_t*>(s.data()); }
  void next_nonce() {
    for (std::uint8_t& b : nonce_) b = static_cast<std::uint8_t>(b * 31 + 7 + ++count_);
  }
  std::uint8_t nonce_[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  std::uint8_t count_ = 0;
};

TEST_F(AeadRecords, TiesSealedRecordsToTheSocketThatCarriesThem) {
  Pair one, two;
  const std::string first = seal("a request of one"), second = seal("a request of two");
  send_all(two.client_fd, second);  // as long, and in the other order: only the ciphertext tells them apart
  send_all(one.client_fd, first);
  EXPECT_TRUE(sent(one, "a request of one"));
  EXPECT_TRUE(sent(two, "a request of two"));
  for (const auto& [stream, bind] : seen_.binds) EXPECT_EQ(bind.how, PN_BIND_PRINT);
  for (const pn_ev_gate& gate : seen_.gates) EXPECT_EQ(gate.what, PN_GATE_OBSERVED);
}

TEST_F(AeadRecords, ManyRecordsOfOneSendAreOneStretch) {
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

TEST_F(AeadRecords, AnotherThreadMaySend) {
  Pair pair;
  const std::string record = seal("sealed here, sent there");
  std::thread([&] { send_all(pair.client_fd, record); }).join();
  EXPECT_TRUE(sent(pair, "sealed here, sent there"));
}

TEST_F(AeadRecords, HoldsWhatIsGatedUntilItIsAdmitted) {
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

TEST_F(AeadRecords, WhatIsOpenedBelongsToTheSocketItWasReceivedFrom) {
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

TEST_F(AeadRecords, PaddingAndHandshakeMessagesAreNoData) {
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

TEST_F(AeadRecords, ACipherForSomethingElseIsNotRead) {
  Pair pair;
  std::string buffer(64, 'x');
  std::size_t n = 0;
  const std::uint8_t nonce[8] = {}, other[5] = {0x17, 3, 3, 1, 1};  // not the length of what is sealed
  auto* data = reinterpret_cast<std::uint8_t*>(buffer.data());
  penstock_seal(nullptr, data, &n, 64, nonce, 8, data, 32, other, 5);
  penstock_seal(nullptr, data, &n, 64, nonce, 8, data, 32, other, 0);
  send_all(pair.client_fd, seal("the only record"));
  EXPECT_TRUE(sent(pair, "the only record"));
  EXPECT_EQ(seen_.data.size(), 1u);
}

}  // namespace
}  // namespace penstock
