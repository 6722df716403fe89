#include "userspace/ledger/ledger.h"

#include <algorithm>

#include "userspace/ledger/amount.h"
#include "userspace/ledger/ledger_impl.h"

namespace penstock::ledger {

std::int64_t Ledger::Impl::amount_of(BudgetUnit unit, const Amounts& amounts) {
  std::uint64_t value = 0;
  switch (unit) {
    case BudgetUnit::kNanoUsd:
      value = amounts.cost && amounts.cost->value > 0 ? static_cast<std::uint64_t>(amounts.cost->value) : 0;
      break;
    case BudgetUnit::kTokens:
      value = amounts.tokens;
      break;
    case BudgetUnit::kRequests:
      value = amounts.requests;
      break;
  }
  if (value <= static_cast<std::uint64_t>(kMaxCallAmount)) return static_cast<std::int64_t>(value);
  ++stats_.saturated;
  return kMaxCallAmount;
}

Ledger::Impl::Call* Ledger::Impl::find_call(std::uint64_t exchange_id) {
  const auto found = by_exchange_.find(exchange_id);
  return found == by_exchange_.end() ? nullptr : found->second;
}

Ledger::Impl::Call& Ledger::Impl::new_call(std::uint64_t exchange_id) {
  if (free_calls_.empty()) {
    calls_.push_back(std::make_unique<Call>());
    free_calls_.push_back(calls_.back().get());
  }
  Call& call = *free_calls_.back();
  free_calls_.pop_back();
  call.exchange_id = exchange_id;
  call.seq = next_seq_++;
  call.generation = ++generation_;
  call.correct_until_ns = 0;
  call.stored = call.queued = call.ended = false;
  call.held.clear();
  call.slots.clear();
  by_exchange_[exchange_id] = &call;
  ++in_flight_;
  return call;
}

void Ledger::Impl::drop_call(Call& call) {
  for (Held& h : call.held) --h.instance->references;
  if (call.correct_until_ns == 0) --in_flight_;
  by_exchange_.erase(call.exchange_id);
  call.generation = 0;
  free_calls_.push_back(&call);
}

void Ledger::Impl::note_crossings(Instance& instance, Outcome& out, LedgerTime now) {
  if (instance.orphan) return;
  const BudgetSpec& spec = *definitions_[instance.spec].spec;
  if (!spec.soft_permille.empty()) instance.crossings(spec.soft_permille, now, limit_of(instance), out.crossings);
}

Outcome Ledger::Impl::admit(std::uint64_t exchange_id, std::span<const Charge> charges, const Amounts& upper, Now now,
                            bool force, bool dry) {
  Outcome out;
  const LedgerTime t = at(now);
  if (!dry) {
    if (Call* old = find_call(exchange_id)) {
      if (old->correct_until_ns == 0) PN_BUG("an exchange was reserved twice");
      drop_call(*old);
    }
  }
  const auto refuse = [&](BudgetId budget, std::string_view key, BreachReason reason) -> Breach& {
    Breach& b = out.breaches.emplace_back();
    b.budget = budget;
    b.key = std::string(key);
    b.reason = reason;
    if (budget < definitions_.size()) {
      b.on_breach = definitions_[budget].spec->on_breach;
      b.unit = definitions_[budget].spec->unit;
      b.limit =
          std::max<std::int64_t>(definitions_[budget].limit_override.value_or(definitions_[budget].spec->limit), 0);
      b.needed = amount_of(b.unit, upper);
    }
    return b;
  };

  const bool full = !dry && in_flight_ >= options_.max_reservations;
  if (full || (store_refuses() && !charges.empty()))
    refuse(charges.empty() ? 0 : charges[0].budget, charges.empty() ? "" : charges[0].key,
           full ? BreachReason::kCapacity : BreachReason::kStore);

  scratch_.clear();
  for (const Charge& charge : charges) {
    if (charge.budget >= definitions_.size()) PN_BUG("unknown budget id");
    const BudgetSpec& spec = *definitions_[charge.budget].spec;
    Instance* instance = dry ? peek(charge.budget, charge.key, t) : account(charge.budget, charge.key, t);
    if (instance && std::any_of(scratch_.begin(), scratch_.end(), [&](const auto& s) { return s.first == instance; }))
      continue;
    if (!instance && !dry) {
      refuse(charge.budget, charge.key, BreachReason::kCapacity);
      continue;
    }
    if (instance) {
      scratch_.emplace_back(instance, false);
      ++instance->references;  // a later account() of this loop must not evict it
    }
    if (spec.unit == BudgetUnit::kNanoUsd && !upper.cost) {
      if (spec.allow_unpriced)
        stats_.unpriced_admitted += dry ? 0 : 1;
      else
        refuse(charge.budget, charge.key, BreachReason::kUnpriced);
      continue;
    }
    const std::int64_t needed = amount_of(spec.unit, upper);
    const std::int64_t used = instance ? instance->used() : 0;
    const std::int64_t limit =
        instance ? limit_of(*instance)
                 : std::max<std::int64_t>(definitions_[charge.budget].limit_override.value_or(spec.limit), 0);
    // A saturated sum is beyond every limit, also beyond the largest.
    if (add(used, needed) > limit || add(used, needed) == kMaxAmount) {
      Breach& b = refuse(charge.budget, charge.key, BreachReason::kLimit);
      b.limit = limit;
      b.needed = needed;
      b.remaining = sub(limit, used);
      if (instance) {
        b.retry_after_ns = instance->fits_after(t, limit, needed);
        scratch_.back().second = true;
        if (!dry) ++instance->breaches;
      }
    }
  }
  out.admitted = out.breaches.empty() || (force && !full);
  for (auto [instance, no_room] : scratch_) --instance->references;
  if (dry) return out;
  if (!out.admitted) {
    ++stats_.refused;
    maybe_commit(now);
    return out;
  }

  Call& call = new_call(exchange_id);
  call.real_ns = now.real_ns;
  for (auto [instance, no_room] : scratch_) {
    const BudgetSpec& spec = *definitions_[instance->spec].spec;
    Held held;
    held.instance = instance;
    held.unit = spec.unit;
    held.mark = instance->current_mark(t);
    held.epoch = instance->epoch;
    held.limit_generation = instance->limit_generation;
    held.reserved = amount_of(spec.unit, upper);
    held.forced = no_room;
    instance->add_reserved(*instance->cell(held.mark, true), held.reserved);
    ++instance->references;
    ++instance->in_flight;
    // An account the store has not heard of would have no name after a crash until its next call: commit soon.
    commit_wanted_ |= store_ && instance->identity_dirty;
    call.held.push_back(held);
    note_crossings(*instance, out, t);
  }
  ++stats_.reserved;
  journal_reserve(call);
  maybe_commit(now);
  return out;
}

Outcome Ledger::Impl::progress(std::uint64_t exchange_id, const Amounts& so_far, Now now) {
  Outcome out;
  Call* call = find_call(exchange_id);
  if (!call || call->correct_until_ns != 0) {
    out.known = false;
    return out;
  }
  const LedgerTime t = at(now);
  bool grew_any = false;
  for (Held& h : call->held) {
    Instance& instance = *h.instance;
    if (h.epoch != instance.epoch) continue;
    instance.roll(t);
    Cell* cell = instance.cell(h.mark);
    if (!cell) continue;  // the window of this call is over
    const std::int64_t taken = h.unit == BudgetUnit::kNanoUsd && !so_far.cost ? h.reserved : amount_of(h.unit, so_far);
    const bool grew = taken > h.reserved;
    if (grew) {
      instance.add_reserved(*cell, taken - h.reserved);
      h.reserved = taken;
      grew_any = true;
      note_crossings(instance, out, t);
    }
    if (instance.orphan || h.forced || (!grew && h.limit_generation == instance.limit_generation)) continue;
    const std::int64_t limit = limit_of(instance);
    if (instance.used() <= limit) continue;
    const BudgetSpec& spec = *definitions_[instance.spec].spec;
    out.breached = true;
    ++instance.breaches;
    out.breaches.push_back({instance.spec,
                            instance.key,
                            BreachReason::kLimit,
                            spec.on_breach,
                            h.unit,
                            limit,
                            sub(limit, instance.used()),
                            taken,
                            {}});
  }
  if (grew_any) {
    journal_update(*call);
    if (store_ && !call->queued) {
      call->queued = true;
      opened_.emplace_back(call, call->generation);
    }
  }
  maybe_commit(now);
  return out;
}

// Takes the reservation back and charges `charge(held)` instead, in every account whose cell is still there.
Outcome Ledger::Impl::close(Call& call, const std::function<std::int64_t(const Held&)>& charge, bool estimated,
                            Now now) {
  Outcome out;
  const LedgerTime t = at(now);
  changes_.clear();
  for (Held& h : call.held) {
    Instance& instance = *h.instance;
    const std::int64_t amount = charge(h);
    --instance.in_flight;
    changes_.push_back({instance.id, h.mark, h.epoch, 0, amount, estimated ? amount : 0});
    if (h.epoch == instance.epoch) {
      instance.roll(t);
      if (Cell* cell = instance.cell(h.mark)) {
        instance.add_reserved(*cell, -h.reserved);
        if (!instance.add_spent(*cell, amount, estimated ? amount : 0)) ++stats_.saturated;
        mark_dirty(instance);
        if (amount < h.reserved) ++capacity_epoch_;
        note_crossings(instance, out, t);
      }
    }
    h.reserved = amount;
  }
  journal_settle(call, changes_);
  return out;
}

Outcome Ledger::Impl::correct(Call& call, const Amounts& actual, Now now) {
  Outcome out;
  const LedgerTime t = at(now);
  changes_.clear();
  for (Held& h : call.held) {
    Instance& instance = *h.instance;
    const std::int64_t was = h.reserved;
    const std::int64_t is = h.unit == BudgetUnit::kNanoUsd && !actual.cost ? was : amount_of(h.unit, actual);
    const std::int64_t estimate_gone = h.unit == BudgetUnit::kNanoUsd && !actual.cost ? 0 : -was;
    changes_.push_back({instance.id, h.mark, h.epoch, 0, is - was, estimate_gone});
    if (h.epoch != instance.epoch) continue;
    instance.roll(t);
    Cell* cell = instance.cell(h.mark);
    if (!cell) continue;
    if (!instance.add_spent(*cell, is - was, estimate_gone)) ++stats_.saturated;
    mark_dirty(instance);
    if (is < was) ++capacity_epoch_;
    note_crossings(instance, out, t);
  }
  ++stats_.corrected;
  // An operation of its own: the estimate may have been committed already.
  call.seq = next_seq_++;
  call.stored = false;
  call.slots.clear();
  journal_settle(call, changes_);
  drop_call(call);
  return out;
}

Outcome Ledger::Impl::settle(std::uint64_t exchange_id, const Amounts& actual, SettleStatus status, Now now) {
  Call* call = find_call(exchange_id);
  Outcome out;
  if (!call || (call->correct_until_ns != 0 && status == SettleStatus::kEstimated)) {
    out.known = call != nullptr;
    return out;
  }
  if (call->correct_until_ns != 0) {
    out = correct(*call, actual, now);
    maybe_commit(now);
    return out;
  }
  const bool estimated = status == SettleStatus::kEstimated;
  out = close(
      *call,
      [&](const Held& h) {
        // No price came with the usage: what was reserved stands.
        return h.unit == BudgetUnit::kNanoUsd && !actual.cost ? h.reserved : amount_of(h.unit, actual);
      },
      estimated, now);
  if (estimated) {
    ++stats_.settled_estimated;
    --in_flight_;
    call->correct_until_ns = std::max<std::uint64_t>(now.boot_ns + options_.late_usage_ns, 1);
    correctable_.emplace_back(call, call->generation);
  } else {
    ++stats_.settled;
    drop_call(*call);
  }
  maybe_commit(now);
  return out;
}

Ledger::Ledger(const Options& options, Store* store, Now now) : impl_(std::make_unique<Impl>(options, store, now)) {}
Ledger::~Ledger() = default;

base::Result<> Ledger::configure(std::vector<BudgetSpec> specs, Now now) {
  return impl_->configure(std::move(specs), now);
}
const std::vector<BudgetSpec>& Ledger::specs() const { return impl_->specs_; }

std::optional<BudgetId> Ledger::find(std::string_view policy, std::string_view name) const {
  for (std::size_t i = 0; i < impl_->specs_.size(); ++i)
    if (impl_->specs_[i].policy == policy && impl_->specs_[i].name == name) return static_cast<BudgetId>(i);
  return std::nullopt;
}

Outcome Ledger::reserve(std::uint64_t exchange_id, std::span<const Charge> charges, const Amounts& upper, Now now,
                        bool force) {
  return impl_->admit(exchange_id, charges, upper, now, force, false);
}
Outcome Ledger::probe(std::span<const Charge> charges, const Amounts& upper, Now now) {
  return impl_->admit(0, charges, upper, now, false, true);
}
Outcome Ledger::progress(std::uint64_t exchange_id, const Amounts& so_far, Now now) {
  return impl_->progress(exchange_id, so_far, now);
}
Outcome Ledger::settle(std::uint64_t exchange_id, const Amounts& actual, SettleStatus status, Now now) {
  return impl_->settle(exchange_id, actual, status, now);
}

Outcome Ledger::settle_estimated(std::uint64_t exchange_id, Now now) {
  Impl::Call* call = impl_->find_call(exchange_id);
  if (!call || call->correct_until_ns != 0) {
    Outcome out;
    out.known = call != nullptr;
    return out;
  }
  Outcome out = impl_->close(
      *call, [](const Impl::Held& h) { return h.reserved; }, true, now);
  ++impl_->stats_.settled_estimated;
  --impl_->in_flight_;
  call->correct_until_ns = std::max<std::uint64_t>(now.boot_ns + impl_->options_.late_usage_ns, 1);
  impl_->correctable_.emplace_back(call, call->generation);
  impl_->maybe_commit(now);
  return out;
}

Outcome Ledger::cancel(std::uint64_t exchange_id, Now now) {
  Impl::Call* call = impl_->find_call(exchange_id);
  if (!call || call->correct_until_ns != 0) {
    Outcome out;
    out.known = false;
    return out;
  }
  Outcome out = impl_->close(
      *call, [](const Impl::Held&) { return std::int64_t{0}; }, false, now);
  ++impl_->stats_.cancelled;
  impl_->drop_call(*call);
  impl_->maybe_commit(now);
  return out;
}

base::Result<> Ledger::set_limit(BudgetId budget, std::optional<std::string_view> key,
                                 std::optional<std::int64_t> limit, Now now) {
  return impl_->set_limit(budget, key, limit, now);
}
base::Result<> Ledger::reset(BudgetId budget, std::optional<std::string_view> key, Now now) {
  return impl_->reset(budget, key, now);
}
std::vector<BudgetStatus> Ledger::list(Now now) { return impl_->list(now); }

std::optional<BudgetStatus> Ledger::status(BudgetId budget, std::string_view key, Now now) {
  const LedgerTime t = impl_->at(now);
  if (budget >= impl_->definitions_.size()) return std::nullopt;
  Instance* instance = impl_->peek(budget, key, t);
  if (!instance && impl_->may_be_stored(budget, key)) instance = impl_->account(budget, key, t);
  if (!instance) return std::nullopt;
  return impl_->status_of(*instance, t);
}

void Ledger::tick(Now now) { impl_->tick(now); }
std::uint64_t Ledger::capacity_epoch() const { return impl_->capacity_epoch_; }
std::uint64_t Ledger::request_commit(Now now) { return impl_->request_commit(now); }
bool Ledger::durable(std::uint64_t ticket) { return impl_->durable(ticket); }
base::Result<> Ledger::flush(Now now, std::uint64_t timeout_ns) { return impl_->flush(now, timeout_ns); }

Ledger::Stats Ledger::stats() const {
  Stats s = impl_->stats_;
  s.instances = impl_->instances_.size();
  s.in_flight = impl_->in_flight_;
  return s;
}

}  // namespace penstock::ledger
