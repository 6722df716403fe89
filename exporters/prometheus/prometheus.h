// /metrics: counts exchanges as they are settled and prints the page with the daemon's gauges of the moment.
// Threads: on_exchange and observe_gate on the pipeline thread, render on any one thread at a time with them.
// Bounds: series.h; a page of full tables is a few MiB.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "exporters/core/exporter.h"
#include "exporters/core/snapshot.h"
#include "userspace/base/clock.h"

namespace penstock::exporters {

enum class GateStage { kCloseToEvent, kParse, kDecide, kRelease };

class PrometheusExporter : public Exporter {
 public:
  struct Options {
    std::size_t max_series = 10'000;                    // per metric
    std::uint64_t idle_ns = 3'600'000'000'000;          // series not touched for so long are dropped, money never
    std::function<bool(std::string_view)> known_model;  // the price catalog; empty: no model is known beforehand
    std::string version = "unknown";                    // for scope labels and target_info
  };
  static constexpr char kContentType[] = "text/plain; version=0.0.4; charset=utf-8";

  // `clock` outlives the exporter.
  static std::unique_ptr<PrometheusExporter> make(Options options, const base::Clock& clock);
  virtual void observe_gate(GateStage stage, std::uint64_t duration_ns) = 0;
  virtual std::string render(const Snapshot& snapshot) = 0;
};

}  // namespace penstock::exporters
