// Where policies come from: the files of the configuration, those applied through the API (kept in the state
// directory), and those made for runs. One set is compiled from all of them; nothing takes effect unless all of it is
// valid. Pipeline thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "userspace/api/control.pb.h"
#include "userspace/base/result.h"
#include "userspace/policy/check.h"
#include "userspace/policy/policy.h"

namespace penstock::daemon {

class PolicyStore {
 public:
  struct Settings {
    std::string path;         // file or folder of the configuration; empty: none
    std::string applied_dir;  // empty: applied policies are kept in memory only
    policy::Defaults defaults;
    policy::Support support;
  };
  // Makes a compiled set the one in force.
  using Install = std::function<base::Result<>(std::shared_ptr<const policy::CompiledPolicies>, bool any_strict)>;

  // Reads files and what was applied before. Fails (kUsage) with the first thing that is wrong, with its place.
  static base::Result<PolicyStore> open(Settings settings, std::int64_t now_real_ns);
  void set_install(Install install) { install_ = std::move(install); }
  // Compiles and installs what there is.
  base::Result<> install();

  // Reads the files again (SIGHUP). On error the old ones stay in force.
  base::Result<> reload(Settings settings, std::int64_t now_real_ns);

  api::PolicyReport check(const std::string& source, const std::string& file) const;
  base::Result<api::PolicyReport> apply(const std::string& source, const std::string& file, std::int64_t now_real_ns);
  base::Result<> remove(const std::string& name);

  // Policies of one run: `limits` (when there are any) and `source` (may be empty), narrowed to the run.
  base::Result<> add_run(const std::string& run, const policy::RunLimits& limits, bool has_limits,
                         const std::string& source, const std::string& file);
  void remove_run(const std::string& run);

  struct Origin {
    std::string file;  // empty: made for a run
    std::int64_t loaded_real_ns = 0;
    bool applied = false;
  };
  const api::PolicySet& set() const { return set_; }
  const Origin* origin(const std::string& name) const;
  api::PolicyInfo describe(const api::Policy& policy, const std::string& change) const;

 private:
  explicit PolicyStore(Settings settings) : settings_(std::move(settings)) {}
  struct Parts {
    std::vector<api::Policy> files;
    std::vector<api::Policy> applied;
    std::map<std::string, std::vector<api::Policy>> runs;
    std::map<std::string, Origin> origins;
  };
  static api::PolicySet join(const Parts& parts);
  base::Result<> swap_in(Parts parts);
  base::Result<> install(const api::PolicySet& set);
  base::Result<Parts> read(const Settings& settings, std::int64_t now_real_ns) const;

  Settings settings_;
  Install install_;
  Parts parts_;
  api::PolicySet set_;
};

}  // namespace penstock::daemon
