// Reads the price bundle (data/prices/bundle.txt). One record per line, fields separated by tabs:
//   penstock-prices 1
//   date YYYY-MM-DD
//   source NAME DATE LICENCE sha256:…
//   provider ID names=A,B hosts=GLOB,… [fallback=ID,…]
//   model LABEL source=S [max=N] [ctx=N] [uplift=us|eu:PERMILLE]… {equals|starts|ends|contains|dated}=NAME…
//   price TIER [from=DATE] [time=HH:MM-HH:MM] [guess=output] UNIT=RATE[,>INPUT_TOKENS:RATE]…
// A model belongs to the provider before it, a price to the model before it.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "userspace/api/glob.h"
#include "userspace/ledger/price_tables.h"
#include "userspace/ledger/timezone.h"

namespace penstock::ledger {
namespace {

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const auto at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<RateUnit> unit_of(std::string_view text) {
  for (std::size_t i = 0; i < kRateUnits; ++i)
    if (name(static_cast<RateUnit>(i)) == text) return static_cast<RateUnit>(i);
  return std::nullopt;
}

std::optional<std::int32_t> time_of_day(std::string_view text) {
  if (text.size() != 5 || text[2] != ':') return std::nullopt;
  const auto h = number(text.substr(0, 2));
  const auto m = number(text.substr(3, 2));
  if (!h || !m || *h > 24 || *m > 59) return std::nullopt;
  return static_cast<std::int32_t>(*h * 3600 + *m * 60);
}

class BundleReader {
 public:
  explicit BundleReader(PriceTables& tables) : t_(tables) {}

  base::Result<> read(std::string_view text) {
    std::size_t line = 0;
    while (!text.empty()) {
      ++line;
      const auto end = text.find('\n');
      const std::string_view record = text.substr(0, end);
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
      if (record.empty()) continue;
      if (!record_ok(split(record, '\t'), line))
        return base::Error{base::ErrorCode::kFailure, 0, fmt::format("price bundle line {}: {}", line, problem_), {}};
    }
    if (t_.info.date.empty() || t_.models.empty())
      return base::Error{base::ErrorCode::kFailure, 0, "price bundle: no date or no models", {}};
    return {};
  }

 private:
  bool fail(std::string what) {
    problem_ = std::move(what);
    return false;
  }

  bool record_ok(const std::vector<std::string_view>& f, std::size_t line) {
    if (line == 1)
      return (f.size() == 2 && f[0] == "penstock-prices" && f[1] == "1") || fail("not a price bundle of version 1");
    if (f[0] == "date" && f.size() == 2) {
      const auto date = parse_date(f[1]);
      if (!date) return fail("bad date");
      t_.info.date = std::string(f[1]);
      t_.date_s = *date;
      return true;
    }
    if (f[0] == "source" && f.size() == 5) {
      t_.info.sources.push_back(fmt::format("{} {} {} {}", f[1], f[2], f[3], f[4]));
      return true;
    }
    if (f[0] == "provider" && f.size() >= 2) return provider(f);
    if (f[0] == "model" && f.size() >= 2 && provider_) return model(f);
    if (f[0] == "price" && f.size() >= 2 && !t_.models.empty() && provider_) return price(f);
    return fail("unknown record");
  }

  bool provider(const std::vector<std::string_view>& f) {
    provider_ = t_.provider(f[1]);
    PriceProvider& p = t_.providers[*provider_];
    for (std::size_t i = 2; i < f.size(); ++i) {
      const auto eq = f[i].find('=');
      const auto key = f[i].substr(0, eq);
      const auto values = split(eq == std::string_view::npos ? std::string_view{} : f[i].substr(eq + 1), ',');
      for (std::string_view value : values) {
        if (key == "names") {
          p.names.emplace_back(value);
          t_.provider_by_name.emplace(std::string(value), *provider_);
        } else if (key == "hosts") {
          p.hosts.emplace_back(value);
          if (value.find('*') == std::string_view::npos)
            t_.provider_by_host.emplace(std::string(value), *provider_);
          else
            t_.provider_by_glob.emplace_back(std::string(value), *provider_);
        } else if (key == "fallback") {
          p.fallback.emplace_back(value);
        } else {
          return fail(fmt::format("unknown field {}", key));
        }
      }
    }
    return true;
  }

