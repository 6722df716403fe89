// Who may give orders through the control API. The socket's permissions decide who may ask at all; they cannot tell a
// person from an agent that runs as the same user, even as root. So whoever is governed may look and not order: no
// process may lift its own limits, end its own run or start one beside it.
//
// Governed is who a policy in force or a kill switch singles out. One about everybody also covers the shell of whoever
// administers the host: under that, governed is who acts for an agent, that is talks to models or was started by
// somebody who does. A pure function of what the daemon knows.
#pragma once

#include <string>
#include <string_view>

#include "userspace/api/control.pb.h"
#include "userspace/base/result.h"
#include "userspace/policy/policy.h"

namespace penstock::daemon {

struct Caller {
  bool known = false;  // false: it has ended, or is in a pid namespace that is not ours to see
  bool root = false;
  bool acts_for_agent = false;
  policy::Effective effective;  // with its subject; of a known caller
};

// Everything that is not plainly a question is an order.
bool is_order(std::string_view rpc);

// kPrivilege with the reason, in one line.
base::Result<> may_order(const Caller& caller, const api::KillList& kills, std::string_view rpc);

}  // namespace penstock::daemon
