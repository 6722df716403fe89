// The exchanges of one long-lived channel (a WebSocket, a pipe): begun, judged, completed by whoever reads its
// messages.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "parsers/dialects/provider.h"

namespace penstock::parsers::session {

class OpenTurns final : public Turns {
 public:
  // `like`: what every exchange of the channel begins with (provider, host, path, …).
  OpenTurns(model::Exchange like, ExchangeSink& sink) : like_(std::move(like)), sink_(sink) {}

  void set_time(std::uint64_t now_ns) { now_ns_ = now_ns; }
  // Where the client's message that is being read ends.
  void set_end_pos(std::uint64_t end_pos) { end_pos_ = end_pos; }
  // Bytes of the channel were lost: whatever is open cannot be complete.
  void lost(std::uint64_t bytes);
  void close();

  model::Exchange& begin() override;
  void requested(model::Exchange& exchange) override;
  void progress(model::Exchange& exchange) override;
  void complete(model::Exchange& exchange, model::UsageStatus status) override;

 private:
  struct Turn {
    model::Exchange exchange;
    std::uint64_t start_ns = 0;
    bool lossy = false;
  };
  Turn* find(const model::Exchange& exchange);

  const model::Exchange like_;
  ExchangeSink& sink_;
  std::vector<std::unique_ptr<Turn>> turns_;
  std::uint64_t end_pos_ = 0;
  std::uint64_t now_ns_ = 0;
};

}  // namespace penstock::parsers::session