  bool model(const std::vector<std::string_view>& f) {
    const auto index = static_cast<std::uint32_t>(t_.models.size());
    PriceModel& m = t_.models.emplace_back();
    m.label = std::string(f[1]);
    m.provider = *provider_;
    NameIndex& names = t_.providers[*provider_].bundle;
    for (std::size_t i = 2; i < f.size(); ++i) {
      const auto eq = f[i].find('=');
      if (eq == std::string_view::npos) return fail("field without =");
      const auto key = f[i].substr(0, eq);
      const auto value = f[i].substr(eq + 1);
      if (key == "source") {
        m.source = std::string(value);
      } else if (key == "max" || key == "ctx") {
        const auto n = number(value);
        if (!n) return fail("bad number");
        (key == "max" ? m.max_output_tokens : m.context_tokens) = n;
      } else if (key == "uplift") {
        const auto n = value.size() > 3 ? number(value.substr(3)) : std::nullopt;
        if (!n || *n < 1000 || *n > 10'000) return fail("bad uplift");
        (value.starts_with("us:") ? m.uplift_us_permille : m.uplift_eu_permille) = static_cast<std::uint32_t>(*n);
      } else if (key == "equals") {
        names.equals[std::string(value)].push_back(index);
      } else {
        using Kind = NamePattern::Kind;
        const Kind kind = key == "starts"     ? Kind::kStarts
                          : key == "ends"     ? Kind::kEnds
                          : key == "contains" ? Kind::kContains
                                              : Kind::kDated;
        if (kind == Kind::kDated && key != "dated") return fail(fmt::format("unknown field {}", key));
        names.patterns.push_back({kind, std::string(value), index});
      }
    }
    ++t_.info.models;
    return true;
  }

  bool price(const std::vector<std::string_view>& f) {
    PriceModel& m = t_.models.back();
    PriceRow row;
    bool known = false;
    for (int i = 0; i < 4; ++i) {
      if (name(static_cast<ServiceTier>(i)) != f[1]) continue;
      row.tier = static_cast<ServiceTier>(i);
      known = true;
    }
    if (!known) return fail("unknown tier");
    for (std::size_t i = 2; i < f.size(); ++i) {
      const auto eq = f[i].find('=');
      if (eq == std::string_view::npos) return fail("field without =");
      const auto key = f[i].substr(0, eq);
      const auto value = f[i].substr(eq + 1);
      if (key == "from") {
        const auto date = parse_date(value);
        if (!date) return fail("bad date");
        row.from_s = *date;
      } else if (key == "time") {
        const auto from = value.size() == 11 ? time_of_day(value.substr(0, 5)) : std::nullopt;
        const auto to = value.size() == 11 ? time_of_day(value.substr(6)) : std::nullopt;
        if (!from || !to) return fail("bad time");
        row.day_from_s = *from;
        row.day_to_s = *to;
      } else if (key == "guess") {
        row.output_is_guess = true;
      } else if (const auto unit = unit_of(key)) {
        if (!rate(m, row, *unit, value)) return false;
      } else {
        return fail(fmt::format("unknown field {}", key));
      }
    }
    m.rows.push_back(std::move(row));
    return true;
  }

  bool rate(const PriceModel& m, PriceRow& row, RateUnit unit, std::string_view value) {
    Rate rate;
    const auto parts = split(value, ',');
    for (std::size_t i = 0; i < parts.size(); ++i) {
      std::string_view text = parts[i];
      RateStep step;
      if (i > 0) {
        const auto colon = text.find(':');
        const auto above =
            text.starts_with('>') && colon != std::string_view::npos ? number(text.substr(1, colon - 1)) : std::nullopt;
        if (!above) return fail("bad step");
        step.above_input_tokens = *above;
        text = text.substr(colon + 1);
      }
      bool rounded = false;
      const auto parsed = parse_rate(text, &rounded);
      if (!parsed) return fail(fmt::format("bad rate {}", text));
      const auto where = [&] {
        return fmt::format("{}/{} {} {}", t_.providers[m.provider].id, m.label, name(unit), text);
      };
      if (rounded) t_.info.rounded.push_back(where());
      if (*parsed > highest_plausible(unit)) {
        // Left out, so that the unit has no rate and the model is unpriced for it: a person may pin it.
        t_.info.refused.push_back(where());
        return true;
      }
      if (i == 0)
        rate.base = *parsed;
      else
        rate.steps.push_back({step.above_input_tokens, *parsed});
    }
    row.rates[static_cast<std::size_t>(unit)] = std::move(rate);
    return true;
  }

  PriceTables& t_;
  std::optional<std::uint32_t> provider_;
  std::string problem_;
};

}  // namespace

std::optional<std::int64_t> parse_date(std::string_view text) {
  if (text.size() != 10 || text[4] != '-' || text[7] != '-') return std::nullopt;
  const auto y = number(text.substr(0, 4));
  const auto m = number(text.substr(5, 2));
  const auto d = number(text.substr(8, 2));
  if (!y || !m || !d || *m < 1 || *m > 12 || *d < 1 || *d > 31) return std::nullopt;
  const std::int64_t days = days_from_civil(static_cast<std::int64_t>(*y), static_cast<int>(*m), static_cast<int>(*d));
  const CivilDate back = civil_from_days(days);
  if (back.month != static_cast<int>(*m) || back.day != static_cast<int>(*d)) return std::nullopt;
  return days * 86'400;
}

std::string format_date(std::int64_t unix_s) {
  const CivilDate date = civil_from_days(unix_s / 86'400);
  return fmt::format("{:04}-{:02}-{:02}", date.year, date.month, date.day);
}

bool PriceRow::holds_at(std::int64_t unix_s) const {
  if (unix_s < from_s || unix_s >= to_s) return false;
  if (day_from_s == day_to_s) return true;
  const auto second = static_cast<std::int32_t>((unix_s % 86'400 + 86'400) % 86'400);
  return day_from_s < day_to_s ? second >= day_from_s && second < day_to_s : second >= day_from_s || second < day_to_s;
}

bool NamePattern::matches(std::string_view name) const {
  switch (kind) {
    case Kind::kStarts:
      return name.starts_with(text);
    case Kind::kEnds:
      return name.ends_with(text);
    case Kind::kContains:
      return name.find(text) != std::string_view::npos;
    case Kind::kDated:
      return name.starts_with(text) && name.size() > text.size() &&
             name.find_first_not_of("0123456789-", text.size()) == std::string_view::npos;
    case Kind::kGlob:
      return api::glob_match(text, name);
  }
  return false;
}

std::uint32_t PriceTables::provider(std::string_view name) {
  if (const auto found = provider_by_name.find(name); found != provider_by_name.end()) return found->second;
  const auto index = static_cast<std::uint32_t>(providers.size());
  providers.emplace_back().id = std::string(name);
  provider_by_name.emplace(std::string(name), index);
  return index;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

base::Result<> read_bundle(std::string_view text, PriceTables& tables) { return BundleReader(tables).read(text); }

}  // namespace penstock::ledger
