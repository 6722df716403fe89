#include "userspace/daemon/authority.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "userspace/api/selector.h"

namespace penstock::daemon {
namespace {

constexpr std::string_view kQuestions[] = {"GetStatus",    "GetDoctor",    "Observe",   "GetTop",       "ListAgents",
                                           "GetRun",       "ListBudgets",  "ListKills", "ListHeld",     "CheckPolicy",
                                           "ListPolicies", "ListCoverage", "GetGraph",  "ListCounters", "ListPrices"};

// Orders about everything, about a user, or about requests only do not single out a process.
bool singles_out(const api::Selector& selector, bool beyond_user) {
  switch (selector.target_case()) {
    case api::Selector::kAll:
    case api::Selector::kModel:
    case api::Selector::kProvider:
    case api::Selector::TARGET_NOT_SET:
      return false;
    case api::Selector::kUser:
      return !beyond_user;
    default:
      return true;
  }
}

base::Error refusal(std::string what) {
  return {base::ErrorCode::kPrivilege, EPERM, std::move(what),
          "give orders from a process that no policy in force governs"};
}

}  // namespace

bool is_order(std::string_view rpc) {
  return std::find(std::begin(kQuestions), std::end(kQuestions), rpc) == std::end(kQuestions);
}

base::Result<> may_order(const Caller& caller, const api::KillList& kills, std::string_view rpc) {
  if (!is_order(rpc)) return {};
  if (!caller.known) return refusal(fmt::format("{} refused: cannot see which process asks", rpc));
  const model::Subject& subject = caller.effective.subject;
  const std::string who = fmt::format("process {} ({})", subject.process.pid, subject.agent);
  if (const std::string_view policy = policy::singled_out_by(caller.effective, caller.root); !policy.empty())
    return refusal(fmt::format("{} refused: {} is governed by policy {}", rpc, who, policy));
  for (const api::KillSwitch& kill : kills.kills()) {
    if (!api::matches(kill.selector(), subject)) continue;
    if (!caller.acts_for_agent && !singles_out(kill.selector(), caller.root)) continue;
    return refusal(fmt::format("{} refused: {} is under kill {}", rpc, who, api::format_selector(kill.selector())));
  }
  if (caller.acts_for_agent && caller.effective.gated)
    return refusal(fmt::format("{} refused: {} acts for a governed agent", rpc, who));
  return {};
}

}  // namespace penstock::daemon
