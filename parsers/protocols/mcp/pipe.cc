// Both sides send requests, and both number them from wherever they like: ids are per direction. A request is an
// exchange, and ends with the answer that carries its id; notifications are none.
#include "parsers/protocols/mcp/pipe.h"

#include <algorithm>
#include <string>
#include <vector>

#include "parsers/dialects/facts.h"
#include "parsers/dialects/json_rpc.h"
#include "parsers/protocols/mcp/methods.h"

namespace penstock::parsers::protocols::mcp {
namespace {

constexpr std::size_t kMaxOpen = 1024;

class Pipe final : public Conversation {
 public:
  void message(Direction direction, Json body, Turns& turns) override {
    dialects::each_message(body, [&](Json message) {
      if (!dialects::is_json_rpc(message)) return;
      if (message["method"].is_string()) {
        request(direction, message, turns);
      } else {
        answer(direction, message, turns);
      }
    });
  }

 private:
  struct Open {
    Direction direction;  // of the request
    model::CallId id;
    model::Exchange* exchange;
  };

  void request(Direction direction, Json message, Turns& turns) {
    const model::CallId id = dialects::call_id(message["id"]);
    if (std::holds_alternative<std::monostate>(id) || open_.size() >= kMaxOpen) return;
    model::Exchange& exchange = turns.begin();
    dialects::take_string(message["method"], exchange.operation);
    exchange.request.body_bytes = message.raw_bytes();
    exchange.request.text_bytes = message.text_bytes();
    if (direction == Direction::kToServer) read_request(message, exchange);
    open_.push_back({direction, id, &exchange});
    turns.requested(exchange);
  }

  void answer(Direction direction, Json message, Turns& turns) {
    const model::CallId id = dialects::call_id(message["id"]);
    const auto it = std::find_if(open_.begin(), open_.end(),
                                 [&](const Open& one) { return one.direction != direction && one.id == id; });
    if (it == open_.end()) return;
    model::Exchange& exchange = *it->exchange;
    open_.erase(it);
    read_answer(message, exchange);
    exchange.output_text_bytes = message["result"].text_bytes();
    turns.complete(exchange, model::UsageStatus::kUnknown);
  }

  std::vector<Open> open_;
};

}  // namespace

std::unique_ptr<Conversation> open_pipe() { return std::make_unique<Pipe>(); }

}  // namespace penstock::parsers::protocols::mcp
