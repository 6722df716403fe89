// The guard in front of the registry: whatever programs under observation send, the number of series stays bounded.
// Neither class is thread-safe.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "exporters/prometheus/metrics.h"

namespace penstock::exporters {

inline constexpr std::string_view kOther = "_other";

// Which caller-chosen names (models, tools, hosts) may become label values: those of the catalog, those a server
// confirmed by naming them itself, and the first few others; "_other" for the rest and for what is no printable name.
class NameGuard {
 public:
  struct Limits {
    std::size_t learnt = 200;
    std::size_t confirmed = 500;  // servers may be hostile as well
    std::size_t name_bytes = 128;
  };
  NameGuard() = default;
  explicit NameGuard(std::function<bool(std::string_view)> in_catalog) : in_catalog_(std::move(in_catalog)) {}
  NameGuard(std::function<bool(std::string_view)> in_catalog, Limits limits)
      : in_catalog_(std::move(in_catalog)), limits_(limits) {}
  // The view is that of `name` or of kOther. "" stays "".
  std::string_view bound(std::string_view name, bool confirmed = false);

 private:
  std::function<bool(std::string_view)> in_catalog_;
  Limits limits_;
  std::unordered_set<std::string> learnt_, confirmed_;
};

// One metric's series by label values. Beyond the cap, open labels become "_other"; when even that has no room, every
// label does: one series is always left for it, so that totals never lose anything.
template <class Value>
class SeriesTable {
 public:
  using Values = std::span<const std::string_view>;
  using Make = std::function<Value(Values)>;
  struct Series {
    Value value;
    std::uint64_t used_ns = 0;
  };

  SeriesTable(Metric metric, std::size_t cap, Make make) : spec_(&spec(metric)), cap_(cap), make_(std::move(make)) {}

  // `values` in the order of the metric's labels. `overflowed` tells that "_other" took the place of some.
  Value& at(Values values, std::uint64_t now_ns, bool& overflowed) {
    key(values);
    auto found = series_.find(key_);
    overflowed = false;
    if (found == series_.end() && series_.size() >= cap_ - cap_ / 10) {
      overflowed = true;
      std::vector<std::string_view> fallback(values.begin(), values.end());
      for (std::size_t i = 0; i < fallback.size(); ++i)
        if (spec_->labels[i].open) fallback[i] = kOther;
      key(fallback);
      found = series_.find(key_);
      if (found == series_.end() && series_.size() + 1 >= cap_) {
        std::fill(fallback.begin(), fallback.end(), kOther);
        key(fallback);
        found = series_.find(key_);
      }
      if (found == series_.end()) found = series_.emplace(key_, Series{make_(fallback), 0}).first;
    } else if (found == series_.end()) {
      found = series_.emplace(key_, Series{make_(values), 0}).first;
    }
    found->second.used_ns = now_ns;
    return found->second.value;
  }

  // Forgets series not used since `before_ns`.
  void sweep(std::uint64_t before_ns, const std::function<void(Value&)>& remove) {
    for (auto it = series_.begin(); it != series_.end();) {
      if (it->second.used_ns >= before_ns) {
        ++it;
        continue;
      }
      remove(it->second.value);
      it = series_.erase(it);
    }
  }

  const MetricSpec& metric() const { return *spec_; }
  const std::unordered_map<std::string, Series>& all() const { return series_; }

 private:
  void key(Values values) {
    key_.clear();
    for (const std::string_view v : values) (key_ += v) += '\xff';  // no label value holds this byte
  }

  const MetricSpec* spec_;
  std::size_t cap_;
  Make make_;
  std::unordered_map<std::string, Series> series_;
  std::string key_;
};

}  // namespace penstock::exporters
