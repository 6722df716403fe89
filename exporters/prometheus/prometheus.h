// /metrics: counts exchanges as they are settled and prints the page with the daemon's gauges of the moment.
// Threads: on_exchange and what observes on the pipeline thread, render on any one thread at a time with them.
// Bounds: series.h; a page of full tables is a few MiB.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "exporters/core/exporter.h"
#include "exporters/core/snapshot.h"
#include "userspace/base/clock.h"

namespace penstock::exporters {

enum class GateStage { kCloseToEvent, kDecide, kRelease };

// Which names of the OpenTelemetry GenAI conventions model calls are counted under. kBoth is for migrations; nobody may
// add the two. The additive token counters are part of each.
enum class Semconv { k1_41, kMain, kBoth };

// How often a time fell into each of the buckets 10 ms · 2ⁿ, the last one for everything longer; and their sum.
struct DurationCounts {
  std::span<const std::uint32_t> counts;
  std::uint64_t sum_ns = 0;
};

class PrometheusExporter : public Exporter {
 public:
  struct Options {
    std::size_t max_series = 10'000;                    // per metric
    std::uint64_t idle_ns = 3'600'000'000'000;          // series not touched for so long are dropped, money never
    std::function<bool(std::string_view)> known_model;  // the price catalog; empty: no model is known beforehand
    std::string version = "unknown";                    // for scope labels and target_info
    Semconv semconv = Semconv::k1_41;
  };
  static constexpr char kContentType[] = "text/plain; version=0.0.4; charset=utf-8";

  // `clock` outlives the exporter.
  static std::unique_ptr<PrometheusExporter> make(Options options, const base::Clock& clock);
  virtual void observe_gate(GateStage stage, std::uint64_t duration_ns) = 0;
  virtual void observe_kill(std::string_view provider, std::uint64_t duration_ns) = 0;
  virtual void observe_cut(std::string_view provider, std::uint64_t tokens_beyond) = 0;
  // Times between the chunks of a streamed model call.
  virtual void observe_chunks(const model::Exchange& exchange, const DurationCounts& times) = 0;
  // From the next exchange on; what was counted under other names stays.
  virtual void set_semconv(Semconv semconv) = 0;
  virtual std::string render(const Snapshot& snapshot) = 0;
};

}  // namespace penstock::exporters
