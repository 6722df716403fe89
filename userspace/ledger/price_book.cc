// Which price applies to a call. The order, for each name the response and then the request gives:
//   operator's alias -> full name (operator, bundle) -> pattern (operator, bundle) -> the same with date, version or
//   region cut off -> prices of a provider that stands behind this one -> unpriced
// A full name on a host that is known to be the provider's is exact; whatever else is found is an alias; a fine-tuned
// model priced as its base is estimated.
#include <algorithm>

#include "userspace/api/glob.h"
#include "userspace/api/yaml.h"
#include "userspace/base/log.h"
#include "userspace/ledger/price_tables.h"
#include "userspace/model/exchange.h"

namespace penstock::ledger {
namespace {

constexpr std::size_t kMaxNameBytes = 128;
constexpr std::size_t kMaxNamesWarned = 64;
constexpr std::size_t kMaxRemembered = 1024;  // answers of the search below …
constexpr std::size_t kMaxKeyBytes = 512;     // … to questions of at most so many bytes
constexpr std::int64_t kNanosPerSecond = 1'000'000'000;
constexpr std::int64_t kStaleSeconds = 90 * 86'400;

std::string clean(std::string_view name) {
  while (!name.empty() && name.front() == ' ') name.remove_prefix(1);
  while (!name.empty() && name.back() == ' ') name.remove_suffix(1);
  return lower(name.substr(0, kMaxNameBytes));
}

bool digits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// One step of cutting off what does not name the model: @date, -YYYY-MM-DD, -YYYYMMDD, -latest, Bedrock's -v1:0 and
// region.
std::optional<std::string_view> shorter(std::string_view name, bool bedrock) {
  if (const auto at = name.find('@'); at != std::string_view::npos && at > 0) return name.substr(0, at);
  if (name.ends_with("-latest")) return name.substr(0, name.size() - 7);
  if (bedrock) {
    for (std::string_view region : {"us.", "eu.", "apac.", "jp.", "au.", "us-gov.", "global."})
      if (name.starts_with(region)) return name.substr(region.size());
    const auto version = name.rfind("-v");
    const auto colon = version == std::string_view::npos ? version : name.find(':', version);
    if (colon != std::string_view::npos && digits(name.substr(version + 2, colon - version - 2)) &&
        digits(name.substr(colon + 1)))
      return name.substr(0, version);
  }
  const auto dash = name.rfind('-');
  if (dash != std::string_view::npos && dash > 0 && name.size() - dash == 9 && digits(name.substr(dash + 1)))
    return name.substr(0, dash);
  if (name.size() > 11 && name[name.size() - 11] == '-' && digits(name.substr(name.size() - 10, 4)) &&
      name[name.size() - 6] == '-' && digits(name.substr(name.size() - 5, 2)) && name[name.size() - 3] == '-' &&
      digits(name.substr(name.size() - 2)))
    return name.substr(0, name.size() - 11);
  return std::nullopt;
}

struct Found {
  const PriceModel* model = nullptr;
  model::PriceStatus status = model::PriceStatus::kUnpriced;
  bool own_host = false;                     // it is known to be the provider's
  std::uint32_t multiplier_permille = 1000;  // regional uplift of that host
};

}  // namespace

class PriceBook::Impl {
 public:
  PriceTables tables;
  std::vector<Endpoint> endpoints;
  Lookups lookups;
  std::vector<std::string> warned;
  std::unordered_map<std::string, Found> remembered;
  std::string key;  // scratch of found_for()
  Found too_long;   // the latest answer that is not remembered

  const PriceModel* by_name(const NameIndex& index, std::string_view name, std::string_view host) const {
    const auto found = index.equals.find(name);
    if (found == index.equals.end()) return nullptr;
    for (std::uint32_t m : found->second)
      if (on_host(tables.models[m], host)) return &tables.models[m];
    return nullptr;
  }
  const PriceModel* by_pattern(const NameIndex& index, std::string_view name, std::string_view host) const {
    for (const NamePattern& p : index.patterns)
      if (p.matches(name) && on_host(tables.models[p.model], host)) return &tables.models[p.model];
    return nullptr;
  }
  static bool on_host(const PriceModel& m, std::string_view host) {
    return m.host.empty() || api::glob_match(m.host, host);
  }

