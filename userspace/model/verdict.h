// What was decided about a request.
#pragma once

#include <cstdint>
#include <string>

namespace penstock::model {

enum class Action : std::uint8_t {
  kAllow,
  kHold,  // stays in its socket until released, denied, or its deadline
  kPace,  // held for a computed time, then allowed
  kDeny,  // the connection is destroyed before the request leaves
  kCut,   // the connection is destroyed while the answer streams
  kKill,  // the connection is destroyed because its scope was killed
};

enum class Mode : std::uint8_t { kObserve, kEnforce, kStrict };

struct Verdict {
  Action action = Action::kAllow;
  Mode mode = Mode::kObserve;
  std::string policy;         // name of the policy that decided; empty: none matched
  std::string rule;           // budget or rule within it
  std::string reason;         // closed set: budget, rule, unpriced, opaque, killed, approval, loop, daemon_late, none
  std::uint64_t gate_ns = 0;  // gate closed -> released or refused; 0 when nothing was held
};

}  // namespace penstock::model
