#include "exporters/prometheus/prometheus.h"

#include <fmt/format.h>
#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <array>
#include <charconv>
#include <list>
#include <mutex>

#include "exporters/prometheus/collect.h"
#include "exporters/prometheus/metrics.h"
#include "exporters/prometheus/series.h"
#include "userspace/base/utf8.h"
#include "userspace/model/names.h"

namespace penstock::exporters {
namespace {

using Buckets = ::prometheus::Histogram::BucketBoundaries;
using Labels = ::prometheus::Labels;
using Values = std::initializer_list<std::string_view>;
using model::Exchange;

constexpr char kScope[] = "penstock";
constexpr char kSchema[] = "https://opentelemetry.io/schemas/1.41.0";

const Buckets kTokenBuckets{1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864};
const Buckets kDurationBuckets{0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92};
const Buckets kMcpBuckets{0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300};
const Buckets kKillBuckets{0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1};
const Buckets kHoldBuckets{0.001, 0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600};

Buckets gate_buckets() {  // 10 µs · 2ⁿ up to 0.33 s
  Buckets out;
  for (int i = 0; i <= 15; ++i) out.push_back(static_cast<double>(10 << i) / 1e6);
  return out;
}

double to_seconds(std::uint64_t ns) { return static_cast<double>(ns) / 1e9; }

std::string_view stage_name(GateStage stage) {
  switch (stage) {
    case GateStage::kCloseToEvent:
      return "close_to_event";
    case GateStage::kDecide:
      return "decide";
    case GateStage::kRelease:
      return "release";
  }
  return "";
}

// What the main branch calls inference; other model operations keep their old names there.
bool is_inference(std::string_view operation) {
  return operation == "chat" || operation == "generate_content" || operation == "text_completion";
}

bool was_cut(const Exchange& x) {
  return x.verdict.action == model::Action::kCut || x.verdict.action == model::Action::kKill;
}
bool carried_out(const Exchange& x) { return x.verdict.mode != model::Mode::kObserve; }
bool refused(const Exchange& x) {
  return carried_out(x) && x.status == 0 && (x.verdict.action == model::Action::kDeny || was_cut(x));
}

std::string_view outcome(const Exchange& x) {
  if (refused(x)) return "refused";
  if (carried_out(x) && was_cut(x)) return "cut";
  if (x.error || x.status >= 400) return "error";
  const bool piped = x.connection == 0 && x.timing.total_ns;  // a tool behind pipes answers without an HTTP status
  return x.status == 0 && !piped ? "no_answer" : "ok";
}

// error.type of the conventions: a short closed set; "" for success.
std::string error_type(const Exchange& x) {
  if (carried_out(x)) {
    if (x.verdict.action == model::Action::kKill) return "penstock.kill";
    if (x.verdict.action == model::Action::kCut)
      return x.verdict.reason == "budget" ? "penstock.budget_cut" : "penstock.policy_cut";
  }
  if (x.error && x.error->in_stream) return "stream_error";
  if (x.status >= 400 && x.status < 600) return fmt::to_string(x.status);
  return x.error ? "_OTHER" : "";
}

class Page final : public PrometheusExporter {
 public:
  Page(Options options, const base::Clock& clock)
      : options_(std::move(options)),
        clock_(clock),
        models_(options_.known_model),
        token_usage_(histogram(Metric::kTokenUsage, kTokenBuckets)),
        operation_duration_(histogram(Metric::kOperationDuration, kDurationBuckets)),
        first_chunk_(histogram(Metric::kFirstChunk, kDurationBuckets)),
        output_chunk_(histogram(Metric::kOutputChunk, kDurationBuckets)),
        inference_input_(histogram(Metric::kInferenceInput, kTokenBuckets)),
        inference_output_(histogram(Metric::kInferenceOutput, kTokenBuckets)),
        inference_duration_(histogram(Metric::kInferenceDuration, kDurationBuckets)),
        inference_first_chunk_(histogram(Metric::kInferenceFirstChunk, kDurationBuckets)),
        inference_output_chunk_(histogram(Metric::kInferenceOutputChunk, kDurationBuckets)),
        mcp_duration_(histogram(Metric::kMcpDuration, kMcpBuckets)),
        hold_duration_(histogram(Metric::kHoldDuration, kHoldBuckets)),
        gate_latency_(histogram(Metric::kGateLatency, gate_buckets())),
        kill_latency_(histogram(Metric::kKillLatency, kKillBuckets)),
        cut_overrun_(histogram(Metric::kCutOverrun, kTokenBuckets)),
        input_(counter(Metric::kInputTokens)),
        output_(counter(Metric::kOutputTokens)),
        cache_read_(counter(Metric::kCacheReadTokens)),
        cache_write_(counter(Metric::kCacheWriteTokens)),
        reasoning_(counter(Metric::kReasoningTokens)),
        exchanges_(counter(Metric::kExchanges)),
        tokens_(counter(Metric::kTokens)),
        price_lookups_(counter(Metric::kPriceLookups)),
        verdicts_(counter(Metric::kVerdicts)),
        would_verdicts_(counter(Metric::kWouldVerdicts)),
        cost_(Metric::kCost, options_.max_series, [](SeriesTable<Money>::Values values) {
          Money out;
          for (const std::string_view v : values) out.labels.emplace_back(v);
          return out;
        }) {}

