#include "userspace/daemon/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "parsers/providers/registry.h"
#include "userspace/daemon/endpoint_names.h"
#include "userspace/ledger/timezone.h"

namespace penstock::daemon {
namespace {

constexpr std::uint64_t kMinRing = 4096;
constexpr std::uint64_t kMaxRing = std::uint64_t{1} << 30;

base::Result<std::uint32_t> ring_size(std::uint64_t bytes, const char* what) {
  if (bytes < kMinRing || bytes > kMaxRing || !std::has_single_bit(bytes)) {
    return base::Error{base::ErrorCode::kUsage, 0, fmt::format("{}: {} is no size of a ring", what, bytes),
                       fmt::format("a power of two from {} to {}", kMinRing, kMaxRing)};
  }
  return static_cast<std::uint32_t>(bytes);
}

}  // namespace

base::Result<Settings> load_settings(const CommandLine& command_line) {
  Settings settings;
  settings.config_file = command_line.config_file;
  settings.ephemeral = command_line.ephemeral;
  if (command_line.config_file.empty()) {
    settings.config = api::default_config();
  } else {
    PN_TRY(settings.config, api::load_config(command_line.config_file));
  }
  api::Config& config = settings.config;
  if (command_line.state_dir) config.set_state_dir(*command_line.state_dir);
  if (command_line.bpffs_dir) config.set_bpffs_dir(*command_line.bpffs_dir);
  if (command_line.socket) config.mutable_socket()->set_path(*command_line.socket);
  if (command_line.listen) config.set_listen(*command_line.listen);
  if (command_line.ring_bytes) {
    config.mutable_rings()->set_events_bytes(*command_line.ring_bytes);
    config.mutable_rings()->set_verdicts_bytes(*command_line.ring_bytes);
  }
  PN_TRY(settings.events_ring_bytes, ring_size(config.rings().events_bytes(), "rings.events"));
  PN_TRY(settings.verdicts_ring_bytes, ring_size(config.rings().verdicts_bytes(), "rings.verdicts"));
  PN_CHECK(check_endpoints(config, command_line.config_file));
  return settings;
}

base::Result<> check_endpoints(const api::Config& config, const std::string& file) {
  const auto known = parsers::providers::registry();
  for (const auto& [host, provider] : config.endpoints()) {
    const bool found = std::any_of(known.begin(), known.end(), [&](const auto* p) { return p->name == provider; });
    if (!found) {
      return base::Error{base::ErrorCode::kUsage, 0,
                         fmt::format("{}: endpoints: \"{}\" names no provider: {}", file, host, provider),
                         "penstock providers lists them"};
    }
  }
  return {};
}

policy::Support policy_support() {
  policy::Support support;
  support.approvals = true;  // released by a person through the API
  support.delegation = true;
  support.tools = true;  // MCP and A2A over HTTP
  support.timezone_known = [](std::string_view name) { return ledger::TimeZone::load(name).has_value(); };
  return support;
}

PolicyStore::Settings policy_settings(const api::Config& config, std::string applied_dir) {
  PolicyStore::Settings settings;
  settings.path = config.policies();
  settings.applied_dir = std::move(applied_dir);
  settings.defaults = policy::defaults_from(config.defaults());
  settings.support = policy_support();
  return settings;
}

ledger::PriceBook::Options price_options(const api::Config& config) {
  ledger::PriceBook::Options options;
  options.operator_file = config.prices();
  for (const auto& [text, provider] : config.endpoints()) {
    auto [host, port] = split_host_port(text);
    options.endpoints.push_back({std::move(host), provider, port.value_or(0)});
  }
  return options;
}

}  // namespace penstock::daemon
