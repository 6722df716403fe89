// The probe sites of real programs, counted by the kernel: every client makes kRequests HTTPS requests to a server in
// this process while uprobes (perf events in counting mode, no BPF) sit on the write and read sites found in its TLS
// library. Needs root. A site that is never hit, or hit twice for one call, is a locator that would blind or double the
// daemon.
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
#include <filesystem>
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
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("localhost"), -1, -1,
                               0);
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

// Whose calls count. Inheriting counters to new threads does not work for this kind of event (the kernel reads
// uprobe_path again from the memory of whoever clones, and the clone fails): a program whose TLS runs on other threads
// is a file of its own, counted on every CPU.
enum class Counted { kMainThread, kEveryoneOnThisFile };

base::Fd count_hits(pid_t pid, int cpu, const std::string& path, std::uint64_t offset, bool on_return) {
  perf_event_attr attr{};
  attr.size = sizeof(attr);
  attr.type = static_cast<std::uint32_t>(uprobe_event_type());
  attr.config = on_return ? 1 : 0;
  attr.uprobe_path = reinterpret_cast<std::uint64_t>(path.c_str());
  attr.probe_offset = offset;
  attr.disabled = pid >= 0 ? 1 : 0;
  attr.enable_on_exec = pid >= 0 ? 1 : 0;
  return base::Fd(static_cast<int>(syscall(SYS_perf_event_open, &attr, pid, cpu, -1, PERF_FLAG_FD_CLOEXEC)));
}

struct Hits {
  std::uint64_t writes = 0, write_returns = 0, reads = 0;
  int status = -1;
};

bool writes(CallShape s) {
  switch (s) {
    case CallShape::kTlsWriteOut:
    case CallShape::kTlsWriteRet:
    case CallShape::kTlsWriteFlagsOut:
    case CallShape::kGoWrite:
    case CallShape::kAeadSeal:
    case CallShape::kAeadSealScatter:
    case CallShape::kRingSeal:
      return true;
    default:
      return false;
  }
}

// Runs the command with every site of the plan counted.
Hits run_counted(Counted counted, const std::string& image, const AttachPlan& plan, std::vector<std::string> command) {
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
    const bool everyone = counted == Counted::kEveryoneOnThisFile;
    for (int cpu = 0; cpu < (everyone ? static_cast<int>(sysconf(_SC_NPROCESSORS_CONF)) : 1); ++cpu) {
      counters.emplace_back(count_hits(everyone ? -1 : pid, everyone ? cpu : -1, image, offset, on_return), member);
      EXPECT_TRUE(counters.back().first) << std::hex << offset << ": " << strerror(errno);
    }
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
  const Hits hits = run_counted(Counted::kMainThread, kLibssl, plan, command);
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
  const Hits hits = run_counted(Counted::kMainThread, kLibssl, plan,
                                {"/usr/bin/python3", "-c", script, server.port(), std::to_string(kRequests)});
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
      "  const r = await fetch('https://127.0.0.1:' + process.argv[1] + '/'); if (await r.text() !== 'ok') "
      "process.exit(3); }\n"
      "  process.exit(0); })();\n";
  const Hits hits = run_counted(Counted::kMainThread, PENSTOCK_TEST_NODE, plan,
                                {PENSTOCK_TEST_NODE, "-e", script, server.port(), std::to_string(kRequests)});
  EXPECT_EQ(hits.status, 0);
  EXPECT_EQ(server.requests(), kRequests);
  // Node offers the first request again while its handshake runs; those calls write nothing.
  EXPECT_GE(hits.writes, static_cast<std::uint64_t>(kRequests));
  EXPECT_EQ(hits.write_returns, hits.writes);
  EXPECT_GE(hits.reads, static_cast<std::uint64_t>(kRequests));
}

TEST(LiveProbes, WgetIsSeenThroughGnuTls) {
  const Server server;
  const std::string library = "/usr/lib/x86_64-linux-gnu/libgnutls.so.30";
  std::vector<std::string> command = {"/usr/bin/wget", "-q", "-O", "/dev/null", "--no-check-certificate"};
  for (int i = 0; i < kRequests; ++i) command.push_back("https://127.0.0.1:" + server.port() + "/");
  const Hits hits = run_counted(Counted::kMainThread, library, plan_of(library, "gnutls"), command);
  EXPECT_EQ(hits.status, 0);
  EXPECT_EQ(server.requests(), kRequests);
  EXPECT_EQ(hits.writes, static_cast<std::uint64_t>(kRequests));
  EXPECT_EQ(hits.write_returns, hits.writes);
  EXPECT_GE(hits.reads, static_cast<std::uint64_t>(kRequests));
}

