// The whole of the parsers over every registered provider and protocol: bytes of a connection in, exchanges out.
// Half of the inputs are raw connections; the other half are bodies, wrapped in well-formed requests to the provider
// and path that the input chooses, so that the readers of content are reached at once.
#include <map>
#include <string>

#include "parsers/providers/registry.h"
#include "parsers/session/session.h"
#include "tests/fuzz/parsers/harness.h"

using namespace penstock;
using namespace penstock::parsers;

namespace {

struct Sink final : ExchangeSink {
  fuzz::Log log;
  std::map<const model::Exchange*, int> open;
  std::uint64_t last_id = 0;

  void usage(const model::Usage& usage) {
    for (const auto& tokens : {usage.input_tokens, usage.output_tokens, usage.cache_read_tokens,
                               usage.cache_write_tokens, usage.reasoning_tokens}) {
      log.event(1, tokens ? static_cast<std::uint64_t>(*tokens) : ~0ull);
      fuzz::require(!tokens || static_cast<std::uint64_t>(*tokens) <= ~0ull >> 1, "a count that does not fit");
    }
  }
  void on_request_head(model::Exchange& exchange) override {
    exchange.id = ++last_id;
    fuzz::require(open[&exchange] == 0, "a second head");
    open[&exchange] = 1;
  }
  void on_request(model::Exchange& exchange, std::uint64_t) override {
    fuzz::require(open[&exchange] == 1, "a request without its head, or twice");
    open[&exchange] = 2;
  }
  void on_progress(model::Exchange& exchange) override { fuzz::require(open[&exchange] != 0, "progress of nothing"); }
  void on_complete(model::Exchange& exchange) override {
    fuzz::require(open[&exchange] != 0, "an end without a beginning");
    open.erase(&exchange);
    log.event(2, exchange.provider);
    log.event(3, exchange.operation);
    log.event(4, exchange.request_model);
    log.event(5, exchange.response_model);
    log.event(6, exchange.finish_reason.value_or("-"));
    log.event(7, exchange.status);
    log.event(8, exchange.tool_calls.size());
    for (const model::ToolCall& call : exchange.tool_calls) log.event(9, call.name);
    log.event(10, static_cast<std::uint64_t>(exchange.usage_status));
    log.event(11, exchange.error ? exchange.error->type : "-");
    usage(exchange.usage);
    for (const model::Iteration& iteration : exchange.iterations) usage(iteration.usage);
  }
};

constexpr std::string_view kPaths[] = {"/v1/chat/completions",
                                       "/v1/responses",
                                       "/v1/messages",
                                       "/v1/completions",
                                       "/v1/embeddings",
                                       "/v1/images/generations",
                                       "/v1beta/models/gemini-2.0-flash:streamGenerateContent?alt=sse",
                                       "/v1beta/models/gemini-2.0-flash:generateContent",
                                       "/model/anthropic.claude-3/converse-stream",
                                       "/model/anthropic.claude-3/invoke-with-response-stream",
                                       "/model/amazon.titan/invoke",
                                       "/v2/chat",
                                       "/v1/chat",
                                       "/api/chat",
                                       "/api/generate",
                                       "/generate_stream",
                                       "/mcp",
                                       "/",
                                       "/v1/audio/transcriptions",
                                       "/v1/rerank",
                                       "/v1/threads/runs",
                                       "/serving-endpoints/x/invocations",
                                       "/openai/deployments/gpt-4o/chat/completions",
                                       "/a2a",
                                       "/xai_api.Chat/GetCompletion",
                                       "/v1/realtime",
                                       "/v1/conversations",
                                       "/v1/ai/language-model",
                                       "/api/v1/services/aigc/text-generation/generation",
                                       "/client/v4/accounts/a/ai/run/@cf/meta/llama",
                                       "/models/some/model",
                                       "/generate",
                                       "/completion",
                                       "/async/chat/completions",
                                       "/v1beta/interactions",
                                       "/v1/models/text-bison:predict",
                                       "/model/amazon.nova-sonic/invoke-with-bidirectional-stream",
                                       "/model/cohere.command-r/invoke-with-response-stream",
                                       "/agents/a/agentAliases/b/sessions/s/text"};
constexpr std::string_view kTypes[] = {"application/json",
                                       "text/event-stream",
                                       "application/vnd.amazon.eventstream",
                                       "application/x-ndjson",
                                       "application/grpc",
                                       "multipart/form-data; boundary=XX",
                                       "text/plain"};

std::string message(std::string start, std::string_view type, fuzz::Bytes body) {
  start += "Content-Type: " + std::string(type) + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n";
  return start.append(fuzz::text(body));
}

}  // namespace

