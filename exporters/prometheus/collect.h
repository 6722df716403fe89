// The daemon's snapshot as lines of the page. Written from integers: money as exact decimals.
#pragma once

#include <string>

#include "exporters/core/snapshot.h"
#include "exporters/prometheus/metrics.h"

namespace penstock::exporters {

// Appends samples of one metric after its HELP and TYPE lines, which are written with the first sample only.
class Samples {
 public:
  Samples(std::string& out, Metric metric) : out_(out), spec_(spec(metric)) {}
  // `values` in the order of the metric's labels; `number` as it is to be printed.
  void add(std::initializer_list<std::string_view> values, std::string_view number);

 private:
  std::string& out_;
  const MetricSpec& spec_;
  bool started_ = false;
};

// `max_series` bounds the budgets printed, whose keys are chosen by programs under observation.
void append_snapshot(std::string& out, const Snapshot& snapshot, std::size_t max_series);

// "12.5" for a double as Prometheus reads it back exactly.
std::string decimal(double value);
// Seconds as an exact decimal: 1500000000 -> "1.5".
std::string seconds(std::uint64_t ns);

}  // namespace penstock::exporters