// A file of its own: nobody else on this machine runs it.
class PrivateFile {
 public:
  PrivateFile() {
    char pattern[] = "/tmp/locators_live_test.XXXXXX";
    directory_ = mkdtemp(pattern);
  }
  ~PrivateFile() { std::filesystem::remove_all(directory_); }
  std::string path() const { return directory_ / "program"; }
  const std::filesystem::path& directory() const { return directory_; }
  void copy(const std::string& original) { std::filesystem::copy_file(original, path()); }

 private:
  std::filesystem::path directory_;
};

const char* const kFetch =
    "(async () => { for (let i = 0; i < 5; i++) {\n"
    "  const r = await fetch('https://127.0.0.1:' + globalThis.port + '/', globalThis.options);\n"
    "  if (await r.text() !== 'ok') throw new Error('answer'); }\n"
    "  globalThis.end(); })();\n";

TEST(LiveProbes, BunIsSeenThroughBoringSsl) {
  const Server server;
  PrivateFile bun;
  bun.copy(PENSTOCK_TEST_PROGRAMS "/@oven/bun-linux-x64/bin/bun");
  const std::string script = "globalThis.port = '" + server.port() +
                             "'; globalThis.options = { tls: { rejectUnauthorized: false } };"
                             "globalThis.end = () => process.exit(0);" +
                             kFetch;
  const Hits hits = run_counted(Counted::kEveryoneOnThisFile, bun.path(), plan_of(bun.path(), "boringssl"),
                                {bun.path(), "-e", script});
  EXPECT_EQ(hits.status, 0);
  EXPECT_EQ(server.requests(), kRequests);
  EXPECT_GE(hits.writes, static_cast<std::uint64_t>(kRequests));
  EXPECT_EQ(hits.write_returns, hits.writes);
  EXPECT_GE(hits.reads, static_cast<std::uint64_t>(kRequests));
}

TEST(LiveProbes, DenoIsSeenAtTheAeadBoundary) {
  const Server server;
  PrivateFile deno;
  deno.copy(PENSTOCK_TEST_PROGRAMS "/@deno/linux-x64-glibc/deno");
  const std::string script = "globalThis.port = '" + server.port() +
                             "'; globalThis.options = {}; globalThis.end = () => Deno.exit(0);" + kFetch;
  const AttachPlan plan = plan_of(deno.path(), "awslc");
  const Hits hits = run_counted(Counted::kEveryoneOnThisFile, deno.path(), plan,
                                {deno.path(), "eval", "--unsafely-ignore-certificate-errors", script});
  EXPECT_EQ(hits.status, 0);
  EXPECT_EQ(server.requests(), kRequests);
  EXPECT_GE(hits.writes, static_cast<std::uint64_t>(kRequests));  // and the records of the handshake
  EXPECT_GE(hits.reads, static_cast<std::uint64_t>(kRequests));
}

TEST(LiveProbes, LibcurlIsCountedOncePerCallOfNss) {
  const Server server;
  const std::string library = "/usr/lib/x86_64-linux-gnu/libssl3.so";
  const std::string script =
      "import ctypes, sys\n"
      "curl = ctypes.CDLL('libcurl-nss.so.4')\n"
      "curl.curl_easy_init.restype = ctypes.c_void_p\n"
      "handle = ctypes.c_void_p(curl.curl_easy_init())\n"
      "def option(which, value): assert curl.curl_easy_setopt(handle, which, value) == 0\n"
      "URL, VERIFY_PEER, VERIFY_HOST, HTTP_VERSION = 10002, 64, 81, 84\n"
      "option(URL, ctypes.c_char_p(f'https://127.0.0.1:{sys.argv[1]}/'.encode()))\n"
      "for which, value in ((VERIFY_PEER, 0), (VERIFY_HOST, 0), (HTTP_VERSION, 2)): option(which, "
      "ctypes.c_long(value))\n"
      "for _ in range(int(sys.argv[2])): assert curl.curl_easy_perform(handle) == 0\n";
  const Hits hits = run_counted(Counted::kMainThread, library, plan_of(library, "nss"),
                                {"/usr/bin/python3", "-c", script, server.port(), std::to_string(kRequests)});
  EXPECT_EQ(hits.status, 0);
  EXPECT_EQ(server.requests(), kRequests);
  EXPECT_EQ(hits.writes, static_cast<std::uint64_t>(kRequests));
  EXPECT_EQ(hits.write_returns, hits.writes);
  EXPECT_GE(hits.reads, static_cast<std::uint64_t>(kRequests));
}

class LiveGo : public testing::TestWithParam<std::vector<std::string>> {};

