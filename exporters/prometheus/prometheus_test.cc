#include "exporters/prometheus/prometheus.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "exporters/prometheus/metrics.h"
#include "exporters/prometheus/series.h"

namespace penstock::exporters {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::uint64_t kHour = 3'600'000'000'000;

model::Exchange call() {
  model::Exchange x;
  x.kind = model::Kind::kLlm;
  x.provider = "openai";
  x.operation = "chat";
  x.host = "api.openai.com";
  x.port = 443;
  x.request_model = "gpt-5-mini";
  x.response_model = "gpt-5-mini-2025-08-07";
  x.status = 200;
  x.stream = true;
  x.usage.input_tokens = 100;
  x.usage.output_tokens = 20;
  x.usage.cache_read_tokens = 64;
  x.usage_status = model::UsageStatus::kExact;
  x.cost = model::NanoUsd{100'000'001};
  x.price_status = model::PriceStatus::kExact;
  x.subject.agent = "crawler";
  x.subject.ns = "research";
  x.timing.first_chunk_ns = 300'000'000;
  x.timing.total_ns = 1'500'000'000;
  return x;
}

Snapshot full_snapshot() {
  Snapshot s;
  s.version = "0.1.0";
  s.kernel = "6.18";
  s.wire_version = 1;
  s.budgets.push_back({"team",
                       "daily",
                       "agent=\"odd\\name\"\n",
                       Snapshot::Meter{25'000'000'000, 1, 0, 24'999'999'999},
                       {},
                       {},
                       1'700'000'000'500'000'000});
  s.budgets.push_back({"team", "burst", "", {}, Snapshot::Meter{200'000, 5, 6, -7}, {}, {}});
  s.budgets.push_back({"team", "calls", "", {}, {}, Snapshot::Meter{10, 1, 1, 8}, {}});
  s.breaches = {{"team", "daily", "hold", 3}};
  s.held = {{"budget", 2}};
  s.coverage = {{"research", "openssl", 3, 1}, {"", "go", 0, 0}};
  s.opaque = {{"research", "openssl", "ktls", 8, 1, 2}};
  s.events_lost = {{"ring", "data", 9}};
  s.gaps = {{"http1", 1}};
  s.bpf_errors = {{"tls_calls.bpf.c:12", 14, 1}};
  s.rings = {{"events", 1, 4}};
  s.maps = {{"pn_gate", 5, 65536}};
  s.queues = {{"jsonl", 1}};
  s.parses = {{"openai", "ok", 4}};
  s.scopes = {{"default", model::Mode::kEnforce}};
  s.store_errors = {{"commit", 1}};
  s.api_refused = {{"slow", 1}};
  s.api_requests = 7;
  s.connections = 1;
  s.agents = 2;
  s.runs = 0;
  s.heartbeat_age_ns = 1'500'000;
  s.config_reload_ok = true;
  return s;
}

class PrometheusTest : public ::testing::Test {
 protected:
  void make(std::size_t max_series = 10'000) {
    PrometheusExporter::Options options;
    options.version = "0.1.0";
    options.max_series = max_series;
    exporter_ = PrometheusExporter::make(std::move(options), clock_);
  }
  static std::size_t series(const std::string& page, const std::string& metric) {
    std::istringstream in(page);
    std::string line;
    std::size_t n = 0;
    while (std::getline(in, line)) n += line.starts_with(metric) && line[0] != '#' ? 1 : 0;
    return n;
  }
  base::ManualClock clock_{10 * kHour, 0};
  std::unique_ptr<PrometheusExporter> exporter_;
};

// One exchange of each kind, so that every metric has a sample.
void feed_all(PrometheusExporter& exporter) {
  model::Exchange x = call();
  x.usage.cache_write_tokens = 1;
  x.usage.reasoning_tokens = 2;
  x.usage.audio_input_tokens = 40;
  exporter.on_exchange(x);
  x.verdict = {model::Action::kHold, model::Mode::kEnforce, "team", "daily", "budget", 2'000'000'000};
  exporter.on_exchange(x);
  x.verdict = {model::Action::kDeny, model::Mode::kObserve, "team", "daily", "budget", 0};
  exporter.on_exchange(x);
  model::Exchange tool;
  tool.kind = model::Kind::kMcp;
  tool.operation = "tools/call";
  tool.tool_calls = {{{}, "search"}};
  tool.status = 200;
  tool.timing.total_ns = 5'000'000;
  exporter.on_exchange(tool);
  exporter.observe_gate(GateStage::kDecide, 40'000);
  exporter.observe_kill("openai", 900'000);
  exporter.observe_cut("openai", 12);
  const std::array<std::uint32_t, 15> chunks{3, 1};
  exporter.observe_chunks(call(), {chunks, 45'000'000});
  exporter.set_semconv(Semconv::kMain);
  exporter.on_exchange(call());
  exporter.observe_chunks(call(), {chunks, 45'000'000});
  exporter.set_semconv(Semconv::k1_41);
}

TEST_F(PrometheusTest, CountsUnderTheNamesThatTheConfigurationChooses) {
  const auto counted = [&](Semconv semconv, const char* operation, const char* metric) {
    make();
    exporter_->set_semconv(semconv);
    model::Exchange x = call();
    x.operation = operation;
    exporter_->on_exchange(x);
    return series(exporter_->render({}), metric) > 0;
  };
  const auto shown = [&](const char* operation, const char* metric) {
    return std::string() + (counted(Semconv::k1_41, operation, metric) ? "1.41 " : "") +
           (counted(Semconv::kMain, operation, metric) ? "main " : "") +
           (counted(Semconv::kBoth, operation, metric) ? "both" : "");
  };
  EXPECT_EQ(shown("chat", "gen_ai_client_token_usage_sum"), "1.41 both");
  EXPECT_EQ(shown("chat", "gen_ai_client_inference_operation_input_tokens_sum"), "main both");
  EXPECT_EQ(shown("chat", "gen_ai_client_operation_duration_seconds_sum"), "1.41 both");
  EXPECT_EQ(shown("chat", "gen_ai_client_inference_duration_seconds_sum"), "main both");
  EXPECT_EQ(shown("chat", "gen_ai_client_inference_time_to_first_chunk_seconds_sum"), "main both");
  EXPECT_EQ(shown("chat", "gen_ai_client_inference_usage_input_tokens_total"), "1.41 main both");
  EXPECT_EQ(shown("embeddings", "gen_ai_client_operation_duration_seconds_sum"), "1.41 main both");
  EXPECT_EQ(shown("embeddings", "gen_ai_client_inference_duration_seconds_sum"), "");
}

TEST_F(PrometheusTest, ChunkTimesFallIntoTheirBuckets) {
  make();
  const std::array<std::uint32_t, 15> chunks{3, 1};
  exporter_->observe_chunks(call(), {chunks, 45'000'000});
  const std::string page = exporter_->render({});
  EXPECT_EQ(series(page, "gen_ai_client_operation_time_per_output_chunk_seconds_bucket"), 15u);
  EXPECT_THAT(page, HasSubstr("le=\"0.01\"} 3\n"));
  EXPECT_THAT(page, HasSubstr("le=\"0.02\"} 4\n"));
  EXPECT_THAT(page, HasSubstr("le=\"+Inf\"} 4\n"));
}

TEST_F(PrometheusTest, CountsAModelCall) {
  make();
  exporter_->on_exchange(call());
  exporter_->on_exchange(call());
  const std::string page = exporter_->render({});
  // 0.1 + 10^-9 twice: exact, although no binary fraction is.
  EXPECT_THAT(page, HasSubstr("penstock_cost_usd_total{agent=\"crawler\",namespace=\"research\",provider=\"openai\","
                              "model=\"gpt-5-mini-2025-08-07\",kind=\"llm\",price_status=\"exact\"} 0.200000002\n"));
  EXPECT_THAT(page, HasSubstr("gen_ai_token_modality=\"text\""));
  const auto has = [&](const std::string& metric, const std::string& labels, const std::string& value) {
    std::istringstream in(page);
    std::string line;
    while (std::getline(in, line))
      if (line.starts_with(metric + "{") && line.find(labels) != std::string::npos && line.ends_with("} " + value))
        return true;
    return false;
  };
  EXPECT_TRUE(has("gen_ai_client_token_usage_sum", "gen_ai_token_type=\"input\"", "200")) << page;
  EXPECT_TRUE(has("gen_ai_client_token_usage_count", "gen_ai_token_type=\"output\"", "2"));
  EXPECT_TRUE(has("gen_ai_client_operation_duration_seconds_sum", "server_port=\"443\"", "3"));
  EXPECT_TRUE(has("gen_ai_client_operation_time_to_first_chunk_seconds_count", "otel_scope_name=\"penstock\"", "2"));
  EXPECT_TRUE(has("gen_ai_client_inference_usage_cache_read_input_tokens_total", "", "128"));
  EXPECT_TRUE(has("penstock_tokens_total", "token_type=\"output\"", "40"));
  EXPECT_TRUE(has("penstock_exchanges_total", "outcome=\"ok\"", "2"));
  EXPECT_TRUE(has("penstock_verdicts_total", "verdict=\"allow\"", "2"));
}

TEST_F(PrometheusTest, UnknownStaysAbsentAndEstimatesStayOutOfTheConvention) {
  make();
  model::Exchange x = call();
  x.usage_status = model::UsageStatus::kEstimated;
  x.usage.cache_read_tokens.reset();
  x.cost.reset();
  x.price_status = model::PriceStatus::kUnpriced;
  exporter_->on_exchange(x);
  const std::string page = exporter_->render({});
  EXPECT_EQ(series(page, "gen_ai_client_token_usage"), 0u);
  EXPECT_EQ(series(page, "gen_ai_client_inference_usage"), 0u);
  EXPECT_EQ(series(page, "penstock_cost_usd_total"), 0u);
  EXPECT_EQ(series(page, "penstock_tokens_total"), 2u);
  EXPECT_THAT(page, HasSubstr("usage_status=\"estimated\""));
  EXPECT_THAT(page, HasSubstr("penstock_price_lookups_total{status=\"unpriced\"} 1\n"));
  EXPECT_THAT(page, Not(HasSubstr("penstock_budget")));
}

TEST_F(PrometheusTest, TellsWhatObserveModeWouldHaveDone) {
  make();
  model::Exchange x = call();
  x.verdict = {model::Action::kDeny, model::Mode::kObserve, "team", "daily", "budget", 0};
  exporter_->on_exchange(x);
  const std::string page = exporter_->render({});
  EXPECT_THAT(page, HasSubstr("penstock_verdicts_total{mode=\"observe\",policy=\"team\",verdict=\"allow\"} 1\n"));
  EXPECT_THAT(page, HasSubstr("penstock_would_verdicts_total{mode=\"observe\",policy=\"team\",reason=\"budget\",rule="
                              "\"daily\",verdict=\"deny\"} 1\n"));
}

TEST_F(PrometheusTest, ACutCallHasItsErrorType) {
  make();
  model::Exchange x = call();
  x.verdict = {model::Action::kCut, model::Mode::kStrict, "team", "daily", "budget", 0};
  exporter_->on_exchange(x);
  x.status = 0;
  x.verdict.action = model::Action::kDeny;
  exporter_->on_exchange(x);
  const std::string page = exporter_->render({});
  EXPECT_THAT(page, HasSubstr("error_type=\"penstock.budget_cut\""));
  EXPECT_THAT(page, HasSubstr("outcome=\"cut\""));
  EXPECT_THAT(page, HasSubstr("outcome=\"refused\""));
}

TEST_F(PrometheusTest, AToolBehindPipesAnswersWithoutAStatus) {
  make();
  model::Exchange x;
  x.kind = model::Kind::kMcp;
  x.operation = "tools/call";
  x.timing.total_ns = 5'000'000;
  exporter_->on_exchange(x);
  x.timing.total_ns.reset();
  exporter_->on_exchange(x);
  const std::string page = exporter_->render({});
  EXPECT_THAT(page, HasSubstr("penstock_exchanges_total{kind=\"mcp\",outcome=\"ok\"} 1\n"));
  EXPECT_THAT(page, HasSubstr("penstock_exchanges_total{kind=\"mcp\",outcome=\"no_answer\"} 1\n"));
  EXPECT_THAT(page, HasSubstr("network_transport=\"pipe\""));
}

TEST_F(PrometheusTest, AMillionModelNamesStayBounded) {
  make();
  model::Exchange x = call();
  for (int i = 0; i < 1'000'000; ++i) {
    x.request_model = x.response_model = "model-" + std::to_string(i);
    exporter_->on_exchange(x);
  }
  const std::string page = exporter_->render({});
  for (const MetricSpec& metric : metric_specs()) EXPECT_LE(series(page, metric.name), 10'000u) << metric.name;
  std::istringstream in(page);
  std::string line, total;
  model::NanoUsd sum;
  while (std::getline(in, line))
    if (line.starts_with("penstock_cost_usd_total{")) sum = sum + *model::parse_usd(line.substr(line.rfind(' ') + 1));
  EXPECT_EQ(sum.value, 1'000'000 * call().cost->value);
}

TEST_F(PrometheusTest, OverflowIsCounted) {
  make(100);
  model::Exchange x = call();
  for (int i = 0; i < 1000; ++i) {
    x.subject.agent = "agent-" + std::to_string(i);
    exporter_->on_exchange(x);
  }
  const std::string page = exporter_->render({});
  EXPECT_LE(series(page, "penstock_cost_usd_total"), 100u);
  EXPECT_THAT(page, HasSubstr("penstock_series_overflow_total{metric=\"penstock_cost_usd_total\"} 910\n"));
}

TEST_F(PrometheusTest, IdleSeriesGoMoneyStays) {
  make();
  exporter_->on_exchange(call());
  clock_.advance_ns(2 * kHour);
  const std::string page = exporter_->render({});
  EXPECT_EQ(series(page, "penstock_tokens_total"), 0u);
  EXPECT_EQ(series(page, "penstock_cost_usd_total"), 1u);
}

TEST_F(PrometheusTest, PrintsTheSnapshotExactly) {
  make();
  const std::string page = exporter_->render(full_snapshot());
  EXPECT_THAT(
      page,
      HasSubstr(
          "penstock_budget_limit_usd{policy=\"team\",budget=\"daily\",key=\"agent=\\\"odd\\\\name\\\" \"} 25.00\n"));
  EXPECT_THAT(page, HasSubstr("penstock_budget_remaining_usd{policy=\"team\",budget=\"daily\",key=\"agent="
                              "\\\"odd\\\\name\\\" \"} 24.999999999\n"));
  EXPECT_THAT(page, HasSubstr("penstock_budget_remaining_tokens{policy=\"team\",budget=\"burst\",key=\"\"} -7\n"));
  EXPECT_THAT(page, HasSubstr("} 1700000000.5\n"));
  EXPECT_THAT(page, HasSubstr("penstock_coverage_ratio{namespace=\"research\",runtime=\"openssl\"} 0.75\n"));
  EXPECT_EQ(series(page, "penstock_coverage_ratio"), 1u);  // no bytes: no ratio
  EXPECT_THAT(page, HasSubstr("penstock_heartbeat_age_seconds 0.0015\n"));
}

// promtool is the judge of the format.
TEST_F(PrometheusTest, PassesPromtool) {
  make();
  feed_all(*exporter_);
  char file[] = "/tmp/penstock-metrics-XXXXXX";
  ASSERT_GE(::mkstemp(file), 0);
  std::ofstream(file) << exporter_->render(full_snapshot());
  FILE* pipe = ::popen((std::string("promtool check metrics < ") + file + " 2>&1").c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string said;
  char buffer[4096];
  for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) said.append(buffer, n);
  const int status = ::pclose(pipe);
  std::filesystem::remove(file);
  EXPECT_EQ(WEXITSTATUS(status), 0) << said;
  EXPECT_EQ(said, "");
}

TEST_F(PrometheusTest, EveryMetricIsPrintedAndEveryPrintedOneIsDocumented) {
  make(100);
  feed_all(*exporter_);
  model::Exchange x = call();
  for (int i = 0; i < 200; ++i) {
    x.subject.agent = std::to_string(i);
    exporter_->on_exchange(x);
  }
  std::istringstream page(exporter_->render(full_snapshot()));
  std::set<std::string> printed, specified;
  std::string word, name;
  for (std::string line; std::getline(page, line);) {
    std::istringstream in(line);
    if (line.starts_with("# HELP ") && in >> word >> word >> name) {
      EXPECT_TRUE(printed.insert(name).second) << name;
    }
  }
  for (const MetricSpec& metric : metric_specs()) specified.insert(metric.name);
  EXPECT_EQ(printed, specified);
}

TEST(MetricsDoc, HasTheTableOfTheCode) {
  std::ostringstream doc;
  doc << std::ifstream(PENSTOCK_METRICS_DOC).rdbuf();
  EXPECT_THAT(doc.str(), HasSubstr(metrics_markdown())) << "docs/METRICS.md must hold exactly this table:\n"
                                                        << metrics_markdown();
}

}  // namespace
}  // namespace penstock::exporters
