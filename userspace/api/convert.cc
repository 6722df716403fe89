#include "userspace/api/convert.h"

#include <string>

#include "userspace/model/names.h"

namespace penstock::api {
namespace {

std::string text(std::string_view s) { return std::string(s); }

RequestFacts to_proto(const model::RequestFacts& r) {
  RequestFacts out;
  if (r.body_bytes != 0) out.set_body_bytes(r.body_bytes);
  if (r.text_bytes != 0) out.set_text_bytes(r.text_bytes);
  if (r.media_bytes != 0) out.set_media_bytes(r.media_bytes);
  if (r.media_parts != 0) out.set_media_parts(r.media_parts);
  if (r.max_output_tokens) out.set_max_output_tokens(*r.max_output_tokens);
  if (r.choices) out.set_choices(*r.choices);
  for (const auto& tool : r.offered_tools) out.add_offered_tools(tool);
  for (const auto& id : r.tool_results) {
    CallId& item = *out.add_tool_results();
    if (const auto* s = std::get_if<std::string>(&id))
      item.set_text(*s);
    else if (const auto* n = std::get_if<std::int64_t>(&id))
      item.set_number(*n);
  }
  if (!r.service_tier.empty()) out.set_service_tier(r.service_tier);
  return out;
}

Verdict to_proto(const model::Verdict& v) {
  Verdict out;
  out.set_action(text(model::name(v.action)));
  out.set_mode(text(model::name(v.mode)));
  if (!v.policy.empty()) out.set_policy(v.policy);
  if (!v.rule.empty()) out.set_rule(v.rule);
  if (!v.reason.empty()) out.set_reason(v.reason);
  if (v.gate_ns != 0) out.set_gate_ns(v.gate_ns);
  return out;
}

Timing to_proto(const model::Timing& t) {
  Timing out;
  out.set_start_real_ns(t.start_real_ns);
  if (t.request_sent_ns) out.set_request_sent_ns(*t.request_sent_ns);
  if (t.first_chunk_ns) out.set_first_chunk_ns(*t.first_chunk_ns);
  if (t.last_chunk_ns) out.set_last_chunk_ns(*t.last_chunk_ns);
  if (t.total_ns) out.set_total_ns(*t.total_ns);
  return out;
}

void put_subject(Exchange& out, const model::Subject& s) {
  if (!s.agent.empty()) out.set_agent(s.agent);
  if (!s.run.empty()) out.set_run(s.run);
  if (s.process.pid != 0) out.set_pid(s.process.pid);
  if (!s.exe.empty()) out.set_exe(s.exe);
  if (!s.user.empty()) out.set_user(s.user);
  if (!s.cgroup.empty()) out.set_cgroup(s.cgroup);
  if (!s.unit.empty()) out.set_unit(s.unit);
  if (!s.ns.empty()) out.set_namespace_(s.ns);
  if (!s.pod.empty()) out.set_pod(s.pod);
  if (!s.container.empty()) out.set_container(s.container);
}

}  // namespace

Usage to_proto(const model::Usage& u) {
  Usage out;
  if (u.input_tokens) out.set_input_tokens(*u.input_tokens);
  if (u.output_tokens) out.set_output_tokens(*u.output_tokens);
  if (u.cache_read_tokens) out.set_cache_read_tokens(*u.cache_read_tokens);
  if (u.cache_write_tokens) out.set_cache_write_tokens(*u.cache_write_tokens);
  if (u.cache_write_1h_tokens) out.set_cache_write_1h_tokens(*u.cache_write_1h_tokens);
  if (u.reasoning_tokens) out.set_reasoning_tokens(*u.reasoning_tokens);
  if (u.audio_input_tokens) out.set_audio_input_tokens(*u.audio_input_tokens);
  if (u.audio_output_tokens) out.set_audio_output_tokens(*u.audio_output_tokens);
  if (u.reported_total_tokens) out.set_reported_total_tokens(*u.reported_total_tokens);
  if (u.web_search_requests) out.set_web_search_requests(*u.web_search_requests);
  return out;
}

Exchange to_proto(const model::Exchange& x) {
  Exchange out;
  out.set_id(x.id);
  out.set_kind(text(model::name(x.kind)));
  if (!x.provider.empty()) out.set_provider(x.provider);
  if (!x.operation.empty()) out.set_operation(x.operation);
  if (!x.request_model.empty()) out.set_request_model(x.request_model);
  if (!x.response_model.empty()) out.set_response_model(x.response_model);
  *out.mutable_usage() = to_proto(x.usage);
  out.set_usage_status(text(model::name(x.usage_status)));
  if (x.cost) out.set_cost_nano_usd(x.cost->value);
  out.set_price_status(text(model::name(x.price_status)));
  if (x.finish_reason) out.set_finish_reason(*x.finish_reason);
  for (const auto& call : x.tool_calls) {
    ToolCall& item = *out.add_tool_calls();
    item.set_name(call.name);
    if (const auto* s = std::get_if<std::string>(&call.id))
      item.set_id(*s);
    else if (const auto* n = std::get_if<std::int64_t>(&call.id))
      item.set_id_number(*n);
  }
  out.set_stream(x.stream);
  if (x.status != 0) out.set_status(x.status);
  if (x.error) {
    ExchangeError& error = *out.mutable_error();
    if (x.error->status != 0) error.set_status(x.error->status);
    if (x.error->in_stream) error.set_in_stream(true);
    if (!x.error->type.empty()) error.set_type(x.error->type);
  }
  *out.mutable_verdict() = to_proto(x.verdict);
  *out.mutable_timing() = to_proto(x.timing);
  out.mutable_coverage()->set_lost_bytes(x.coverage.lost_bytes);
  out.mutable_coverage()->set_truncated_start(x.coverage.truncated_start);
  if (x.connection != 0) out.set_connection(x.connection);
  if (!x.host.empty()) out.set_host(x.host);
  if (x.port != 0) out.set_port(x.port);
  if (!x.method.empty()) out.set_method(x.method);
  if (!x.path.empty()) out.set_path(x.path);
  if (!x.response_id.empty()) out.set_response_id(x.response_id);
  if (!x.conversation_id.empty()) out.set_conversation_id(x.conversation_id);
  if (!x.trace.trace_id.empty()) out.set_trace_id(x.trace.trace_id);
  if (!x.trace.parent_id.empty()) out.set_parent_span_id(x.trace.parent_id);
  if (!x.service_tier.empty()) out.set_service_tier(x.service_tier);
  *out.mutable_request() = to_proto(x.request);
  for (const auto& i : x.iterations) {
    Iteration& item = *out.add_iterations();
    if (!i.model.empty()) item.set_model(i.model);
    *item.mutable_usage() = to_proto(i.usage);
  }
  put_subject(out, x.subject);
  return out;
}

}  // namespace penstock::api
