// Counts the usage of one answer once. The same answer is seen again when a stored or background response is polled, a
// run is watched, or a gateway and its upstream are both on this host: providers repeat its usage every time. A server
// that gives all its answers the same id is no reason to stop counting: a repeat is a GET, or the same counters from
// another host. Memory: bounded; the oldest answers are forgotten first. Not thread-safe.
#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <unordered_map>

#include "userspace/model/exchange.h"

namespace penstock::parsers::session {

class UsageOnce {
 public:
  explicit UsageOnce(std::size_t remembered = 16384) : remembered_(remembered) {}
  // To be called with each completed exchange, before it is accounted. Takes the usage away from a repeat; true when it
  // did.
  bool apply(model::Exchange& exchange);

 private:
  struct Seen {
    std::string host;
    model::Usage usage;
  };
  std::size_t remembered_;
  std::unordered_map<std::string, Seen> seen_;  // by response id
  std::deque<std::string> order_;
};

}  // namespace penstock::parsers::session
