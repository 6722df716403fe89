#include "userspace/api/config.h"

#include <fmt/format.h>

#include "userspace/api/yaml.h"

namespace penstock::api {
namespace {

constexpr std::uint64_t kMs = 1'000'000;
constexpr std::uint64_t kSecond = 1'000 * kMs;
constexpr std::uint64_t kMinRing = 64 << 10;
constexpr std::uint64_t kMaxRing = 1ULL << 30;

// Fields that the file leaves out get what default_config() says.
void fill_defaults(Config& config) {
  Config filled = default_config();
  filled.MergeFrom(config);
  config.Swap(&filled);
}

bool valid_port(std::string_view text) {
  if (text.empty() || text.size() > 5 || text.find_first_not_of("0123456789") != std::string_view::npos) return false;
  unsigned port = 0;
  for (char c : text) port = port * 10 + static_cast<unsigned>(c - '0');
  return port > 0 && port <= 65535;
}

// host, host:port, [v6] or [v6]:port; a bare IPv6 address has several colons and no port.
bool valid_authority(std::string_view text, bool port_required) {
  if (text.empty() || text.size() > 255) return false;
  std::string_view host = text;
  std::string_view port;
  bool has_port = false;
  if (text.front() == '[') {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return false;
    host = text.substr(1, end - 1);
    has_port = end + 1 < text.size();
    if (has_port && text[end + 1] != ':') return false;
    if (has_port) port = text.substr(end + 2);
  } else if (const std::size_t colon = text.find(':');
             colon != std::string_view::npos && text.find(':', colon + 1) == std::string_view::npos) {
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    has_port = true;
  }
  if (has_port ? !valid_port(port) : port_required) return false;
  for (char c : host) {
    const bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
                    c == '-' || c == '_' || c == ':' || c == '*';
    if (!ok) return false;
  }
  return !host.empty();
}

class Check {
 public:
  Check(const YamlDocument& document, std::vector<Diagnostic>& out) : document_(document), out_(out) {}

  void fail(std::string_view path, std::string message, std::string hint) {
    out_.push_back({Severity::kError, document_.file, document_.find(path), std::move(message), std::move(hint)});
  }
  void absolute(std::string_view path, const std::string& value) {
    if (value.empty() || value.front() != '/')
      fail(path, fmt::format("`{}` must be an absolute path", path), "begin it with /");
  }
  void ring(std::string_view path, std::uint64_t bytes) {
    if (bytes < kMinRing || bytes > kMaxRing || (bytes & (bytes - 1)) != 0)
      fail(path, fmt::format("`{}` must be a power of two from 64KiB to 1GiB", path), "for example 16MiB");
  }
  void duration(std::string_view path, std::uint64_t ns, std::uint64_t min_ns, std::uint64_t max_ns,
                std::string_view range) {
    if (ns < min_ns || ns > max_ns) fail(path, fmt::format("`{}` must be {}", path, range), "");
  }

 private:
  const YamlDocument& document_;
  std::vector<Diagnostic>& out_;
};

void check(const Config& config, const YamlDocument& document, std::vector<Diagnostic>& out) {
  Check c(document, out);
  if (!config.listen().empty() && !valid_authority(config.listen(), true))
    c.fail("listen", "`listen` must be ADDRESS:PORT", "for example 127.0.0.1:9464");
  c.absolute("state_dir", config.state_dir());
  c.absolute("bpffs_dir", config.bpffs_dir());
  c.absolute("socket.path", config.socket().path());
  constexpr std::size_t kMaxSocketPath = 107;  // sun_path of sockaddr_un, with its NUL
  if (config.socket().path().size() > kMaxSocketPath)
    c.fail("socket.path", fmt::format("`socket.path` is longer than {} bytes", kMaxSocketPath),
           "unix sockets allow no more");
  if (!config.policies().empty()) c.absolute("policies", config.policies());
  if (!config.prices().empty()) c.absolute("prices", config.prices());
  c.ring("rings.events", config.rings().events_bytes());
  c.ring("rings.verdicts", config.rings().verdicts_bytes());
  const auto& d = config.defaults();
  c.duration("defaults.deadline", d.deadline_ns(), kMs, 3600 * kSecond, "from 1ms to 1h");
  c.duration("defaults.hold", d.hold_ns(), kMs, 3600 * kSecond, "from 1ms to 1h");
  c.duration("defaults.heartbeat_timeout", d.heartbeat_timeout_ns(), 100 * kMs, 60 * kSecond, "from 100ms to 60s");
  for (const auto& [endpoint, provider] : config.endpoints()) {
    if (!valid_authority(endpoint, false))
      c.fail("endpoints." + endpoint, shown(endpoint) + " is not host or host:port",
             "for example llm.example.com:8443");
    if (provider.empty())
      c.fail("endpoints." + endpoint, fmt::format("endpoint {} names no provider", shown(endpoint)), "");
  }
  for (int i = 0; i < config.agents_size(); ++i)
    if (config.agents(i).match().ByteSizeLong() == 0)
      c.fail(fmt::format("agents[{}].match", i), "`match` is empty: it would name every agent",
             "give at least one key");
}

}  // namespace

Config default_config() {
  Config c;
  c.set_listen("127.0.0.1:9464");
  c.set_state_dir("/var/lib/penstock");
  c.set_bpffs_dir("/sys/fs/bpf/penstock");
  c.mutable_socket()->set_path("/run/penstock/penstock.sock");
  c.mutable_rings()->set_events_bytes(16 << 20);
  c.mutable_rings()->set_verdicts_bytes(16 << 20);
  auto* d = c.mutable_defaults();
  d->set_mode(MODE_OBSERVE);
  d->set_on_failure(ON_FAILURE_HOLD_LAST);
  d->set_deadline_ns(5 * kSecond);
  d->set_hold_ns(600 * kSecond);
  d->set_heartbeat_timeout_ns(2 * kSecond);
  c.set_log_level(Config::LOG_LEVEL_INFO);
  return c;
}

LoadedConfig read_config(std::string_view text, const std::string& file) {
  LoadedConfig loaded;
  YamlFile read = read_yaml(text, file, Config::default_instance());
  loaded.diagnostics = std::move(read.diagnostics);
  if (read.documents.size() > 1)
    loaded.diagnostics.push_back({Severity::kError, file, read.documents[1].at, "a configuration is one document",
                                  "put policies into files of their own (`policies:`)"});
  YamlDocument empty;
  empty.file = file;
  const YamlDocument& document = read.documents.empty() ? empty : read.documents.front();
  if (document.message) loaded.config.CopyFrom(*document.message);
  fill_defaults(loaded.config);
  // A value that could not be read is the default by now: checking it again would only repeat the complaint.
  check(loaded.config, document, loaded.diagnostics);
  return loaded;
}

base::Result<Config> load_config(const std::string& path) {
  PN_TRY(std::string text, read_text_file(path));
  LoadedConfig loaded = read_config(text, path);
  if (has_errors(loaded.diagnostics)) return to_error(loaded.diagnostics);
  return std::move(loaded.config);
}

}  // namespace penstock::api