  void on_exchange(const Exchange& x) override {
    const std::lock_guard lock(mutex_);
    now_ns_ = clock_.boot_ns();
    if (x.kind != model::Kind::kHttp || !x.verdict.policy.empty()) count_verdict(x);
    if (x.kind == model::Kind::kHttp) return;
    agent_ = base::printable_utf8(x.subject.agent);
    ns_ = base::printable_utf8(x.subject.ns);
    add(exchanges_, {agent_, ns_, x.provider, model::name(x.kind), outcome(x)});
    if (x.kind == model::Kind::kLlm) {
      count_model_call(x);
    } else if (x.kind == model::Kind::kMcp && x.timing.total_ns && !refused(x)) {
      const std::string_view tool = x.tool_calls.empty() ? std::string_view() : tools_.bound(x.tool_calls.front().name);
      const std::string error = error_type(x);
      observe(mcp_duration_,
              {methods_.bound(x.operation), tool, x.operation == "tools/call" ? "execute_tool" : "",
               x.connection != 0 ? "tcp" : "pipe", error},
              to_seconds(*x.timing.total_ns));
    }
  }

  void observe_gate(GateStage stage, std::uint64_t duration_ns) override {
    const std::lock_guard lock(mutex_);
    now_ns_ = clock_.boot_ns();
    observe(gate_latency_, {stage_name(stage)}, to_seconds(duration_ns));
  }

  void observe_kill(std::string_view provider, std::uint64_t duration_ns) override {
    const std::lock_guard lock(mutex_);
    now_ns_ = clock_.boot_ns();
    observe(kill_latency_, {provider}, to_seconds(duration_ns));
  }

  void observe_cut(std::string_view provider, std::uint64_t tokens_beyond) override {
    const std::lock_guard lock(mutex_);
    now_ns_ = clock_.boot_ns();
    observe(cut_overrun_, {provider}, static_cast<double>(tokens_beyond));
  }

  void observe_chunks(const Exchange& x, const DurationCounts& times) override {
    if (x.kind != model::Kind::kLlm) return;
    const std::lock_guard lock(mutex_);
    now_ns_ = clock_.boot_ns();
    const CallLabels l = call_labels(x);
    std::vector<double> counts(times.counts.begin(), times.counts.end());
    counts.resize(kDurationBuckets.size() + 1);
    const auto count = [&](Histograms& table) {
      observe_many(table, {l.operation, l.provider, l.asked, l.answered, l.host, l.port}, counts,
                   to_seconds(times.sum_ns));
    };
    if (old_name(l.operation)) count(output_chunk_);
    if (main_name(l.operation)) count(inference_output_chunk_);
  }