  const PriceModel* exact(const PriceProvider& p, std::string_view name, std::string_view host) const {
    if (const PriceModel* m = by_name(p.own, name, host)) return m;
    return by_name(p.bundle, name, host);
  }
  const PriceModel* similar(const PriceProvider& p, std::string_view name, std::string_view host) const {
    if (const PriceModel* m = by_pattern(p.own, name, host)) return m;
    return by_pattern(p.bundle, name, host);
  }

  // The provider and whether the host is known to be its own.
  std::pair<const PriceProvider*, bool> provider_of(std::string_view name, std::string_view host,
                                                    std::uint16_t port) const {
    for (const Endpoint& e : endpoints) {
      if (!api::glob_match(e.host, host) || (e.port != 0 && port != 0 && e.port != port)) continue;
      const auto found = tables.provider_by_name.find(e.provider);
      return {found == tables.provider_by_name.end() ? nullptr : &tables.providers[found->second], true};
    }
    if (!host.empty()) {
      if (const auto found = tables.provider_by_host.find(host); found != tables.provider_by_host.end())
        return {&tables.providers[found->second], true};
      for (const auto& [glob, index] : tables.provider_by_glob)
        if (api::glob_match(glob, host)) return {&tables.providers[index], true};
    }
    const auto found = tables.provider_by_name.find(name);
    if (found == tables.provider_by_name.end()) return {nullptr, false};
    // A provider that only the operator's file knows has no hosts of its own: its prices say where they apply.
    const PriceProvider& p = tables.providers[found->second];
    return {&p, p.hosts.empty()};
  }

  Found find(const PriceProvider& p, const std::string& response, const std::string& request,
             std::string_view host) const {
    using S = model::PriceStatus;
    const std::string* names[] = {&response, &request};
    for (const std::string* name : names) {
      for (const NameAlias& a : p.aliases) {
        if (name->empty() || a.name != *name || !(a.host.empty() || api::glob_match(a.host, host))) continue;
        const PriceProvider& target = tables.providers[a.model_provider];
        if (const PriceModel* m = exact(target, a.model, host)) return {m, S::kAlias};
        if (const PriceModel* m = similar(target, a.model, host)) return {m, S::kAlias};
      }
    }
    for (const std::string* name : names)
      if (const PriceModel* m = name->empty() ? nullptr : exact(p, *name, host)) return {m, S::kExact};
    // A fine-tuned model costs more than its base: its own row, else the base's as an estimate.
    for (const std::string* name : names) {
      if (!name->starts_with("ft:")) continue;
      const auto colon = name->find(':', 3);
      const std::string_view tuned = std::string_view(*name).substr(0, colon);
      if (const PriceModel* m = exact(p, tuned, host)) return {m, S::kAlias};
      if (const PriceModel* m = exact(p, tuned.substr(3), host)) return {m, S::kEstimated};
      if (const PriceModel* m = similar(p, tuned.substr(3), host)) return {m, S::kEstimated};
    }
    for (const std::string* name : names)
      if (const PriceModel* m = name->empty() ? nullptr : similar(p, *name, host)) return {m, S::kAlias};
    const bool bedrock = p.id == "aws";
    for (const std::string* name : names) {
      std::string_view rest = *name;
      while (const auto cut = shorter(rest, bedrock)) {
        rest = *cut;
        if (const PriceModel* m = exact(p, rest, host)) return {m, S::kAlias};
        if (const PriceModel* m = similar(p, rest, host)) return {m, S::kAlias};
      }
    }
    for (const std::string& id : p.fallback) {
      const auto behind = tables.provider_by_name.find(id);
      if (behind == tables.provider_by_name.end()) continue;
      Found found = find(tables.providers[behind->second], response, request, host);
      if (found.model) return {found.model, worst(found.status, S::kAlias)};
    }
    return {};
  }

  Found search(const PriceQuery& query) {
    const std::string host = lower(query.host.substr(0, 255));
    const auto [provider, own_host] = provider_of(query.provider, host, query.port);
    const std::string response = clean(query.response_model);
    const std::string request = clean(query.request_model);
    if (!provider || (response.empty() && request.empty())) return {};
    Found found = find(*provider, response, request, host);
    if (!found.model) return {};
    warn(found, response.empty() ? request : response);
    found.own_host = own_host;
    if (host.starts_with("us.")) found.multiplier_permille = found.model->uplift_us_permille;
    if (host.starts_with("eu.")) found.multiplier_permille = found.model->uplift_eu_permille;
    return found;
  }

