// The `observe` streams of the daemon: remembers the last finished exchanges (their lines) and passes each new one to
// the clients that want it. A line is written when somebody first wants it, and once. Pipeline thread only.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <vector>

#include "userspace/api/control.h"
#include "userspace/model/exchange.h"

namespace penstock::api {

class ExchangeStreams {
 public:
  // Memory: about 1 KiB per kept exchange.
  explicit ExchangeStreams(std::size_t keep = 1000) : keep_(keep) {}
  // Sends what was asked for from memory; keeps the stream if it follows, ends it otherwise.
  base::Result<> open(const ObserveRequest& request, std::shared_ptr<LineStream> stream);
  void publish(const model::Exchange& finished);
  std::size_t followers() const { return followers_.size(); }

 private:
  struct Kept {
    model::Exchange exchange;
    std::shared_ptr<const std::string> line;  // null until wanted
  };
  static const std::shared_ptr<const std::string>& line_of(Kept& kept);
  struct Follower {
    ObserveRequest request;
    std::shared_ptr<LineStream> stream;
  };
  std::size_t keep_;
  std::list<Kept> kept_;  // the oldest one's memory is the next one's
  std::vector<Follower> followers_;
};

}  // namespace penstock::api
