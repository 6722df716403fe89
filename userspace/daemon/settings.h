// What the daemon was asked to do: the command line over the configuration file over the defaults.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "userspace/api/config.h"
#include "userspace/base/result.h"
#include "userspace/daemon/policy_store.h"
#include "userspace/ledger/prices.h"
#include "userspace/policy/policy.h"

namespace penstock::daemon {

struct CommandLine {
  std::string config_file;
  std::optional<std::string> state_dir, bpffs_dir, socket, listen;
  std::optional<std::uint64_t> ring_bytes;
  bool ephemeral = false;
};

struct Settings {
  api::Config config;       // with defaults and the command line applied
  std::string config_file;  // empty: none
  bool ephemeral = false;
  std::uint32_t events_ring_bytes = 0, verdicts_ring_bytes = 0;
};

// Reads the file (none: the defaults) and applies the command line. kUsage with file:line:column for what is wrong.
base::Result<Settings> load_settings(const CommandLine& command_line);
// Every endpoint names a provider that exists.
base::Result<> check_endpoints(const api::Config& config, const std::string& file);
policy::Support policy_support();
// What the configuration says, as the parts want it. `applied_dir` empty: applied policies are kept in memory only.
PolicyStore::Settings policy_settings(const api::Config& config, std::string applied_dir);
ledger::PriceBook::Options price_options(const api::Config& config);

}  // namespace penstock::daemon
