// Kill switches in force. Durable: an order is on disk before add() returns, so that it outlives any crash after it was
// acknowledged; a file that cannot be understood stops the start rather than silently releasing what was killed.
// Pipeline thread only.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "userspace/api/control.pb.h"
#include "userspace/base/result.h"
#include "userspace/policy/policy.h"

namespace penstock::pipeline {

class KillSwitches {
 public:
  // `path` empty: kept in memory only (tests, and daemons that end with their runs).
  static base::Result<KillSwitches> open(const std::string& path);

  // Replaces an order with the same selector. kUsage for a selector that cannot be a standing order.
  base::Result<> add(const api::KillSwitch& order);
  // True when there was one.
  base::Result<bool> remove(const api::Selector& selector);

  std::span<const policy::KillSwitch> active() const { return active_; }
  const api::KillList& list() const { return list_; }
  bool empty() const { return active_.empty(); }
  // Some order stops everything the subject does (orders about models and providers do not count: they need a request).
  bool stops(const model::Subject& subject) const;
  bool any_about_requests() const;

 private:
  base::Result<> save(const api::KillList& list) const;
  base::Result<> adopt(api::KillList list);

  std::string path_;
  api::KillList list_;
  std::vector<policy::KillSwitch> active_;
  std::uint64_t next_id_ = 1;
};

}  // namespace penstock::pipeline
