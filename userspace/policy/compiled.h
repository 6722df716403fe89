// What compile() makes of policies: plain data in the shape that decisions read. Internal to policy; the types are
// visible to its tests.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "userspace/policy/policy.h"

namespace penstock::policy {

struct Rule {
  enum class Kind : std::uint8_t { kDeny, kAllow, kApprove };
  Kind kind = Kind::kDeny;
  std::string name;
  api::Target target;
  std::uint64_t hold_ns = 0;  // approve
  model::Action then = model::Action::kDeny;
};

struct CompiledPolicy {
  std::string name;
  api::Match match;
  model::Mode mode = model::Mode::kObserve;
  std::optional<OnFailure> on_failure;
  std::optional<std::uint64_t> deadline_ns;
  std::optional<Lease> lease;
  bool deny_opaque = false;
  api::Policy::Unpriced unpriced = api::Policy::UNPRICED_REFUSE;
  std::vector<std::uint32_t> budgets;  // numbers
  std::vector<Rule> rules;             // in the order written
  bool has_allow = false;
  bool inherit_budgets = true;
  bool inherit_denies = true;
  std::optional<std::uint32_t> max_depth;
  // loops:
  std::uint32_t same_calls = 0;  // 0: not limited
  std::uint32_t cycles = 0;
  model::Action on_loop = model::Action::kHold;
  std::uint64_t hold_ns = 0;  // for loops

  bool may_refuse() const;  // some request may be held or refused under this policy, were it enforced
};

class CompiledPolicies {
 public:
  std::vector<CompiledPolicy> policies;
  std::vector<BudgetSpec> budgets;
  std::vector<api::RequestMatch> only;  // for each budget
  Defaults defaults;
};

}  // namespace penstock::policy
