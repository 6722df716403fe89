// The probe sites of real programs, counted by the kernel: every client makes kRequests HTTPS requests to a server in this
// process while uprobes (perf events in counting mode, no BPF) sit on the write and read sites found in its TLS library.
// Needs root. A site that is never hit, or hit twice for one call, is a locator that would blind or double the daemon.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "userspace/base/fd.h"
#include "userspace/locators/core/analysis.h"
#include "userspace/locators/core/mapped_file.h"

namespace penstock::locators {
namespace {

constexpr int kRequests = 5;

// An HTTPS server, several requests per connection; ends with the object.
class Server {
 public:
  Server() : context_(SSL_CTX_new(TLS_server_method()), SSL_CTX_free) {
    const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(EVP_EC_gen("P-256"), EVP_PKEY_free);
    const std::unique_ptr<X509, decltype(&X509_free)> certificate(X509_new(), X509_free);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
    X509_set_pubkey(certificate.get(), key.get());
    X509_NAME* name = X509_get_subject_name(certificate.get());
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("localhost"), -1, -1, 0);
    X509_set_issuer_name(certificate.get(), name);
    X509_sign(certificate.get(), key.get(), EVP_sha256());
    SSL_CTX_use_certificate(context_.get(), certificate.get());
    SSL_CTX_use_PrivateKey(context_.get(), key.get());
    listener_ = base::Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
    EXPECT_EQ(listen(listener_.get(), 16), 0);
    getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { run(); });
  }
  ~Server() {
    shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
  }
  std::string port() const { return std::to_string(port_); }
  int requests() const { return requests_; }

 private:
  void run() {
    std::vector<std::jthread> connections;  // end when the clients have gone
    for (;;) {
      const int peer = accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
      if (peer < 0) return;
      connections.emplace_back([this, peer] { serve(base::Fd(peer)); });
    }
  }
  void serve(base::Fd peer) {
    const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context_.get()), SSL_free);
    SSL_set_fd(ssl.get(), peer.get());
    if (SSL_accept(ssl.get()) <= 0) return;
    std::string pending;
    char buffer[4096];
    for (int n = 0; (n = SSL_read(ssl.get(), buffer, sizeof(buffer))) > 0;) {
      pending.append(buffer, static_cast<std::size_t>(n));
      for (std::size_t end = 0; (end = pending.find("\r\n\r\n")) != std::string::npos; pending.erase(0, end + 4)) {
        ++requests_;
        static constexpr char kAnswer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        SSL_write(ssl.get(), kAnswer, sizeof(kAnswer) - 1);
      }
    }
  }
  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_;
  base::Fd listener_;
  int port_ = 0;
  std::atomic<int> requests_ = 0;
  std::thread thread_;
};

int uprobe_event_type() {
  std::ifstream in("/sys/bus/event_source/devices/uprobe/type");
  int type = -1;
  in >> type;
  return type;
}

// Of the main thread, which does all TLS of these clients. (Inheriting to new threads does not work for this kind of event:
// the kernel reads uprobe_path again from the memory of whoever clones, and the clone fails.)
base::Fd count_hits(pid_t pid, const std::string& path, std::uint64_t offset, bool on_return) {
  perf_event_attr attr{};
  attr.size = sizeof(attr);
  attr.type = static_cast<std::uint32_t>(uprobe_event_type());
  attr.config = on_return ? 1 : 0;
  attr.uprobe_path = reinterpret_cast<std::uint64_t>(path.c_str());
  attr.probe_offset = offset;
  attr.disabled = 1;
  attr.enable_on_exec = 1;
  return base::Fd(static_cast<int>(syscall(SYS_perf_event_open, &attr, pid, -1, -1, PERF_FLAG_FD_CLOEXEC)));
}

struct Hits {
  std::uint64_t writes = 0, write_returns = 0, reads = 0;
  int status = -1;
};

bool writes(CallShape s) { return s == CallShape::kTlsWriteOut || s == CallShape::kTlsWriteRet || s == CallShape::kTlsWriteFlagsOut; }

