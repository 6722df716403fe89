// The daemon's configuration: read, checked, defaults filled in. docs/configuration.md.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "userspace/api/config.pb.h"
#include "userspace/api/diagnostic.h"

namespace penstock::api {

struct LoadedConfig {
  Config config;  // with defaults; meaningful when there is no error
  std::vector<Diagnostic> diagnostics;
};

// What holds without a configuration file.
Config default_config();

// Reads `text` (an empty one is the default configuration). Names of providers in `endpoints` are not checked here:
// this layer does not know them.
LoadedConfig read_config(std::string_view text, const std::string& file);

// The same for a file; fails (kUsage) when it cannot be read or has an error, the message being the first diagnostic.
base::Result<Config> load_config(const std::string& path);

}  // namespace penstock::api
