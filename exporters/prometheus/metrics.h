// Every metric, once: name, type, labels, help. The exporter, docs/METRICS.md and its test walk this table.
// A label marked * takes values that programs under observation choose: it is bounded (series.h), "_other" beyond.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::exporters {

enum class MetricType { kCounter, kGauge, kHistogram };

// Names of OpenTelemetry semantic conventions 1.41 in their Prometheus translation, those of their main branch (only
// with `semconv: main` or `both`), then our own.
#define PN_METRICS(X)                                                                                                  \
  X(kTokenUsage, "gen_ai_client_token_usage", kHistogram,                                                              \
    "gen_ai_operation_name gen_ai_provider_name gen_ai_token_type gen_ai_request_model* gen_ai_response_model* "       \
    "server_address* server_port",                                                                                     \
    "Tokens of one model call as its provider reported them; input includes cache, output includes reasoning")         \
  X(kOperationDuration, "gen_ai_client_operation_duration_seconds", kHistogram,                                        \
    "gen_ai_operation_name gen_ai_provider_name gen_ai_request_model* gen_ai_response_model* server_address* "         \
    "server_port "                                                                                                     \
    "error_type",                                                                                                      \
    "Time from the first byte of a model call to the last of its answer")                                              \
  X(kFirstChunk, "gen_ai_client_operation_time_to_first_chunk_seconds", kHistogram,                                    \
    "gen_ai_operation_name gen_ai_provider_name gen_ai_request_model* gen_ai_response_model* server_address* "         \
    "server_port",                                                                                                     \
    "Time from the first byte of a streamed model call to its first streamed content")                                 \
  X(kOutputChunk, "gen_ai_client_operation_time_per_output_chunk_seconds", kHistogram,                                 \
    "gen_ai_operation_name gen_ai_provider_name gen_ai_request_model* gen_ai_response_model* server_address* "         \
    "server_port",                                                                                                     \
    "Time between the chunks of a streamed answer; chunks that arrive together are one")                               \
  X(kInferenceInput, "gen_ai_client_inference_operation_input_tokens", kHistogram,                                     \
    "gen_ai_operation_name gen_ai_provider_name gen_ai_request_model* gen_ai_response_model* server_address* "         \
    "server_port",                                                                                                     \
    "semconv main: input tokens of one model call as its provider reported them")                                      \
  X(kInferenceOutput, "gen_ai_client_inference_operation_output_tokens", kHistogram,                                   \
    "gen_ai_operation_name gen_ai_provider_name gen_ai_request_model* gen_ai_response_model* server_address* "         \
    "server_port",                                                                                                     \
    "semconv main: output tokens of one model call as its provider reported them")                                     \
  X(kInferenceDuration, "gen_ai_client_inference_duration_seconds", kHistogram,                                        \
    "gen_ai_operation_name gen_ai_provider_name gen_ai_request_model* gen_ai_response_model* server_address* "         \
    "server_port "                                                                                                     \
    "error_type",                                                                                                      \
    "semconv main: time from the first byte of an inference call to the last of its answer")                           \
  X(kInferenceFirstChunk, "gen_ai_client_inference_time_to_first_chunk_seconds", kHistogram,                           \
    "gen_ai_operation_name gen_ai_provider_name gen_ai_request_model* gen_ai_response_model* server_address* "         \
    "server_port",                                                                                                     \
    "semconv main: time from the first byte of a streamed inference call to its first streamed content")               \
  X(kInferenceOutputChunk, "gen_ai_client_inference_time_per_output_chunk_seconds", kHistogram,                        \
    "gen_ai_operation_name gen_ai_provider_name gen_ai_request_model* gen_ai_response_model* server_address* "         \
    "server_port",                                                                                                     \
    "semconv main: time between the chunks of a streamed answer; chunks that arrive together are one")                 \
  X(kInputTokens, "gen_ai_client_inference_usage_input_tokens_total", kCounter,                                        \
    "gen_ai_operation_name gen_ai_provider_name gen_ai_request_model* gen_ai_response_model* gen_ai_token_modality",   \
    "Input tokens as reported by providers, cache reads and writes included")                                          \
  X(kOutputTokens, "gen_ai_client_inference_usage_output_tokens_total", kCounter,                                      \
    "gen_ai_operation_name gen_ai_provider_name gen_ai_request_model* gen_ai_response_model* gen_ai_token_modality",   \
    "Output tokens as reported by providers, reasoning included")                                                      \
  X(kCacheReadTokens, "gen_ai_client_inference_usage_cache_read_input_tokens_total", kCounter,                         \
    "gen_ai_operation_name gen_ai_provider_name gen_ai_request_model* gen_ai_response_model* gen_ai_token_modality",   \
    "Input tokens read from a provider's prompt cache; a part of the input tokens")                                    \
  X(kCacheWriteTokens, "gen_ai_client_inference_usage_cache_write_input_tokens_total", kCounter,                       \
    "gen_ai_operation_name gen_ai_provider_name gen_ai_request_model* gen_ai_response_model* gen_ai_token_modality",   \
    "Input tokens written to a provider's prompt cache; a part of the input tokens")                                   \
  X(kReasoningTokens, "gen_ai_client_inference_usage_reasoning_output_tokens_total", kCounter,                         \
    "gen_ai_operation_name gen_ai_provider_name gen_ai_request_model* gen_ai_response_model* gen_ai_token_modality",   \
    "Output tokens spent on reasoning; a part of the output tokens")                                                   \
  X(kMcpDuration, "mcp_client_operation_duration_seconds", kHistogram,                                                 \
    "mcp_method_name* gen_ai_tool_name* gen_ai_operation_name network_transport error_type",                           \
    "Time from an MCP request to its answer, seen at the client")                                                      \
  X(kExchanges, "penstock_exchanges_total", kCounter, "agent* namespace provider kind outcome",                        \
    "Requests to models, tools and agents, by how they ended: ok, error, refused, cut, no_answer")                     \
  X(kCost, "penstock_cost_usd_total", kCounter, "agent* namespace provider model* kind price_status",                  \
    "Settled cost in US dollars, exact to the nano-dollar")                                                            \
  X(kTokens, "penstock_tokens_total", kCounter, "agent* namespace provider model* kind token_type usage_status",       \
    "Tokens, reported and estimated; cache_read, cache_write and reasoning are parts of input and output")             \
  X(kPriceLookups, "penstock_price_lookups_total", kCounter, "status", "Model calls by what was known of their price") \
  X(kVerdicts, "penstock_verdicts_total", kCounter, "policy rule verdict mode reason",                                 \
    "Verdicts that were carried out")                                                                                  \
  X(kWouldVerdicts, "penstock_would_verdicts_total", kCounter, "policy rule verdict mode reason",                      \
    "Verdicts that policies in observe mode would have carried out")                                                   \
  X(kHoldDuration, "penstock_hold_duration_seconds", kHistogram, "reason",                                             \
    "Time requests were held in their sockets before they were released or refused")                                   \
  X(kGateLatency, "penstock_gate_latency_seconds", kHistogram, "stage",                                                \
    "Time a gated request spends per stage: close_to_event, decide, release")                                          \
  X(kKillLatency, "penstock_kill_latency_seconds", kHistogram, "provider",                                             \
    "Time from a kill order to the end of each connection it ended")                                                   \
  X(kCutOverrun, "penstock_cut_overrun_tokens", kHistogram, "provider",                                                \
    "Tokens by which a budget in tokens was exceeded when an answer was cut")                                          \
  X(kBudgetLimitUsd, "penstock_budget_limit_usd", kGauge, "policy budget key*", "Limit of a budget in US dollars")     \
  X(kBudgetSpentUsd, "penstock_budget_spent_usd", kGauge, "policy budget key*", "Spent of a budget in US dollars")     \
  X(kBudgetReservedUsd, "penstock_budget_reserved_usd", kGauge, "policy budget key*",                                  \
    "Reserved for calls in flight in US dollars")                                                                      \
  X(kBudgetRemainingUsd, "penstock_budget_remaining_usd", kGauge, "policy budget key*",                                \
    "Left of a budget in US dollars, reservations taken off")                                                          \
  X(kBudgetLimitTokens, "penstock_budget_limit_tokens", kGauge, "policy budget key*", "Limit of a budget in tokens")   \
  X(kBudgetSpentTokens, "penstock_budget_spent_tokens", kGauge, "policy budget key*", "Spent of a budget in tokens")   \
  X(kBudgetReservedTokens, "penstock_budget_reserved_tokens", kGauge, "policy budget key*",                            \
    "Reserved for calls in flight in tokens")                                                                          \
  X(kBudgetRemainingTokens, "penstock_budget_remaining_tokens", kGauge, "policy budget key*",                          \
    "Left of a budget in tokens, reservations taken off")                                                              \
  X(kBudgetLimitRequests, "penstock_budget_limit_requests", kGauge, "policy budget key*",                              \
    "Limit of a budget in requests")                                                                                   \
  X(kBudgetSpentRequests, "penstock_budget_spent_requests", kGauge, "policy budget key*",                              \
    "Spent of a budget in requests")                                                                                   \
  X(kBudgetReservedRequests, "penstock_budget_reserved_requests", kGauge, "policy budget key*",                        \
    "Reserved for calls in flight in requests")                                                                        \
  X(kBudgetRemainingRequests, "penstock_budget_remaining_requests", kGauge, "policy budget key*",                      \
    "Left of a budget in requests, reservations taken off")                                                            \
  X(kBudgetReset, "penstock_budget_reset_timestamp_seconds", kGauge, "policy budget key*",                             \
    "Unix time at which the window of a budget ends")                                                                  \
  X(kBudgetBreaches, "penstock_budget_breaches_total", kCounter, "policy budget action",                               \
    "Requests that did not fit into a budget, by what was done")                                                       \
  X(kHeld, "penstock_held_requests", kGauge, "reason", "Requests that wait for a verdict now")                         \
  X(kCoverage, "penstock_coverage_ratio", kGauge, "namespace runtime",                                                 \
    "Share of the bytes to and from AI endpoints whose plaintext was seen")                                            \
  X(kOpaque, "penstock_opaque_bytes_total", kCounter, "namespace runtime reason",                                      \
    "Bytes to and from AI endpoints whose plaintext was not seen")                                                     \
  X(kOpaqueConnections, "penstock_opaque_connections_total", kCounter, "namespace runtime reason",                     \
    "Connections to AI endpoints on which something was not seen")                                                     \
  X(kOpaqueTokens, "penstock_opaque_estimated_tokens_total", kCounter, "namespace runtime reason",                     \
    "Tokens that the bytes not seen may have been: a quarter of them")                                                 \
  X(kEventsLost, "penstock_events_lost_total", kCounter, "stage kind", "Events that found no room, by stage")          \
  X(kGaps, "penstock_gaps_total", kCounter, "protocol", "Holes in observed connections")                               \
  X(kBpfErrors, "penstock_bpf_errors_total", kCounter, "site errno", "Failures inside BPF programs")                   \
  X(kRingUsed, "penstock_ring_used_ratio", kGauge, "ring", "Fill level of a kernel event ring")                        \
  X(kMapEntries, "penstock_map_entries", kGauge, "map", "Entries in a BPF map")                                        \
  X(kMapCapacity, "penstock_map_capacity", kGauge, "map", "Entries a BPF map can hold")                                \
  X(kQueueDropped, "penstock_queue_dropped_total", kCounter, "exporter", "Exchanges an exporter's full queue dropped") \
  X(kParses, "penstock_parse_outcomes_total", kCounter, "parser outcome", "What parsers made of what they were given") \
  X(kMode, "penstock_enforcement_mode", kGauge, "scope mode", "1 for the mode a scope is in")                          \
  X(kHeartbeat, "penstock_heartbeat_age_seconds", kGauge, "", "Age of the heartbeat the kernel sees")                  \
  X(kReload, "penstock_config_reload_success", kGauge, "",                                                             \
    "1 if the last load of policies and configuration succeeded")                                                      \
  X(kStoreErrors, "penstock_store_errors_total", kCounter, "op", "Failed operations of the budget store")              \
  X(kConnections, "penstock_connections", kGauge, "", "Connections that are followed now")                             \
  X(kAgents, "penstock_agents", kGauge, "", "Agents with a live process")                                              \
  X(kRuns, "penstock_runs", kGauge, "", "Runs with a live process")                                                    \
  X(kApiRequests, "penstock_api_requests_total", kCounter, "", "Requests to the control API and to these pages")       \
  X(kApiRefused, "penstock_api_refused_total", kCounter, "reason",                                                     \
    "Requests refused for their sender, size or slowness, and answers that came too late")                             \
  X(kSeriesOverflow, "penstock_series_overflow_total", kCounter, "metric",                                             \
    "Updates that went to the _other series because a metric had no room for their labels")                            \
  X(kBuildInfo, "penstock_build_info", kGauge, "version wire kernel", "1; what is running")                            \
  X(kTargetInfo, "target_info", kGauge, "service_name service_version", "1; the OpenTelemetry resource")

enum class Metric : unsigned char {
#define PN_METRIC_ENUM(id, ...) id,
  PN_METRICS(PN_METRIC_ENUM)
#undef PN_METRIC_ENUM
};

struct Label {
  std::string name;
  bool open = false;  // programs under observation choose its values
};

struct MetricSpec {
  Metric id;
  std::string name;
  MetricType type;
  std::vector<Label> labels;
  std::string help;
};

std::span<const MetricSpec> metric_specs();
const MetricSpec& spec(Metric id);
std::string_view name(MetricType type);
// The table of docs/METRICS.md, row by row.
std::string metrics_markdown();

}  // namespace penstock::exporters
