#include "exporters/prometheus/collect.h"

#include <fmt/format.h>

#include <algorithm>

#include "userspace/base/result.h"
#include "userspace/base/utf8.h"
#include "userspace/model/money.h"
#include "userspace/model/names.h"

namespace penstock::exporters {
namespace {

void append_label_value(std::string& out, std::string_view text) {
  for (const char c : base::printable_utf8(text)) {
    if (c == '\\' || c == '"') out += '\\';
    out += c;
  }
}

struct BudgetMetrics {
  Metric limit, spent, reserved, remaining;
};
constexpr BudgetMetrics kUsd{Metric::kBudgetLimitUsd, Metric::kBudgetSpentUsd, Metric::kBudgetReservedUsd,
                             Metric::kBudgetRemainingUsd};
constexpr BudgetMetrics kTokens{Metric::kBudgetLimitTokens, Metric::kBudgetSpentTokens, Metric::kBudgetReservedTokens,
                                Metric::kBudgetRemainingTokens};
constexpr BudgetMetrics kRequests{Metric::kBudgetLimitRequests, Metric::kBudgetSpentRequests,
                                  Metric::kBudgetReservedRequests, Metric::kBudgetRemainingRequests};

using Budget = Snapshot::Budget;

void append_budgets(std::string& out, const std::vector<const Budget*>& budgets,
                    std::optional<Snapshot::Meter> Budget::*meter, const BudgetMetrics& metrics, bool money) {
  const auto print = [&](std::int64_t amount) {
    return money ? model::format_usd(model::NanoUsd{amount}) : fmt::to_string(amount);
  };
  const auto one = [&](Metric metric, std::int64_t Snapshot::Meter::*figure) {
    Samples samples(out, metric);
    for (const Budget* b : budgets)
      if (b->*meter) samples.add({b->policy, b->budget, b->key}, print(*(b->*meter).*figure));
  };
  one(metrics.limit, &Snapshot::Meter::limit);
  one(metrics.spent, &Snapshot::Meter::spent);
  one(metrics.reserved, &Snapshot::Meter::reserved);
  one(metrics.remaining, &Snapshot::Meter::remaining);
}

// With more budgets than there is room for, the ones nearest to their limits are shown: they are what alerts look at.
std::vector<const Budget*> bounded(const std::vector<Budget>& budgets, std::size_t max_series) {
  std::vector<const Budget*> out;
  for (const Budget& b : budgets) out.push_back(&b);
  if (out.size() <= max_series) return out;
  const auto used = [](const Budget* b) {
    const auto& meter = b->nano_usd ? b->nano_usd : b->tokens ? b->tokens : b->requests;
    if (!meter || meter->limit <= 0) return 0.0;
    return static_cast<double>(meter->limit - meter->remaining) / static_cast<double>(meter->limit);
  };
  std::nth_element(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(max_series), out.end(),
                   [&](const Budget* a, const Budget* b) { return used(a) > used(b); });
  out.resize(max_series);
  return out;
}

template <class List, class Write>
void each(std::string& out, Metric metric, const List& list, Write write) {
  Samples samples(out, metric);
  for (const auto& item : list) write(samples, item);
}

void gauge(std::string& out, Metric metric, const std::optional<std::uint64_t>& value) {
  if (value) Samples(out, metric).add({}, fmt::to_string(*value));
}

}  // namespace

void Samples::add(std::initializer_list<std::string_view> values, std::string_view number) {
  if (values.size() != spec_.labels.size()) PN_BUG("label values do not fit the metric");
  if (!started_) {
    started_ = true;
    fmt::format_to(std::back_inserter(out_), "# HELP {} {}\n# TYPE {} {}\n", spec_.name, spec_.help, spec_.name,
                   name(spec_.type));
  }
  out_ += spec_.name;
  auto label = spec_.labels.begin();
  for (const std::string_view value : values) {
    out_ += label == spec_.labels.begin() ? '{' : ',';
    out_ += label->name;
    out_ += "=\"";
    append_label_value(out_, value);
    out_ += '"';
    ++label;
  }
  if (values.size() > 0) out_ += '}';
  ((out_ += ' ') += number) += '\n';
}

std::string decimal(double value) { return fmt::format("{}", value); }

std::string seconds(std::uint64_t ns) {
  std::string out = fmt::format("{}.{:09}", ns / 1'000'000'000, ns % 1'000'000'000);
  out.erase(out.find_last_not_of('0') + 1);
  if (out.back() == '.') out.pop_back();
  return out;
}

void append_snapshot(std::string& out, const Snapshot& s, std::size_t max_series) {
  const auto budgets = bounded(s.budgets, max_series);
  append_budgets(out, budgets, &Budget::nano_usd, kUsd, true);
  append_budgets(out, budgets, &Budget::tokens, kTokens, false);
  append_budgets(out, budgets, &Budget::requests, kRequests, false);
  each(out, Metric::kBudgetReset, budgets, [](Samples& to, const Budget* b) {
    if (b->resets_real_ns && *b->resets_real_ns >= 0)
      to.add({b->policy, b->budget, b->key}, seconds(static_cast<std::uint64_t>(*b->resets_real_ns)));
  });
  each(out, Metric::kBudgetBreaches, s.breaches, [](Samples& to, const Snapshot::Breach& b) {
    to.add({b.policy, b.budget, b.action}, fmt::to_string(b.count));
  });
  each(out, Metric::kHeld, s.held,
       [](Samples& to, const Snapshot::Held& h) { to.add({h.reason}, fmt::to_string(h.count)); });
  each(out, Metric::kCoverage, s.coverage, [](Samples& to, const Snapshot::Covered& c) {
    const std::uint64_t all = c.plaintext_bytes + c.opaque_bytes;
    if (all > 0) to.add({c.ns, c.runtime}, decimal(static_cast<double>(c.plaintext_bytes) / static_cast<double>(all)));
  });
  each(out, Metric::kOpaque, s.opaque, [](Samples& to, const Snapshot::Opaque& o) {
    to.add({o.ns, o.runtime, o.reason}, fmt::to_string(o.bytes));
  });
  each(out, Metric::kOpaqueConnections, s.opaque, [](Samples& to, const Snapshot::Opaque& o) {
    to.add({o.ns, o.runtime, o.reason}, fmt::to_string(o.connections));
  });
  each(out, Metric::kOpaqueTokens, s.opaque, [](Samples& to, const Snapshot::Opaque& o) {
    to.add({o.ns, o.runtime, o.reason}, fmt::to_string(o.estimated_tokens));
  });
  each(out, Metric::kEventsLost, s.events_lost, [](Samples& to, const Snapshot::Lost& l) {
    to.add({l.stage, l.kind}, fmt::to_string(l.count));
  });
  each(out, Metric::kGaps, s.gaps,
       [](Samples& to, const Snapshot::Gap& g) { to.add({g.protocol}, fmt::to_string(g.count)); });
  each(out, Metric::kBpfErrors, s.bpf_errors, [](Samples& to, const Snapshot::BpfError& e) {
    to.add({e.site, fmt::to_string(e.error)}, fmt::to_string(e.count));
  });
  each(out, Metric::kRingUsed, s.rings, [](Samples& to, const Snapshot::Ring& r) {
    if (r.size_bytes > 0)
      to.add({r.name}, decimal(static_cast<double>(r.used_bytes) / static_cast<double>(r.size_bytes)));
  });
  each(out, Metric::kMapEntries, s.maps,
       [](Samples& to, const Snapshot::Map& m) { to.add({m.name}, fmt::to_string(m.entries)); });
  each(out, Metric::kMapCapacity, s.maps,
       [](Samples& to, const Snapshot::Map& m) { to.add({m.name}, fmt::to_string(m.capacity)); });
  each(out, Metric::kQueueDropped, s.queues,
       [](Samples& to, const Snapshot::Queue& q) { to.add({q.exporter}, fmt::to_string(q.dropped)); });
  each(out, Metric::kParses, s.parses, [](Samples& to, const Snapshot::Parsed& p) {
    to.add({p.parser, p.outcome}, fmt::to_string(p.count));
  });
  each(out, Metric::kMode, s.scopes, [](Samples& to, const Snapshot::Scope& c) {
    for (const auto mode : {model::Mode::kObserve, model::Mode::kEnforce, model::Mode::kStrict})
      to.add({c.scope, model::name(mode)}, mode == c.mode ? "1" : "0");
  });
  if (s.heartbeat_age_ns) Samples(out, Metric::kHeartbeat).add({}, seconds(*s.heartbeat_age_ns));
  if (s.config_reload_ok) Samples(out, Metric::kReload).add({}, *s.config_reload_ok ? "1" : "0");
  each(out, Metric::kStoreErrors, s.store_errors,
       [](Samples& to, const Snapshot::Named& n) { to.add({n.name}, fmt::to_string(n.count)); });
  gauge(out, Metric::kConnections, s.connections);
  gauge(out, Metric::kAgents, s.agents);
  gauge(out, Metric::kRuns, s.runs);
  gauge(out, Metric::kApiRequests, s.api_requests);
  each(out, Metric::kApiRefused, s.api_refused,
       [](Samples& to, const Snapshot::Named& n) { to.add({n.name}, fmt::to_string(n.count)); });
  Samples(out, Metric::kBuildInfo).add({s.version, fmt::to_string(s.wire_version), s.kernel}, "1");
  Samples(out, Metric::kTargetInfo).add({"penstock", s.version}, "1");
}

}  // namespace penstock::exporters
