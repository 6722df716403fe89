// Reads an operator's price file: userspace/api/prices.proto, written as YAML.
#include <fmt/format.h>

#include "userspace/api/diagnostic.h"
#include "userspace/api/prices.pb.h"
#include "userspace/api/yaml.h"
#include "userspace/ledger/price_tables.h"

namespace penstock::ledger {
namespace {

using api::Prices;

class OperatorReader {
 public:
  OperatorReader(const api::YamlDocument& document, PriceTables& tables, std::vector<api::Diagnostic>& out)
      : document_(document), t_(tables), out_(out) {}

  void read(const Prices& prices) {
    for (int i = 0; i < prices.prices_size(); ++i) price(prices.prices(i), fmt::format("prices[{}]", i));
    for (int i = 0; i < prices.aliases_size(); ++i) alias(prices.aliases(i), fmt::format("aliases[{}]", i));
  }

 private:
  void fail(const std::string& path, std::string message, std::string hint = {}) {
    out_.push_back({api::Severity::kError, document_.file, document_.find(path), std::move(message), std::move(hint)});
  }

  // In the order of RateUnit.
  static std::array<std::optional<std::int64_t>, kRateUnits> values(const Prices::Rates& r) {
    const auto get = [](bool has, std::int64_t value) { return has ? std::optional(value) : std::nullopt; };
    return {get(r.has_input(), r.input()),
            get(r.has_output(), r.output()),
            get(r.has_cache_read(), r.cache_read()),
            get(r.has_cache_write(), r.cache_write()),
            get(r.has_cache_write_1h(), r.cache_write_1h()),
            get(r.has_reasoning(), r.reasoning()),
            get(r.has_audio_input(), r.audio_input()),
            get(r.has_audio_output(), r.audio_output()),
            get(r.has_web_search(), r.web_search()),
            get(r.has_request(), r.request())};
  }

  void rate(PriceRow& row, std::size_t unit, std::int64_t value, std::optional<std::uint64_t> above, bool pin,
            const std::string& path) {
    const auto which = static_cast<RateUnit>(unit);
    const std::string key = path + "." + std::string(name(which));
    if (value < 0) return fail(key, "a price cannot be negative");
    if (!pin && value > highest_plausible(which).value)
      return fail(key, "above any known price", "prices are dollars per 10^6 units; `pin: true` accepts it");
    if (!above) {
      row.rates[unit] = Rate{{value}, {}};
    } else if (!row.rates[unit]) {
      fail(key, fmt::format("a step of {} needs its base rate", name(which)));
    } else if (!row.rates[unit]->steps.empty() && row.rates[unit]->steps.back().above_input_tokens >= *above) {
      fail(path, "steps must ascend");
    } else {
      row.rates[unit]->steps.push_back({*above, {value}});
    }
  }

  void date(const std::string& text, std::int64_t& into, const std::string& path) {
    if (text.empty()) return;
    const auto parsed = parse_date(text);
    if (!parsed) return fail(path, fmt::format("\"{}\" is not a date", text), "write it as 2026-03-01");
    into = *parsed;
  }

  void price(const Prices::Price& p, const std::string& path) {
    if (p.model_size() == 0 && p.match().empty()) return fail(path, "a price needs `model` or `match`");
    PriceRow row;
    switch (p.tier()) {
      case Prices::TIER_BATCH:
        row.tier = ServiceTier::kBatch;
        break;
      case Prices::TIER_FLEX:
        row.tier = ServiceTier::kFlex;
        break;
      case Prices::TIER_PRIORITY:
        row.tier = ServiceTier::kPriority;
        break;
      default:
        break;
    }
    date(p.from(), row.from_s, path + ".from");
    date(p.to(), row.to_s, path + ".to");
    if (row.from_s >= row.to_s) fail(path + ".to", "`to` is not after `from`");
    const auto base = values(p.rates());
    bool any = false;
    for (std::size_t u = 0; u < kRateUnits; ++u)
      if (base[u]) rate(row, u, *base[u], std::nullopt, p.pin(), path), any = true;
    if (!any) fail(path, "a price without a rate", "at least `input` or `request`; 0 is a price");
    for (int s = 0; s < p.above_size(); ++s) {
      const auto step = values(p.above(s).rates());
      for (std::size_t u = 0; u < kRateUnits; ++u)
        if (step[u]) rate(row, u, *step[u], p.above(s).input_tokens(), p.pin(), fmt::format("{}.above[{}]", path, s));
    }

    // Further rows for the same names (another tier, another time) belong to one model.
    const std::uint32_t provider = t_.provider(p.provider());
    const std::string label = p.model_size() > 0 ? lower(p.model(0)) : lower(p.match());
    std::uint32_t index = static_cast<std::uint32_t>(t_.models.size());
    for (std::uint32_t i = 0; i < index; ++i) {
      const PriceModel& m = t_.models[i];
      if (m.source == "operator" && m.provider == provider && m.label == label && m.host == lower(p.host())) index = i;
    }
    if (index == t_.models.size()) {
      PriceModel& m = t_.models.emplace_back();
      m.label = label;
      m.provider = provider;
      m.source = "operator";
      m.host = lower(p.host());
    }
    PriceModel& m = t_.models[index];
    if (p.has_max_output_tokens()) m.max_output_tokens = p.max_output_tokens();
    if (p.has_context_tokens()) m.context_tokens = p.context_tokens();
    m.rows.push_back(std::move(row));
    NameIndex& names = t_.providers[provider].own;
    for (const std::string& name : p.model()) {
      auto& list = names.equals[lower(name)];
      if (list.empty() || list.back() != index) list.push_back(index);
    }
    if (!p.match().empty()) names.patterns.push_back({NamePattern::Kind::kGlob, lower(p.match()), index});
    ++t_.info.operator_rows;
  }

  void alias(const Prices::Alias& a, const std::string& path) {
    const std::string& whose = a.model_provider().empty() ? a.provider() : a.model_provider();
    const auto known = t_.provider_by_name.find(whose);
    if (known == t_.provider_by_name.end())
      return fail(path, fmt::format("no prices are known for provider {}", whose), "see `penstock prices`");
    const std::uint32_t target = known->second;
    t_.providers[t_.provider(a.provider())].aliases.push_back(
        {lower(a.host()), lower(a.name()), lower(a.model()), target});
  }

  const api::YamlDocument& document_;
  PriceTables& t_;
  std::vector<api::Diagnostic>& out_;
};

}  // namespace

base::Result<> read_operator_prices(std::string_view yaml, const std::string& file, PriceTables& tables) {
  api::YamlFile parsed = api::read_yaml(yaml, file, Prices::default_instance());
  if (api::has_errors(parsed.diagnostics)) return api::to_error(parsed.diagnostics);
  std::vector<api::Diagnostic> diagnostics;
  for (const api::YamlDocument& document : parsed.documents)
    OperatorReader(document, tables, diagnostics).read(static_cast<const Prices&>(*document.message));
  if (api::has_errors(diagnostics)) return api::to_error(diagnostics);
  return {};
}

}  // namespace penstock::ledger
