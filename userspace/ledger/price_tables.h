// Inside of the price book: the tables that the bundle and the operator's file are read into, and the reading.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "userspace/base/result.h"
#include "userspace/ledger/prices.h"

namespace penstock::ledger {

struct PriceRow {
  ServiceTier tier = ServiceTier::kStandard;
  std::int64_t from_s = INT64_MIN;  // valid from, Unix seconds
  std::int64_t to_s = INT64_MAX;    // until, exclusive
  std::int32_t day_from_s = 0;      // time of day in UTC; equal: all day
  std::int32_t day_to_s = 0;
  bool output_is_guess = false;
  std::array<std::optional<Rate>, kRateUnits> rates;

  bool holds_at(std::int64_t unix_s) const;
};

struct PriceModel {
  std::string label;
  std::uint32_t provider = 0;
  std::string source;
  std::string host;  // glob; empty: any
  std::optional<std::uint64_t> max_output_tokens, context_tokens;
  std::uint32_t uplift_us_permille = 1000, uplift_eu_permille = 1000;
  std::vector<PriceRow> rows;  // the last one that holds wins
};

struct NamePattern {
  enum class Kind : std::uint8_t { kStarts, kEnds, kContains, kDated, kGlob };
  Kind kind = Kind::kStarts;
  std::string text;
  std::uint32_t model = 0;

  bool matches(std::string_view name) const;
};

struct NameAlias {
  std::string host;  // glob; empty: any
  std::string name;
  std::string model;
  std::uint32_t model_provider = 0;
};

struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>()(s); }
};
template <class T>
using NameMap = std::unordered_map<std::string, T, StringHash, std::equal_to<>>;

// Names of one layer: the operator's are looked at before the bundle's.
struct NameIndex {
  NameMap<std::vector<std::uint32_t>> equals;
  std::vector<NamePattern> patterns;  // in the order of the file
};

struct PriceProvider {
  std::string id;
  std::vector<std::string> names;     // OpenTelemetry names and the id
  std::vector<std::string> hosts;     // as in the bundle: names and globs
  std::vector<std::string> fallback;  // ids
  NameIndex bundle;
  NameIndex own;  // from the operator's file
  std::vector<NameAlias> aliases;
};

struct PriceTables {
  std::vector<PriceProvider> providers;
  std::vector<PriceModel> models;
  NameMap<std::uint32_t> provider_by_name;
  NameMap<std::uint32_t> provider_by_host;                              // full host names
  std::vector<std::pair<std::string, std::uint32_t>> provider_by_glob;  // host globs
  BundleInfo info;
  std::int64_t date_s = 0;

  // The provider of that name or id, made if it is new.
  std::uint32_t provider(std::string_view name);
};

// The bundle's text. Malformed text is an error with the line: it is our own file.
base::Result<> read_bundle(std::string_view text, PriceTables& tables);
// The operator's file.
base::Result<> read_operator_prices(std::string_view yaml, const std::string& file, PriceTables& tables);
// The text compiled into the program.
std::string_view embedded_bundle();

std::optional<std::int64_t> parse_date(std::string_view text);  // YYYY-MM-DD -> Unix seconds
std::string format_date(std::int64_t unix_s);
// Above this a rate is taken for a mistake. Units that are not tokens are counted per 10^6, too, and cost more each.
model::NanoUsdPerMillion highest_plausible(RateUnit unit);

std::string lower(std::string_view text);

}  // namespace penstock::ledger