void fuzz(fuzz::Input input) {
  const std::uint8_t choice = input.byte();
  const std::uint32_t seed = input.word();
  const auto all = providers::registry();
  const Provider& provider = *all[input.byte() % all.size()];
  Endpoint endpoint;
  if (!provider.hosts.empty()) {
    endpoint.host = std::string(provider.hosts[seed % provider.hosts.size()]);
    for (char& c : endpoint.host) c = c == '*' ? 'x' : c;
  }
  endpoint.port = provider.port != 0 ? provider.port : 443;
  std::string requests, answers;
  const std::string_view path = kPaths[input.byte() % std::size(kPaths)];
  const std::string_view request_type = kTypes[input.byte() % std::size(kTypes)];
  const std::string_view answer_type = kTypes[input.byte() % std::size(kTypes)];
  const std::string_view rest = fuzz::text(input.rest());
  const std::size_t middle = std::min(rest.find(std::string_view("\0\0", 2)), rest.size());
  const fuzz::Bytes first = input.rest().first(middle);
  const fuzz::Bytes second = input.rest().subspan(std::min(middle + 2, rest.size()));
  if ((choice & 1) != 0) {
    requests = fuzz::text(first);
    answers = fuzz::text(second);
  } else {
    requests =
        message("POST " + std::string(path) + " HTTP/1.1\r\nHost: " + endpoint.host + "\r\n", request_type, first);
    answers = message((choice & 2) != 0 ? "HTTP/1.1 400 Bad Request\r\n" : "HTTP/1.1 200 OK\r\n", answer_type, second);
  }
  const bool joined = (choice & 4) != 0;
  const bool hole = (choice & 8) != 0;
  const auto run = [&](bool cut) {
    Sink sink;
    const auto parser = session::make_connection_parser(endpoint, joined, sink);
    const auto feed = [&](Direction direction, std::uint64_t pos, std::string_view bytes) {
      const fuzz::Bytes whole(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
      for (const fuzz::Bytes piece : cut ? fuzz::cut(whole, seed) : fuzz::Pieces{whole}) {
        parser->feed(direction, pos, piece, 1);
        pos += piece.size();
      }
    };
    feed(Direction::kToServer, 0, requests);
    fuzz::require(parser->settled_pos() <= requests.size(), "settled beyond the input");
    (void)parser->request_open();
    feed(Direction::kToClient, 0, answers);
    if (hole) {
      parser->gap(Direction::kToClient, seed % 100);
      feed(Direction::kToClient, answers.size() + seed % 100, answers);
      parser->gap(Direction::kToServer, 0);
      feed(Direction::kToServer, requests.size() + 5000, requests);
    }
    parser->close(2);
    fuzz::require(sink.open.empty(), "an exchange without its end");
    return sink.log.value();
  };
  const std::uint64_t whole = run(false);
  // How much of a broken compressed body comes out depends on how it is cut.
  const bool coded = requests.find("ncoding") != std::string::npos || answers.find("ncoding") != std::string::npos ||
                     requests.find("xtensions") != std::string::npos || answers.find("xtensions") != std::string::npos;
  const std::uint64_t pieces = run(true);
  if (!coded) fuzz::require(whole == pieces, "cutting the input changes its exchanges");
}
