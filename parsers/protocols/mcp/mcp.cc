// The Model Context Protocol over HTTP: streamable HTTP of all revisions (2025-03-26 to the stateless 2026-07-28), and
// the legacy pair of a GET event stream and POSTs that are answered 202 (2024-11-05). Hosts and paths are free: header
// fields tell, or the body.
#include <string>

#include "parsers/dialects/facts.h"
#include "parsers/dialects/json_rpc.h"
#include "parsers/dialects/paths.h"
#include "parsers/protocols/mcp/methods.h"
#include "parsers/protocols/mcp/pipe.h"

namespace penstock::parsers::protocols {
namespace {

class Mcp final : public Decoder {
 public:
  // `certain`: the head or the body has already told; else the answer must.
  explicit Mcp(bool certain) : certain_(certain) {}

  void start(const RequestHead& head, model::Exchange& exchange) override {
    if (certain_) exchange.kind = model::Kind::kMcp;
    exchange.operation = std::string(head.header("mcp-method"));
    exchange.conversation_id = std::string(head.header("mcp-session-id"));
    if (exchange.conversation_id.empty())
      exchange.conversation_id = dialects::query_parameter(head.query, "sessionId").value_or("");
  }

  bool request(Json body, model::Exchange& exchange) override {
    if (!dialects::is_json_rpc(body)) return true;  // the header fields had told
    if (const std::string_view method = dialects::first_method(body); !method.empty())
      exchange.operation = std::string(method);
    dialects::each_message(body, [&exchange](Json message) { mcp::read_request(message, exchange); });
    return true;
  }

  void response(const ResponseHead& head, model::Exchange& exchange) override {
    exchange.stream = wire::http::media_type(head.header("content-type")) == "text/event-stream";
    if (const std::string_view session = head.header("mcp-session-id"); !session.empty())
      exchange.conversation_id = std::string(session);
  }

  void event(const Event& event, model::Exchange& exchange) override {
    if (event.kind == Event::Kind::kSse) exchange.stream = true;
    // The legacy stream begins with the address for the POSTs.
    if (event.name == "endpoint" || dialects::is_json_rpc(event.json)) exchange.kind = model::Kind::kMcp;
    mcp::read_answer(event.json, exchange);
  }

 private:
  bool certain_;
};

std::unique_ptr<Decoder> open(const RequestHead& head) {
  if (!head.header("mcp-method").empty() || !head.header("mcp-session-id").empty() ||
      !head.header("mcp-protocol-version").empty())
    return std::make_unique<Mcp>(true);
  if (head.method == "GET" && head.fields.has_token("accept", "text/event-stream")) return std::make_unique<Mcp>(false);
  return nullptr;
}

std::unique_ptr<Decoder> open_body(const RequestHead& head, Json body, Evidence evidence) {
  if (!dialects::is_json_rpc(body)) return nullptr;
  const std::string_view method = dialects::first_method(body);
  // A client has to take event streams; an answer to the server has no method to tell by.
  const bool takes_streams = head.fields.has_token("accept", "text/event-stream");
  if (evidence == Evidence::kConnection ||
      (evidence == Evidence::kContent && (mcp::is_method(method) || takes_streams)) ||
      (evidence == Evidence::kNaming && mcp::is_named_like_a_method(method)))
    return std::make_unique<Mcp>(true);
  return nullptr;
}

}  // namespace

extern const AgentProtocol k_mcp;
const AgentProtocol k_mcp{
    .name = "mcp",
    .kind = model::Kind::kMcp,
    .open = open,
    .open_body = open_body,
    .converse = mcp::open_pipe,
};

}  // namespace penstock::parsers::protocols