TEST_P(LiveGo, IsSeenHoweverItWasLinked) {
  const Server server;
  PrivateFile program;
  {
    std::ofstream source(program.directory() / "main.go");
    source
        << "package main\n"
           "import (\"crypto/tls\"; \"io\"; \"net/http\"; \"os\")\n"
           "func main() {\n"
           "  c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}\n"
           "  for i := 0; i < 5; i++ {\n"
           "    r, err := c.Get(os.Args[1]); if err != nil { os.Exit(1) }\n"
           "    if b, _ := io.ReadAll(r.Body); string(b) != \"ok\" { os.Exit(2) }\n"
           "    r.Body.Close()\n"
           "  }\n"
           "}\n";
  }
  std::vector<std::string> build = {
      "/usr/bin/env", "CGO_ENABLED=0", "GO111MODULE=off", "GOCACHE=" PENSTOCK_TEST_GOCACHE, "/usr/bin/go", "build",
      "-o",           program.path()};
  build.insert(build.end(), GetParam().begin(), GetParam().end());
  build.push_back(program.directory() / "main.go");
  ASSERT_EQ(run_counted(Counted::kMainThread, "", {}, build).status, 0);
  const AttachPlan plan = plan_of(program.path(), "go");
  const Hits hits = run_counted(Counted::kEveryoneOnThisFile, program.path(), plan,
                                {program.path(), "https://127.0.0.1:" + server.port() + "/"});
  EXPECT_EQ(hits.status, 0);
  EXPECT_EQ(server.requests(), kRequests);
  // A call is repeated when the stack check made the stack grow.
  EXPECT_GE(hits.writes, static_cast<std::uint64_t>(kRequests));
  EXPECT_LE(hits.writes, static_cast<std::uint64_t>(2 * kRequests));
  EXPECT_GE(hits.reads, static_cast<std::uint64_t>(2 * kRequests));  // entries and returns
}

INSTANTIATE_TEST_SUITE_P(Linked, LiveGo,
                         testing::Values(std::vector<std::string>{}, std::vector<std::string>{"-ldflags=-s -w"},
                                         std::vector<std::string>{"-buildmode=pie", "-ldflags=-s -w"}));

// The kernel puts breakpoints into private mappings of a probed file: analysis must see the code, also after a restart
// of the daemon with its probes in place, or beside another tool's.
TEST(LiveProbes, AProbedImageIsAnalysedAsItIsOnDisk) {
  PrivateFile library;
  library.copy(kLibssl);
  const AttachPlan before = plan_of(library.path(), "openssl");
  ASSERT_FALSE(before.sites.empty());
  std::vector<base::Fd> probes;
  for (const ProbeSite& s : before.sites) probes.push_back(count_hits(-1, 0, library.path(), s.entry_offset, false));
  for (const base::Fd& probe : probes) EXPECT_TRUE(probe) << strerror(errno);
  EXPECT_EQ(plan_of(library.path(), "openssl"), before);
}

// Programs that cannot be driven against this server without an account: their calls are found.
TEST(Programs, AreLocatedWithoutSymbols) {
  const auto sites = [](const std::string& path, std::string_view runtime) {
    return plan_of(PENSTOCK_TEST_PROGRAMS + path, runtime).sites.size();
  };
  EXPECT_EQ(sites("/@anthropic-ai/claude-code-linux-x64/claude", "boringssl"), 2u);
  EXPECT_EQ(sites("/@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex", "awslc"), 4u);
  EXPECT_EQ(sites("/@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex", "openssl"), 2u);
  EXPECT_EQ(
      sites("/@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/codex-resources/voice/bin/codex-voice-host",
            "ring"),
      4u);
  EXPECT_EQ(plan_of("/usr/lib/x86_64-linux-gnu/libssl3.so", "nss").sites.size(), 3u);
}

TEST(Programs, WithoutTlsHaveNoPlan) {
  for (const char* path : {"/usr/bin/bash", "/usr/bin/curl", "/lib/x86_64-linux-gnu/libc.so.6",
                           "/usr/lib/x86_64-linux-gnu/libcrypto.so.3"}) {
    const base::Fd fd(open(path, O_RDONLY | O_CLOEXEC));
    auto file = MappedFile::map(fd.get());
    ASSERT_TRUE(file) << path;
    auto image = ElfImage::parse(file->bytes());
    ASSERT_TRUE(image) << path;
    const Analysis found = analyze(*image, registry());
    EXPECT_TRUE(
        std::none_of(found.plans.begin(), found.plans.end(), [](const AttachPlan& p) { return p.sees_plaintext(); }))
        << path << " " << found.plans[0].runtime;
    EXPECT_TRUE(found.misses.empty()) << path << " " << found.misses[0].runtime;
  }
}

}  // namespace
}  // namespace penstock::locators
