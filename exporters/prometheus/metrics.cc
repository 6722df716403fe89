#include "exporters/prometheus/metrics.h"

#include <fmt/format.h>

namespace penstock::exporters {
namespace {

std::vector<Label> split_labels(std::string_view text) {
  std::vector<Label> out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    std::string_view word = text.substr(0, end);
    const bool open = word.ends_with('*');
    if (open) word.remove_suffix(1);
    out.push_back({std::string(word), open});
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

}  // namespace

std::span<const MetricSpec> metric_specs() {
  static const std::vector<MetricSpec> table{
#define PN_METRIC_SPEC(id, name, type, labels, help) {Metric::id, name, MetricType::type, split_labels(labels), help},
      PN_METRICS(PN_METRIC_SPEC)
#undef PN_METRIC_SPEC
  };
  return table;
}

const MetricSpec& spec(Metric id) { return metric_specs()[static_cast<std::size_t>(id)]; }

std::string_view name(MetricType type) {
  switch (type) {
    case MetricType::kCounter:
      return "counter";
    case MetricType::kGauge:
      return "gauge";
    case MetricType::kHistogram:
      return "histogram";
  }
  return "";
}

std::string metrics_markdown() {
  std::string out = "| metric | type | labels | meaning |\n|---|---|---|---|\n";
  for (const MetricSpec& m : metric_specs()) {
    std::string labels;
    for (const Label& label : m.labels)
      labels += fmt::format("{}`{}`{}", labels.empty() ? "" : ", ", label.name, label.open ? "\\*" : "");
    out += fmt::format("| `{}` | {} | {} | {} |\n", m.name, name(m.type), labels.empty() ? "–" : labels, m.help);
  }
  return out;
}

}  // namespace penstock::exporters
