// Definitions and accounts: configure, look-up, eviction of idle accounts to the store, limits, resets, listing.
#include <fmt/format.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>

#include "userspace/ledger/amount.h"
#include "userspace/ledger/ledger_impl.h"

namespace penstock::ledger {
namespace {

// Identity strings are length-prefixed, so that no two budgets can spell the same bytes.
void put(std::string& out, std::string_view field) {
  const auto size = static_cast<std::uint32_t>(field.size());
  out.append(reinterpret_cast<const char*>(&size), sizeof size);
  out.append(field);
}

std::string bytes_of(InstanceId id) {
  std::string out(sizeof id, '\0');
  std::memcpy(out.data(), &id, sizeof id);
  return out;
}

}  // namespace

InstanceId instance_id(const BudgetSpec& spec, std::string_view key) {
  std::string text;
  put(text, spec.policy);
  put(text, spec.name);
  put(text, std::string(1, static_cast<char>('0' + static_cast<int>(spec.unit))));
  put(text, spec.window.text());
  put(text, key);
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  ::SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  InstanceId id;
  for (std::size_t i = 0; i < 8; ++i) {
    id.high = id.high << 8 | digest[i];
    id.low = id.low << 8 | digest[8 + i];
  }
  return id;
}

Ledger::Impl::Impl(const Options& options, Store* store, Now now)
    : options_(options),
      store_(store ? store->impl_.get() : nullptr),
      anchor_ns_(now.real_ns - static_cast<std::int64_t>(now.boot_ns)) {
  if (options_.max_reservations > kMaxCallsInFlight) PN_BUG("max_reservations is beyond 65536");
  if (store_) {
    next_seq_ = store_->first_seq();
    limits_ = store_->limits();
  }
  last_settle_seq_ = next_seq_ - 1;
}

Ledger::Impl::~Impl() = default;

std::int64_t Ledger::Impl::limit_of(const Instance& instance) const {
  if (instance.limit_override) return std::max<std::int64_t>(*instance.limit_override, 0);
  const Definition& d = definitions_[instance.spec];
  return std::max<std::int64_t>(d.limit_override.value_or(d.spec->limit), 0);
}

void Ledger::Impl::touch(Instance& instance) {
  if (newest_ == &instance) return;
  if (instance.newer) {  // linked: take it out
    instance.newer->older = instance.older;
    if (instance.older)
      instance.older->newer = instance.newer;
    else
      oldest_ = instance.newer;
  }
  instance.older = newest_;
  instance.newer = nullptr;
  if (newest_) newest_->newer = &instance;
  newest_ = &instance;
  if (!oldest_) oldest_ = &instance;
}

void Ledger::Impl::mark_dirty(Instance& instance) {
  if (!store_ || instance.dirty) return;
  instance.dirty = true;
  dirty_.push_back(&instance);
}

void Ledger::Impl::erase(Instance& instance) {
  if (instance.newer)
    instance.newer->older = instance.older;
  else if (newest_ == &instance)
    newest_ = instance.older;
  if (instance.older)
    instance.older->newer = instance.newer;
  else if (oldest_ == &instance)
    oldest_ = instance.newer;
  if (!instance.orphan) definitions_[instance.spec].accounts.erase(instance.key);
  instances_.erase(bytes_of(instance.id));
}

// Lets go of the least recently used account that nobody needs and whose state is on disk (or empty). Looks at a few
// candidates only: a crowd of busy accounts must not make this a walk over all of them.
bool Ledger::Impl::evict_one(LedgerTime now) {
  Instance* candidate = oldest_;
  for (int i = 0; i < 16 && candidate; ++i) {
    Instance* next = candidate->newer;
    candidate->roll(now);
    const bool committed = !candidate->dirty && candidate->batch <= committed_;
    const bool empty = candidate->used() == 0 && !candidate->limit_override && candidate->epoch == 0;
    if (candidate->references == 0 && candidate->in_flight == 0 && committed && (store_ || empty)) {
      if (!candidate->orphan && !empty) definitions_[candidate->spec].partly_stored = true;
      ++stats_.evicted;
      erase(*candidate);
      return true;
    }
    touch(*candidate);  // look at others next time
    candidate = next;
  }
  return false;
}

Instance* Ledger::Impl::peek(BudgetId budget, std::string_view key, LedgerTime now) {
  Definition& d = definitions_[budget];
  const auto found = d.accounts.find(key);
  if (found == d.accounts.end()) return nullptr;
  found->second->roll(now);
  return found->second;
}

bool Ledger::Impl::may_be_stored(BudgetId budget, std::string_view key) const {
  if (!store_) return false;
  const Definition& d = definitions_[budget];
  return d.partly_stored || store_->unnamed(instance_id(*d.spec, key));
}

Instance* Ledger::Impl::account(BudgetId budget, std::string_view key, LedgerTime now) {
  if (Instance* known = peek(budget, key, now)) {
    touch(*known);
    return known;
  }
  Definition& d = definitions_[budget];
  const InstanceId id = instance_id(*d.spec, key);
  const std::string bytes = bytes_of(id);
  if (const auto left = instances_.find(bytes); left != instances_.end()) {
    // Its budget was taken out of the configuration with calls in flight, and is back.
    Instance& instance = *left->second;
    instance.spec = budget;
    instance.orphan = false;
    instance.origin = d.spec;
    d.accounts.emplace(instance.key, &instance);
    instance.roll(now);
    touch(instance);
    return &instance;
  }
  if (instances_.size() >= options_.max_instances && !evict_one(now) &&
      instances_.size() >= options_.max_instances + options_.max_instances / 4)
    return nullptr;  // full of busy accounts

  auto made = std::make_unique<Instance>(id, std::string(key), d.spec);
  Instance& instance = *made;
  instance.spec = budget;
  instance.restore(0, std::nullopt, {}, now);
  instance.identity_dirty = true;
  if (store_ && (d.partly_stored || store_->unnamed(id))) {
    if (auto stored = store_->find(id)) {
      const bool unnamed = stored->key.empty() && !key.empty();
      instance.restore(stored->epoch, stored->limit_override, std::move(stored->cells), now);
      instance.identity_dirty = unnamed || store_->unnamed(id);
      ++stats_.reloaded;
    }
  }
  instances_.emplace(bytes, std::move(made));
  d.accounts.emplace(instance.key, &instance);
  touch(instance);
  return &instance;
}

base::Result<> Ledger::Impl::configure(std::vector<BudgetSpec> specs, Now now) {
  std::set<std::pair<std::string, std::string>> names;
  for (const BudgetSpec& spec : specs) {
    if (!names.emplace(spec.policy, spec.name).second)
      return base::Error{
          base::ErrorCode::kUsage, 0, fmt::format("policy {}: two budgets named {}", spec.policy, spec.name), {}};
    for (const std::string& dimension : spec.per)
      if (!is_dimension(dimension))
        return base::Error{
            base::ErrorCode::kUsage, 0,
            fmt::format("policy {} budget {}: unknown dimension \"{}\"", spec.policy, spec.name, dimension),
            "agent, run, user, exe, cgroup, namespace, pod, container, unit, model, provider, host, kind, "
            "tool, or label.NAME"};
    if (spec.soft_permille.size() > 64)
      return base::Error{base::ErrorCode::kUsage,
                         0,
                         fmt::format("policy {} budget {}: more than 64 soft thresholds", spec.policy, spec.name),
                         {}};
  }
  const LedgerTime t = at(now);
  std::vector<Definition> old = std::move(definitions_);
  definitions_.clear();
  definitions_.resize(specs.size());
  specs_ = specs;
  for (auto& [bytes, instance] : instances_) instance->orphan = true;

  for (std::size_t i = 0; i < specs.size(); ++i) {
    Definition& d = definitions_[i];
    d.spec = std::make_shared<const BudgetSpec>(std::move(specs[i]));
    if (d.spec->window.kind() == WindowKind::kCalendar) d.span = d.spec->window.span_at(t.real_s);
    const auto same_account = [&](const BudgetSpec& s) {
      return s.policy == d.spec->policy && s.name == d.spec->name && s.unit == d.spec->unit &&
             s.window.text() == d.spec->window.text();
    };
    for (const LimitRow& row : limits_)
      if (row.policy == d.spec->policy && row.name == d.spec->name && row.unit == d.spec->unit)
        d.limit_override = row.limit;
    const auto before =
        std::find_if(old.begin(), old.end(), [&](const Definition& o) { return same_account(*o.spec); });
    if (before != old.end()) {
      d.partly_stored = before->partly_stored;
      const bool lowered =
          d.limit_override.value_or(d.spec->limit) < before->limit_override.value_or(before->spec->limit);
      for (auto& [key, instance] : before->accounts) {
        instance->spec = static_cast<BudgetId>(i);
        instance->orphan = false;
        instance->origin = d.spec;
        if (lowered && !instance->limit_override) ++instance->limit_generation;
        instance->rearm();
        d.accounts.emplace(instance->key, instance);
      }
      continue;
    }
    if (!store_) continue;
    bool more = false;
    const std::size_t room = options_.max_instances - std::min(options_.max_instances, instances_.size());
    for (StoredInstance& stored : store_->load(*d.spec, room, &more)) {
      const std::string bytes = bytes_of(stored.id);
      if (const auto here = instances_.find(bytes); here != instances_.end()) {
        here->second->spec = static_cast<BudgetId>(i);
        here->second->orphan = false;
        here->second->origin = d.spec;
        d.accounts.emplace(here->second->key, here->second.get());
        continue;
      }
      auto instance = std::make_unique<Instance>(stored.id, stored.key, d.spec);
      instance->spec = static_cast<BudgetId>(i);
      instance->restore(stored.epoch, stored.limit_override, std::move(stored.cells), t);
      Instance* raw = instance.get();
      instances_.emplace(bytes, std::move(instance));
      d.accounts.emplace(raw->key, raw);
      touch(*raw);
    }
    d.partly_stored |= more;
  }
  // Accounts of budgets that are gone: those in use or not yet on disk leave by eviction.
  std::vector<Instance*> gone;
  for (auto& [bytes, instance] : instances_)
    if (instance->orphan && instance->references == 0 && !instance->dirty && instance->batch <= committed_)
      gone.push_back(instance.get());
  for (Instance* instance : gone) erase(*instance);
  ++capacity_epoch_;
  return {};
}

base::Result<> Ledger::Impl::set_limit(BudgetId budget, std::optional<std::string_view> key,
                                       std::optional<std::int64_t> limit, Now now) {
  if (budget >= definitions_.size()) return base::Error{base::ErrorCode::kNotFound, 0, "unknown budget", {}};
  if (limit && *limit < 0) return base::Error{base::ErrorCode::kUsage, 0, "a limit cannot be negative", {}};
  const LedgerTime t = at(now);
  Definition& d = definitions_[budget];
  if (key) {
    Instance* instance = account(budget, *key, t);
    if (!instance) return base::Error{base::ErrorCode::kFailure, 0, "too many budget accounts", {}};
    const std::int64_t before = limit_of(*instance);
    instance->limit_override = limit;
    instance->identity_dirty = true;
    if (limit_of(*instance) < before) ++instance->limit_generation;
    instance->rearm();
    mark_dirty(*instance);
  } else {
    const std::int64_t before = d.limit_override.value_or(d.spec->limit);
    d.limit_override = limit;
    const bool lowered = limit.value_or(d.spec->limit) < before;
    for (auto& [name, instance] : d.accounts) {
      if (instance->limit_override) continue;
      if (lowered) ++instance->limit_generation;
      instance->rearm();
    }
    LimitRow row{d.spec->policy, d.spec->name, d.spec->unit, limit};
    std::erase_if(
        limits_, [&](const LimitRow& r) { return r.policy == row.policy && r.name == row.name && r.unit == row.unit; });
    if (limit) limits_.push_back(row);
    if (store_) limit_changes_.push_back(std::move(row));
  }
  ++capacity_epoch_;
  return {};
}

base::Result<> Ledger::Impl::reset(BudgetId budget, std::optional<std::string_view> key, Now now) {
  if (budget >= definitions_.size()) return base::Error{base::ErrorCode::kNotFound, 0, "unknown budget", {}};
  const LedgerTime t = at(now);
  Definition& d = definitions_[budget];
  std::vector<Instance*> which;
  if (key) {
    Instance* instance = account(budget, *key, t);
    if (!instance) return base::Error{base::ErrorCode::kFailure, 0, "too many budget accounts", {}};
    which.push_back(instance);
  } else {
    if (d.partly_stored && store_) {
      bool more = false;
      for (StoredInstance& stored : store_->load(*d.spec, SIZE_MAX, &more))
        if (Instance* instance = account(budget, stored.key, t)) which.push_back(instance);
    }
    for (auto& [name, instance] : d.accounts)
      if (std::find(which.begin(), which.end(), instance) == which.end()) which.push_back(instance);
  }
  for (Instance* instance : which) {
    instance->reset();
    mark_dirty(*instance);
  }
  ++capacity_epoch_;
  return {};
}

BudgetStatus Ledger::Impl::status_of(Instance& instance, LedgerTime now) {
  const Definition& d = definitions_[instance.spec];
  instance.roll(now);
  BudgetStatus s;
  s.policy = d.spec->policy;
  s.name = d.spec->name;
  s.key = instance.key;
  s.unit = d.spec->unit;
  s.limit = limit_of(instance);
  s.limit_overridden = instance.limit_override.has_value() || d.limit_override.has_value();
  s.spent = instance.spent();
  s.estimated = instance.estimated();
  s.reserved = instance.reserved();
  s.remaining = sub(s.limit, instance.used());
  s.in_flight = instance.in_flight;
  s.window = d.spec->window.text();
  if (d.spec->window.kind() == WindowKind::kCalendar)
    s.reset_real_ns = d.spec->window.span_at(now.real_s).end_s * 1'000'000'000;
  s.on_breach = d.spec->on_breach;
  s.breaches = instance.breaches;
  return s;
}

std::vector<BudgetStatus> Ledger::Impl::list(Now now) {
  const LedgerTime t = at(now);
  std::vector<BudgetStatus> out;
  for (Definition& d : definitions_)
    for (auto& [key, instance] : d.accounts) out.push_back(status_of(*instance, t));
  std::sort(out.begin(), out.end(), [](const BudgetStatus& a, const BudgetStatus& b) {
    return std::tie(a.policy, a.name, a.key) < std::tie(b.policy, b.name, b.key);
  });
  return out;
}

}  // namespace penstock::ledger