  void set_semconv(Semconv semconv) override {
    const std::lock_guard lock(mutex_);
    options_.semconv = semconv;
  }

  std::string render(const Snapshot& snapshot) override {
    std::string out;
    {
      const std::lock_guard lock(mutex_);
      sweep();
      Samples cost(out, Metric::kCost);
      for (const auto& [_, series] : cost_.all()) {
        const auto& l = series.value.labels;
        cost.add({l[0], l[1], l[2], l[3], l[4], l[5]}, model::format_usd(series.value.amount));
      }
      Samples overflow(out, Metric::kSeriesOverflow);
      for (const auto& [metric, count] : overflow_) overflow.add({metric}, fmt::to_string(count));
    }
    // The registry's objects have locks and atomics of their own; their removal happens only above, in this thread.
    out += ::prometheus::TextSerializer().Serialize(registry_.Collect());
    append_snapshot(out, snapshot, options_.max_series / 10);
    return out;
  }

 private:
  struct Money {
    std::vector<std::string> labels;
    model::NanoUsd amount;
  };
  template <class T>
  struct Table {
    ::prometheus::Family<T>* family;
    SeriesTable<T*> series;
  };
  using Counters = Table<::prometheus::Counter>;
  using Histograms = Table<::prometheus::Histogram>;

  static Labels labels_of(const MetricSpec& metric, std::span<const std::string_view> values) {
    Labels out;
    for (std::size_t i = 0; i < values.size(); ++i)
      if (!values[i].empty()) out[metric.labels[i].name] = values[i];  // an empty label is an absent one
    return out;
  }
  static Labels scope_labels(const MetricSpec& metric, const std::string& version) {
    if (!metric.name.starts_with("gen_ai_") && !metric.name.starts_with("mcp_")) return {};
    if (metric.id >= Metric::kInferenceInput && metric.id <= Metric::kInferenceOutputChunk)
      return {{"otel_scope_name", kScope}, {"otel_scope_version", version}};  // names that no schema was released with
    return {{"otel_scope_name", kScope}, {"otel_scope_version", version}, {"otel_scope_schema_url", kSchema}};
  }

  Counters counter(Metric id) {
    const MetricSpec& m = spec(id);
    auto& family = ::prometheus::BuildCounter()
                       .Name(m.name)
                       .Help(m.help)
                       .Labels(scope_labels(m, options_.version))
                       .Register(registry_);
    return {&family, {id, options_.max_series, [&family, &m](SeriesTable<::prometheus::Counter*>::Values values) {
                        return &family.Add(labels_of(m, values));
                      }}};
  }
  Histograms histogram(Metric id, const Buckets& buckets) {
    const MetricSpec& m = spec(id);
    auto& family = ::prometheus::BuildHistogram()
                       .Name(m.name)
                       .Help(m.help)
                       .Labels(scope_labels(m, options_.version))
                       .Register(registry_);
    // A histogram is one series per bucket, and then sum and count.
    const std::size_t cap = std::max<std::size_t>(options_.max_series / (buckets.size() + 3), 20);
    return {&family, {id, cap, [&family, &m, buckets](SeriesTable<::prometheus::Histogram*>::Values values) {
                        return &family.Add(labels_of(m, values), buckets);
                      }}};
  }

  template <class Table>
  auto& at(Table& table, Values values) {
    bool overflowed = false;
    auto& value = table.at(std::span(values.begin(), values.size()), now_ns_, overflowed);
    if (overflowed) ++overflow_[table.metric().name];
    return value;
  }
  void add(Counters& table, Values values, std::uint64_t n = 1) {
    at(table.series, values)->Increment(static_cast<double>(n));
  }
  void observe(Histograms& table, Values values, double value) { at(table.series, values)->Observe(value); }
  void observe_many(Histograms& table, Values values, const std::vector<double>& counts, double sum) {
    at(table.series, values)->ObserveMultiple(counts, sum);
  }

