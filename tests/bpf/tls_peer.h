// A TLS server on loopback in this process whose socket is watched before anything is decrypted, and blocking TLS
// clients: what the tests of the kernel programs act with. The programs ignore the accepting side (sockops knows it).
#pragma once

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

#include "tests/workloads/tls_server.h"
#include "userspace/base/fd.h"

namespace penstock::testing_tls {

using Ssl = std::unique_ptr<SSL, decltype(&SSL_free)>;

// One connected pair: the client writes through the probed library calls, the server is read by hand.
class Pair {
 public:
  Pair() : server_context_(server_context()), client_context_(SSL_CTX_new(TLS_client_method()), SSL_CTX_free) {
    SSL_CTX_set_num_tickets(server_context_.get(), 0);  // nothing but our own bytes after the handshake
    base::Fd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    check(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), length) == 0 && listen(listener.get(), 1) == 0,
          "listen");
    getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &length);
    server_port = ntohs(address.sin_port);
    client_fd = base::Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    check(connect(client_fd.get(), reinterpret_cast<sockaddr*>(&address), length) == 0, "connect");
    getsockname(client_fd.get(), reinterpret_cast<sockaddr*>(&address), &length);
    client_port = ntohs(address.sin_port);
    server_fd = base::Fd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    check(static_cast<bool>(server_fd), "accept");
    client = Ssl(SSL_new(client_context_.get()), SSL_free);
    server = Ssl(SSL_new(server_context_.get()), SSL_free);
    SSL_set_fd(server.get(), server_fd.get());
    SSL_set_accept_state(server.get());
    SSL_set_connect_state(client.get());
    socklen_t bytes = sizeof cookie;
    check(getsockopt(client_fd.get(), SOL_SOCKET, SO_COOKIE, &cookie, &bytes) == 0, "SO_COOKIE");
  }

  // Drives both handshakes on this thread. With `memory_bio` the client encrypts into memory, as Node and asyncio do.
  void handshake(bool memory_bio = false) {
    if (memory_bio)
      SSL_set_bio(client.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    else
      SSL_set_fd(client.get(), client_fd.get());
    const timeval turn{0, 20'000};  // each side gives the other its turn
    setsockopt(client_fd.get(), SOL_SOCKET, SO_RCVTIMEO, &turn, sizeof turn);
    setsockopt(server_fd.get(), SOL_SOCKET, SO_RCVTIMEO, &turn, sizeof turn);
    for (int i = 0; i < 100 && !(SSL_is_init_finished(client.get()) && SSL_is_init_finished(server.get())); ++i) {
      SSL_do_handshake(client.get());
      if (memory_bio) pump();
      SSL_do_handshake(server.get());
      if (memory_bio) feed();
    }
    check(SSL_is_init_finished(client.get()) && SSL_is_init_finished(server.get()), "handshake");
    const timeval forever{0, 0};
    setsockopt(client_fd.get(), SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof forever);
    setsockopt(server_fd.get(), SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof forever);
  }

  // Memory BIO: ciphertext the client made goes to its socket, what came goes to the client's TLS.
  void pump() {
    char buffer[65536];
    for (int n; (n = BIO_read(SSL_get_wbio(client.get()), buffer, sizeof buffer)) > 0;)
      check(send(client_fd.get(), buffer, static_cast<std::size_t>(n), 0) == n, "send");
  }
  void feed() {
    char buffer[65536];
    const ssize_t n = recv(client_fd.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (n > 0) BIO_write(SSL_get_rbio(client.get()), buffer, static_cast<int>(n));
  }

  void write(const std::string& text) {
    std::size_t written = 0;
    check(SSL_write_ex(client.get(), text.data(), text.size(), &written) == 1 && written == text.size(),
          "SSL_write_ex");
  }
  // Ciphertext that has reached the server's socket.
  int arrived_bytes() const {
    int n = 0;
    ioctl(server_fd.get(), FIONREAD, &n);
    return n;
  }
  bool wait_arrival(int timeout_ms) const { return readable(server_fd, timeout_ms); }
  bool wait_answer(int timeout_ms) const { return readable(client_fd, timeout_ms); }
  // Exactly `bytes` of plaintext as the server decrypts them; shorter when the connection ended.
  std::string server_read(std::size_t bytes) {
    std::string out(bytes, '\0');
    std::size_t have = 0;
    while (have < bytes) {
      std::size_t n = 0;
      if (SSL_read_ex(server.get(), out.data() + have, bytes - have, &n) != 1) break;
      have += n;
    }
    out.resize(have);
    return out;
  }

  std::uint16_t server_port = 0, client_port = 0;
  std::uint64_t cookie = 0;
  base::Fd client_fd, server_fd;
  Ssl client{nullptr, SSL_free}, server{nullptr, SSL_free};

 private:
  static bool readable(const base::Fd& fd, int timeout_ms) {
    pollfd p{fd.get(), POLLIN, 0};
    return poll(&p, 1, timeout_ms) == 1;
  }
  static void check(bool ok, const char* what) {
    if (!ok) throw std::runtime_error(what);
  }
  SslContext server_context_;
  SslContext client_context_;
};

}  // namespace penstock::testing_tls
