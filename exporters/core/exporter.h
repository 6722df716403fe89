// What an exporter is: a folder under exporters/ that defines `extern const ExporterPlugin k_<folder>`.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "userspace/base/result.h"
#include "userspace/model/exchange.h"

namespace penstock::exporters {

// Thread: the pipeline's for everything; no call may block. An exporter that does input or output wraps itself in
// QueuedExporter (queued_exporter.h), which drops and counts when its queue is full.
class Exporter {
 public:
  virtual ~Exporter() = default;
  // A finished (settled) exchange.
  virtual void on_exchange(const model::Exchange& exchange) = 0;
  // Exchanges that were dropped, for penstock_queue_dropped_total{exporter}.
  virtual std::uint64_t dropped() const { return 0; }
};

// Options as the user wrote them; an unknown key is an error of the exporter's factory.
using Settings = std::map<std::string, std::string>;

struct ExporterPlugin {
  std::string_view name;     // as in the configuration
  std::string_view summary;  // one line for people
  base::Result<std::unique_ptr<Exporter>> (*make)(const Settings& settings);
};

// Generated from the folders.
std::span<const ExporterPlugin* const> registry();

}  // namespace penstock::exporters