  void count_verdict(const Exchange& x) {
    const auto& v = x.verdict;
    const std::string policy = base::printable_utf8(v.policy), rule = base::printable_utf8(v.rule);
    const bool dry = v.mode == model::Mode::kObserve && v.action != model::Action::kAllow;
    add(verdicts_, {policy, dry ? "" : rule, model::name(dry ? model::Action::kAllow : v.action), model::name(v.mode),
                    dry ? "" : v.reason});
    if (dry) add(would_verdicts_, {policy, rule, model::name(v.action), model::name(v.mode), v.reason});
    if (v.gate_ns > 0 && (v.action == model::Action::kHold || v.action == model::Action::kPace))
      observe(hold_duration_, {v.reason}, to_seconds(v.gate_ns));
  }

  struct CallLabels {
    std::string_view operation, provider, asked, answered, host;
    std::string port;
  };
  CallLabels call_labels(const Exchange& x) {
    CallLabels l;
    l.answered = models_.bound(x.response_model, x.status >= 200 && x.status < 300);
    l.asked = models_.bound(x.request_model);
    l.host = hosts_.bound(x.host);
    l.port = l.host.empty() || x.port == 0 ? std::string() : fmt::to_string(x.port);
    l.provider = x.provider;
    l.operation = operations_.bound(x.operation);
    return l;
  }
  bool main_name(std::string_view operation) const {
    return options_.semconv != Semconv::k1_41 && is_inference(operation);
  }
  bool old_name(std::string_view operation) const {
    return options_.semconv != Semconv::kMain || !is_inference(operation);
  }

  void count_reported_tokens(const Exchange& x, const CallLabels& l) {
    const auto per_call = [&](Histograms& main, std::string_view type, std::optional<std::uint64_t> n) {
      if (!n) return;
      // The old name is gone from the main branch, for every operation.
      if (options_.semconv != Semconv::kMain)
        observe(token_usage_, {l.operation, l.provider, type, l.asked, l.answered, l.host, l.port},
                static_cast<double>(*n));
      if (main_name(l.operation))
        observe(main, {l.operation, l.provider, l.asked, l.answered, l.host, l.port}, static_cast<double>(*n));
    };
    per_call(inference_input_, "input", x.usage.input_tokens);
    per_call(inference_output_, "output", x.usage.output_tokens);
    const std::string_view rest = x.request.media_parts == 0 ? "text" : "unknown";
    const auto sum = [&](Counters& table, std::optional<std::uint64_t> n, std::optional<std::uint64_t> audio = {}) {
      if (!n) return;
      const std::uint64_t heard = std::min(audio.value_or(0), *n);
      if (heard > 0) add(table, {l.operation, l.provider, l.asked, l.answered, "audio"}, heard);
      add(table, {l.operation, l.provider, l.asked, l.answered, rest}, *n - heard);
    };
    sum(input_, x.usage.input_tokens, x.usage.audio_input_tokens);
    sum(output_, x.usage.output_tokens, x.usage.audio_output_tokens);
    sum(cache_read_, x.usage.cache_read_tokens);
    sum(cache_write_, x.usage.cache_write_tokens);
    sum(reasoning_, x.usage.reasoning_tokens);
  }