// Runs the command with every site of the plan counted.
Hits run_counted(const std::string& image, const AttachPlan& plan, std::vector<std::string> command) {
  int gate[2];
  EXPECT_EQ(pipe2(gate, O_CLOEXEC), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    char go;
    if (read(gate[0], &go, 1) != 1) _exit(126);
    std::vector<char*> argv;
    for (std::string& a : command) argv.push_back(a.data());
    argv.push_back(nullptr);
    execvp(argv[0], argv.data());
    _exit(127);
  }
  std::vector<std::pair<base::Fd, std::uint64_t Hits::*>> counters;
  const auto count = [&](std::uint64_t offset, bool on_return, std::uint64_t Hits::*member) {
    counters.emplace_back(count_hits(pid, image, offset, on_return), member);
    EXPECT_TRUE(counters.back().first) << std::hex << offset << ": " << strerror(errno);
  };
  for (const ProbeSite& s : plan.sites) {
    if (s.shape == CallShape::kTlsFree) continue;
    count(s.entry_offset, false, writes(s.shape) ? &Hits::writes : &Hits::reads);
    if (writes(s.shape) && s.return_offset != 0) count(s.return_offset, true, &Hits::write_returns);
  }
  EXPECT_EQ(write(gate[1], "g", 1), 1);
  Hits hits;
  waitpid(pid, &hits.status, 0);
  close(gate[0]);
  close(gate[1]);
  for (auto& [fd, member] : counters) {
    std::uint64_t n = 0;
    EXPECT_EQ(read(fd.get(), &n, sizeof(n)), static_cast<ssize_t>(sizeof(n)));
    hits.*member += n;
  }
  return hits;
}

AttachPlan plan_of(const std::string& path, std::string_view runtime) {
  const base::Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  auto file = MappedFile::map(fd.get());
  if (!file) return {};
  auto image = ElfImage::parse(file->bytes());
  if (!image) return {};
  for (AttachPlan& p : analyze(*image, registry()).plans)
    if (p.runtime == runtime) return std::move(p);
  return {};
}

const std::string kLibssl = "/usr/lib/x86_64-linux-gnu/libssl.so.3";

TEST(LiveProbes, CurlIsCountedOncePerCall) {
  const Server server;
  const AttachPlan plan = plan_of(kLibssl, "openssl");
  std::vector<std::string> command = {"/usr/bin/curl", "-sk", "--http1.1"};
  for (int i = 0; i < kRequests; ++i) command.push_back("https://127.0.0.1:" + server.port() + "/");
  const Hits hits = run_counted(kLibssl, plan, command);
  EXPECT_EQ(hits.status, 0);
  EXPECT_EQ(server.requests(), kRequests);
  EXPECT_EQ(hits.writes, static_cast<std::uint64_t>(kRequests));
  EXPECT_EQ(hits.write_returns, hits.writes);
  EXPECT_GE(hits.reads, static_cast<std::uint64_t>(kRequests));
}

TEST(LiveProbes, PythonIsCountedOncePerCall) {
  const Server server;
  const AttachPlan plan = plan_of(kLibssl, "openssl");
  const std::string script =
      "import http.client, ssl, sys\n"
      "c = http.client.HTTPSConnection('127.0.0.1', int(sys.argv[1]), context=ssl._create_unverified_context())\n"
      "for _ in range(int(sys.argv[2])):\n"
      "    c.request('GET', '/')\n"
      "    assert c.getresponse().read() == b'ok'\n";
  const Hits hits = run_counted(kLibssl, plan, {"/usr/bin/python3", "-c", script, server.port(), std::to_string(kRequests)});
  EXPECT_EQ(hits.status, 0);
  EXPECT_EQ(server.requests(), kRequests);
  EXPECT_EQ(hits.writes, static_cast<std::uint64_t>(kRequests));
  EXPECT_EQ(hits.write_returns, hits.writes);
  EXPECT_GE(hits.reads, static_cast<std::uint64_t>(kRequests));
}

TEST(LiveProbes, NodeIsSeenThroughItsStaticCopy) {
  const Server server;
  const AttachPlan plan = plan_of(PENSTOCK_TEST_NODE, "openssl");
  ASSERT_FALSE(plan.sites.empty());
  const std::string script =
      "process.emitWarning = () => {}; process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';\n"
      "(async () => { for (let i = 0; i < +process.argv[2]; i++) {\n"
      "  const r = await fetch('https://127.0.0.1:' + process.argv[1] + '/'); if (await r.text() !== 'ok') process.exit(3); }\n"
      "  process.exit(0); })();\n";
  const Hits hits = run_counted(PENSTOCK_TEST_NODE, plan, {PENSTOCK_TEST_NODE, "-e", script, server.port(), std::to_string(kRequests)});
  EXPECT_EQ(hits.status, 0);
  EXPECT_EQ(server.requests(), kRequests);
  // Node offers the first request again while its handshake runs; those calls write nothing.
  EXPECT_GE(hits.writes, static_cast<std::uint64_t>(kRequests));
  EXPECT_EQ(hits.write_returns, hits.writes);
  EXPECT_GE(hits.reads, static_cast<std::uint64_t>(kRequests));
}

}  // namespace
}  // namespace penstock::locators
