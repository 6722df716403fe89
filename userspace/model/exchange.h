// An exchange is one request and its answer, to a model, a tool (MCP) or an agent (A2A). Plain data: filled by parsers,
// completed by the pipeline (identity, money, verdict), read by exporters. No prompt or answer text is kept.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "userspace/model/agent.h"
#include "userspace/model/money.h"
#include "userspace/model/usage.h"
#include "userspace/model/verdict.h"

namespace penstock::model {

enum class Kind : std::uint8_t { kHttp, kLlm, kMcp, kA2a };

// An id as the API gives it: JSON-RPC ids are strings or numbers, and 1 differs from "1".
using CallId = std::variant<std::monostate, std::string, std::int64_t>;

struct ToolCall {
  CallId id;
  std::string name;
  bool operator==(const ToolCall&) const = default;
};

struct ExchangeError {
  std::uint32_t status = 0;  // HTTP status of the response
  bool in_stream = false;    // an error event inside a 200 stream
  std::string type;          // provider's error type; empty when it has none
  bool operator==(const ExchangeError&) const = default;
};

// Offsets from the request's first byte; absent when it has not happened or was not seen.
struct Timing {
  std::int64_t start_real_ns = 0;  // when the request's first byte was written, Unix time
  std::optional<std::uint64_t> request_sent_ns;
  std::optional<std::uint64_t> first_chunk_ns;  // first streamed content (or first body byte when not streamed)
  std::optional<std::uint64_t> last_chunk_ns;
  std::optional<std::uint64_t> total_ns;
};

// One model pass inside an exchange that the top-level counters leave out (Anthropic compaction, advisor passes, …).
struct Iteration {
  std::string model;  // empty: the exchange's model
  Usage usage;
  bool operator==(const Iteration&) const = default;
};

// What the request asks for; known before the verdict.
struct RequestFacts {
  std::uint64_t body_bytes = 0;             // decoded request body
  std::uint64_t text_bytes = 0;             // bytes of natural-language text in it (for token estimates)
  std::uint64_t tool_bytes = 0;             // of the definitions of the tools offered, as they stand in the body
  std::uint64_t schema_bytes = 0;           // of the schema that the answer has to follow
  std::uint64_t definition_text_bytes = 0;  // the part of text_bytes that is in those two
  std::uint64_t media_bytes = 0;            // base64 images, audio, files
  std::uint64_t media_parts = 0;
  std::optional<std::uint64_t> max_output_tokens;  // max_tokens and its synonyms
  std::optional<std::uint64_t> choices;            // n: answers asked for
  std::vector<std::string> offered_tools;          // names of tools offered to the model (bounded)
  std::vector<CallId> tool_results;                // tool-call ids answered by this request (bounded)
  std::string service_tier;
  bool stored_context = false;  // the provider adds input that it keeps (a conversation, a prompt, a cache)
};

// W3C trace context of the caller, as the request carries it: lower-case hex. Empty: none.
struct TraceContext {
  std::string trace_id;   // 32 digits
  std::string parent_id;  // 16 digits: the span that made the request
  bool sampled = false;
  bool operator==(const TraceContext&) const = default;
};

struct Coverage {
  std::uint64_t lost_bytes = 0;  // plaintext known to be missing from this exchange
  bool truncated_start = false;  // observation began inside it
};

struct Exchange {
  std::uint64_t id = 0;          // unique on this host, ascending
  std::uint64_t connection = 0;  // socket cookie; 0 for files
  Kind kind = Kind::kHttp;
  std::string provider;   // OpenTelemetry gen_ai.provider.name or the documented extension
  std::string operation;  // chat, embeddings, …; MCP/A2A: JSON-RPC method
  std::string host;       // authority without port
  std::uint16_t port = 0;
  std::string method;  // HTTP method
  std::string path;    // path without query (may hold ids: never a metric label)
  std::string request_model;
  std::string response_model;
  std::string response_id;
  std::string conversation_id;
  TraceContext trace;
  RequestFacts request;
  Usage usage;
  UsageStatus usage_status = UsageStatus::kUnknown;
  std::vector<Iteration> iterations;
  std::string service_tier;  // from the response
  std::optional<std::string> finish_reason;
  std::vector<ToolCall> tool_calls;
  std::optional<ExchangeError> error;
  std::uint32_t status = 0;  // HTTP status; 0: no answer seen
  bool stream = false;
  std::uint64_t output_text_bytes = 0;  // generated text and tool arguments seen so far (for live estimates)
  std::optional<NanoUsd> cost;
  PriceStatus price_status = PriceStatus::kUnpriced;
  Subject subject;
  Verdict verdict;
  Timing timing;
  Coverage coverage;
};

}  // namespace penstock::model