  void count_model_call(const Exchange& x) {
    add(price_lookups_, {model::name(x.price_status)});
    const CallLabels l = call_labels(x);
    const std::string_view provider = l.provider, model = l.answered.empty() ? l.asked : l.answered;
    if (x.usage_status == model::UsageStatus::kExact) {
      count_reported_tokens(x, l);
    } else if (options_.semconv == Semconv::kMain) {
      // The main branch wants a call without usage to show as nothing added; elsewhere unknown is absent.
      for (Counters* t : {&input_, &output_}) add(*t, {l.operation, l.provider, l.asked, l.answered, "unknown"}, 0);
    }
    if (x.timing.total_ns && !refused(x)) {
      const std::string error = error_type(x);
      const auto times = [&](Histograms& duration, Histograms& first_chunk) {
        observe(duration, {l.operation, l.provider, l.asked, l.answered, l.host, l.port, error},
                to_seconds(*x.timing.total_ns));
        if (x.stream && x.timing.first_chunk_ns)
          observe(first_chunk, {l.operation, l.provider, l.asked, l.answered, l.host, l.port},
                  to_seconds(*x.timing.first_chunk_ns));
      };
      if (old_name(l.operation)) times(operation_duration_, first_chunk_);
      if (main_name(l.operation)) times(inference_duration_, inference_first_chunk_);
    }
    const auto tokens = [&](std::string_view type, std::optional<std::uint64_t> n) {
      if (n) add(tokens_, {agent_, ns_, provider, model, model::name(x.kind), type, model::name(x.usage_status)}, *n);
    };
    tokens("input", x.usage.input_tokens);
    tokens("output", x.usage.output_tokens);
    tokens("cache_read", x.usage.cache_read_tokens);
    tokens("cache_write", x.usage.cache_write_tokens);
    tokens("reasoning", x.usage.reasoning_tokens);
    if (x.cost && x.cost->value >= 0) {  // a counter cannot fall
      Money& sum = at(cost_, {agent_, ns_, provider, model, model::name(x.kind), model::name(x.price_status)});
      sum.amount = sum.amount + *x.cost;
    }
  }

  void sweep() {
    const std::uint64_t now = clock_.boot_ns();
    if (now < options_.idle_ns) return;
    const std::uint64_t before = now - options_.idle_ns;
    const auto clean = [&](auto& table) {
      table.series.sweep(before, [&](auto* series) { table.family->Remove(series); });
    };
    for (Counters* t : {&input_, &output_, &cache_read_, &cache_write_, &reasoning_, &exchanges_, &tokens_,
                        &price_lookups_, &verdicts_, &would_verdicts_})
      clean(*t);
    for (Histograms* t : {&token_usage_, &operation_duration_, &first_chunk_, &output_chunk_, &inference_input_,
                          &inference_output_, &inference_duration_, &inference_first_chunk_, &inference_output_chunk_,
                          &mcp_duration_, &hold_duration_, &gate_latency_, &kill_latency_, &cut_overrun_})
      clean(*t);
  }

  Options options_;
  const base::Clock& clock_;
  ::prometheus::Registry registry_;
  std::mutex mutex_;
  std::uint64_t now_ns_ = 0;
  std::string agent_, ns_;  // of the exchange being counted
  NameGuard models_, tools_, methods_, hosts_, operations_;
  Histograms token_usage_, operation_duration_, first_chunk_, output_chunk_, inference_input_, inference_output_,
      inference_duration_, inference_first_chunk_, inference_output_chunk_, mcp_duration_, hold_duration_,
      gate_latency_, kill_latency_, cut_overrun_;
  Counters input_, output_, cache_read_, cache_write_, reasoning_, exchanges_, tokens_, price_lookups_, verdicts_,
      would_verdicts_;
  SeriesTable<Money> cost_;
  std::map<std::string, std::uint64_t> overflow_;
};

base::Result<std::unique_ptr<Exporter>> make_plugin(const Settings& settings) {
  static const base::SystemClock clock;
  PrometheusExporter::Options options;
  for (const auto& [key, value] : settings) {
    if (key != "max_series")
      return base::Error{base::ErrorCode::kUsage, 0, fmt::format("prometheus: unknown setting \"{}\"", key),
                         "it has max_series"};
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), options.max_series);
    if (error != std::errc() || end != value.data() + value.size() || options.max_series < 100)
      return base::Error{
          base::ErrorCode::kUsage, 0, fmt::format("prometheus: max_series \"{}\" is not a number from 100", value), {}};
  }
  return std::unique_ptr<Exporter>(PrometheusExporter::make(std::move(options), clock));
}

}  // namespace

std::unique_ptr<PrometheusExporter> PrometheusExporter::make(Options options, const base::Clock& clock) {
  return std::make_unique<Page>(std::move(options), clock);
}

extern const ExporterPlugin k_prometheus;
const ExporterPlugin k_prometheus{"prometheus", "the /metrics page", make_plugin};

}  // namespace penstock::exporters