  // The same calls come again and again, several times each: what was found for them is remembered.
  const Found& found_for(const PriceQuery& query) {
    key.clear();
    const auto add_number = [this](auto number) { key.append(reinterpret_cast<const char*>(&number), sizeof number); };
    for (const std::string_view part : {query.provider, query.host, query.response_model, query.request_model}) {
      add_number(part.size());  // names may hold any byte
      key.append(part);
    }
    add_number(query.port);
    if (const auto known = remembered.find(key); known != remembered.end()) return known->second;
    if (remembered.size() >= kMaxRemembered) remembered.clear();
    Found found = search(query);
    if (key.size() <= kMaxKeyBytes) return remembered.emplace(key, std::move(found)).first->second;
    return too_long = std::move(found);
  }

  // Once per name, bounded: names are chosen by the caller.
  void warn(const Found& found, const std::string& name) {
    if (found.status != model::PriceStatus::kAlias || warned.size() >= kMaxNamesWarned || name.empty()) return;
    if (std::find(warned.begin(), warned.end(), name) != warned.end()) return;
    warned.push_back(name);
    base::log_warning("price taken from a similar name model={} priced_as={}/{}", printable(name),
                      tables.providers[found.model->provider].id, found.model->label);
  }
  static std::string printable(std::string_view name) {
    std::string out;
    for (char c : name) out.push_back(c > 0x20 && c < 0x7f ? c : '?');
    return out;
  }
};

PriceBook::PriceBook(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PriceBook::PriceBook(PriceBook&&) noexcept = default;
PriceBook& PriceBook::operator=(PriceBook&&) noexcept = default;
PriceBook::~PriceBook() = default;

base::Result<PriceBook> PriceBook::load(const Options& options) {
  std::string yaml;
  if (!options.operator_file.empty()) {
    PN_TRY(yaml, api::read_text_file(options.operator_file));
  }
  return from_text(embedded_bundle(), yaml, options.endpoints, options.operator_file);
}

base::Result<PriceBook> PriceBook::from_text(std::string_view bundle, std::string_view operator_yaml,
                                             const std::vector<Endpoint>& endpoints, std::string_view operator_name) {
  auto impl = std::make_unique<Impl>();
  PN_CHECK(read_bundle(bundle, impl->tables));
  if (!operator_yaml.empty()) PN_CHECK(read_operator_prices(operator_yaml, std::string(operator_name), impl->tables));
  for (const Endpoint& e : endpoints) impl->endpoints.push_back({lower(e.host), e.provider, e.port});
  impl->tables.info.providers = impl->tables.providers.size();
  return PriceBook(std::move(impl));
}

Quote PriceBook::lookup(const PriceQuery& query) const {
  using S = model::PriceStatus;
  Quote quote;
  const Found& found = impl_->found_for(query);
  if (!found.model) return quote;

  // Tiers: what the provider's API calls them. Names without a meaning for the price are the standard.
  std::string tier_name = clean(query.service_tier);
  ServiceTier tier = ServiceTier::kStandard;
  S status = found.own_host ? found.status : worst(found.status, S::kAlias);
  if (query.batch || tier_name == "batch")
    tier = ServiceTier::kBatch;
  else if (tier_name == "flex")
    tier = ServiceTier::kFlex;
  else if (tier_name == "priority")
    tier = ServiceTier::kPriority;
  else if (!tier_name.empty() && tier_name != "default" && tier_name != "standard" && tier_name != "auto" &&
           tier_name != "on_demand" && tier_name != "scale" && tier_name != "standard_only")
    status = worst(status, S::kEstimated);

  const std::int64_t when_s = query.when_real_ns / kNanosPerSecond;
  const PriceRow* standard = nullptr;
  const PriceRow* special = nullptr;
  for (const PriceRow& row : found.model->rows) {
    if (!row.holds_at(when_s)) continue;
    if (row.tier == ServiceTier::kStandard) standard = &row;
    if (tier != ServiceTier::kStandard && row.tier == tier) special = &row;
  }
  if (!standard && !special) return quote;
  if (tier != ServiceTier::kStandard && !special) status = worst(status, S::kEstimated);
  if ((special ? special : standard)->output_is_guess) status = worst(status, S::kEstimated);
  for (std::size_t u = 0; u < kRateUnits; ++u) {
    for (const PriceRow* row : {special, standard}) {
      if (row && row->rates[u] && !quote.rates[u]) quote.rates[u] = &*row->rates[u];
    }
  }
  quote.status = status;
  quote.max_output_tokens = found.model->max_output_tokens;
  quote.context_tokens = found.model->context_tokens;
  quote.provider = impl_->tables.providers[found.model->provider].id;
  quote.model = found.model->label;
  quote.source = found.model->source;
  quote.multiplier_permille = found.multiplier_permille;
  return quote;
}

Quote PriceBook::lookup(const model::Exchange& e) const {
  PriceQuery query;
  query.provider = e.provider;
  query.host = e.host;
  query.port = e.port;
  query.response_model = e.response_model;
  query.request_model = e.request_model;
  query.when_real_ns = e.timing.start_real_ns;
  query.service_tier = e.service_tier.empty() ? e.request.service_tier : e.service_tier;
  query.batch = e.path.find("/batches") != std::string::npos;
  return lookup(query);
}

Cost PriceBook::cost(const model::Exchange& e) const {
  using S = model::PriceStatus;
  const Quote quote = lookup(e);
  Cost total = cost(quote, e.usage);
  if (total.amount && e.usage_status != model::UsageStatus::kExact) total.status = worst(total.status, S::kEstimated);
  for (const model::Iteration& pass : e.iterations) {
    Quote other = quote;
    if (!pass.model.empty() && pass.model != e.response_model) {
      PriceQuery query;
      query.provider = e.provider;
      query.host = e.host;
      query.port = e.port;
      query.response_model = pass.model;
      query.when_real_ns = e.timing.start_real_ns;
      query.service_tier = e.service_tier;
      other = lookup(query);
    }
    const Cost part = cost(other, pass.usage);
    total.status = worst(total.status, part.status);
    if (total.status == S::kUnpriced)
      total.amount.reset();
    else if (part.amount)
      total.amount = total.amount ? *total.amount + *part.amount : *part.amount;
  }
  switch (total.status) {
    case S::kExact:
      ++impl_->lookups.exact;
      break;
    case S::kAlias:
      ++impl_->lookups.alias;
      break;
    case S::kEstimated:
      ++impl_->lookups.estimated;
      break;
    case S::kUnpriced:
      ++impl_->lookups.unpriced;
      break;
  }
  return total;
}

std::optional<std::uint64_t> PriceBook::max_output_tokens(const model::Exchange& exchange) const {
  return lookup(exchange).max_output_tokens;
}

bool PriceBook::lists(std::string_view model) const {
  const std::string name = clean(model);
  return std::any_of(impl_->tables.providers.begin(), impl_->tables.providers.end(), [&](const PriceProvider& p) {
    return p.bundle.equals.contains(name) || p.own.equals.contains(name);
  });
}

const PriceBook::Lookups& PriceBook::lookups() const { return impl_->lookups; }
const BundleInfo& PriceBook::bundle() const { return impl_->tables.info; }

bool PriceBook::stale(std::int64_t real_ns) const {
  return real_ns / kNanosPerSecond - impl_->tables.date_s > kStaleSeconds;
}

std::vector<PriceListing> PriceBook::search(std::string_view text, std::size_t limit) const {
  const std::string wanted = lower(text);
  std::vector<PriceListing> out;
  for (const PriceModel& m : impl_->tables.models) {
    const PriceProvider& p = impl_->tables.providers[m.provider];
    const bool hit = m.label.find(wanted) != std::string::npos || lower(m.label).find(wanted) != std::string::npos ||
                     (p.id + "/" + lower(m.label)).find(wanted) != std::string::npos;
    if (!hit) continue;
    for (const PriceRow& row : m.rows) {
      if (out.size() == limit) return out;
      PriceListing& l = out.emplace_back();
      l.provider = p.id;
      l.model = m.label;
      l.source = m.source;
      if (row.from_s != INT64_MIN) l.valid_from = format_date(row.from_s);
      if (row.to_s != INT64_MAX) l.valid_to = format_date(row.to_s);
      l.tier = row.tier;
      l.rates = row.rates;
      l.max_output_tokens = m.max_output_tokens;
      l.context_tokens = m.context_tokens;
    }
  }
  return out;
}

}  // namespace penstock::ledger
