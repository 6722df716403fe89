// `penstock policy check | diff | explain`, and the loading of policy files. Reads files; everything else is pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "userspace/api/diagnostic.h"
#include "userspace/api/yaml.h"
#include "userspace/policy/policy.h"

namespace penstock::policy {

struct LoadedPolicies {
  api::PolicySet set;  // meaningful when there is no error
  std::vector<api::Diagnostic> diagnostics;
};

// Reads and checks one text.
LoadedPolicies read_policies(std::string_view text, const std::string& file, const Support& support = {});
// Reads and checks a file, or all *.yaml and *.yml files of a folder in the order of their names. A file that cannot be
// read is a diagnostic without a position.
LoadedPolicies load_policies(const std::string& path, const Support& support = {});

// Problems of meaning: names, limits, combinations, features that this build lacks. Positions are absent.
std::vector<api::Diagnostic> check(const api::PolicySet& set, const Support& support = {});

// What applies to a subject, as text of several lines.
std::string explain(const Effective& effective);

// What changes from one set to another: one line for each policy and budget added, removed or changed.
std::vector<std::string> diff(const api::PolicySet& before, const api::PolicySet& after);

}  // namespace penstock::policy
