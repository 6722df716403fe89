// Durability: journal slots on the hot path, group commits behind it.
//
// A slot is held from reserve() until a commit covers the settlement. Slots of calls in flight can be given back early,
// once a commit has put the call into the reservation table (spill): a long-running crowd of streams needs no more
// slots than change between two commits.
#include <algorithm>
#include <unordered_set>

#include "userspace/ledger/amount.h"
#include "userspace/ledger/ledger_impl.h"

namespace penstock::ledger {
namespace {

constexpr std::uint64_t kFirstRetryNs = 100'000'000;
constexpr std::uint64_t kLongestRetryNs = 5'000'000'000;
constexpr std::size_t kCharges = Journal::kChargesPerSlot;

}  // namespace

std::uint32_t Ledger::Impl::take_slot(Journal::State state, std::uint64_t seq, std::uint64_t settle_seq,
                                      std::int64_t real_ns, std::uint64_t exchange_id,
                                      std::span<const JournalCharge> charges) {
  Journal& journal = store_->journal();
  if (journal.free_slots() == 0) reap();
  if (journal.free_slots() == 0 && !store_->failing()) {
    // The pipeline has outrun the disk. Wait for it, twice at most: for the commit under way, which may not know of the
    // newest settlements, and for one that does.
    ++stats_.slot_waits;
    for (int i = 0; i < 2 && journal.free_slots() == 0; ++i) {
      if (store_->idle()) submit({last_submit_ns_, real_ns});
      if (!store_->wait(options_.commit_wait_ns)) break;
      reap();
      if (journal.free_slots() == 0) spill();
    }
  }
  const std::uint32_t slot = journal.write(state, seq, settle_seq, real_ns, exchange_id, charges);
  if (slot == Journal::kNoSlot) ++stats_.undurable;
  return slot;
}

// Gives back the slots of calls in flight whose rows are on disk.
void Ledger::Impl::spill() {
  for (auto& call : calls_) {
    if (call->generation == 0 || call->ended || !call->stored || call->queued) continue;
    for (std::uint32_t slot : call->slots) store_->journal().release(slot);
    call->slots.clear();
  }
}

void Ledger::Impl::journal_reserve(Call& call) {
  if (!store_ || call.held.empty()) return;
  std::array<JournalCharge, kCharges> part{};
  for (std::size_t i = 0; i < call.held.size(); i += kCharges) {
    const std::size_t n = std::min(kCharges, call.held.size() - i);
    for (std::size_t j = 0; j < n; ++j) {
      const Held& h = call.held[i + j];
      part[j] = {h.instance->id, h.mark, h.epoch, 0, h.reserved, 0};
    }
    const std::uint32_t slot =
        take_slot(Journal::State::kReserved, call.seq, 0, call.real_ns, call.exchange_id, std::span(part).first(n));
    if (slot == Journal::kNoSlot) break;
    call.slots.push_back(slot);
  }
  call.queued = true;
  opened_.emplace_back(&call, call.generation);
}

void Ledger::Impl::journal_update(Call& call) {
  if (!store_ || call.held.empty()) return;
  if (call.slots.empty()) {  // given back by spill(): a new slot with the same number stands for the call
    const bool queued = call.queued;
    journal_reserve(call);
    if (queued) opened_.pop_back();
    return;
  }
  std::array<JournalCharge, kCharges> part{};
  for (std::size_t s = 0; s < call.slots.size(); ++s) {
    const std::size_t n = std::min(kCharges, call.held.size() - s * kCharges);
    for (std::size_t j = 0; j < n; ++j) part[j].amount = call.held[s * kCharges + j].reserved;
    store_->journal().update(call.slots[s], Journal::State::kReserved, 0, std::span(part).first(n));
  }
}

void Ledger::Impl::journal_settle(Call& call, std::span<const JournalCharge> charges) {
  last_settle_seq_ = next_seq_++;
  // Before any slot is taken: taking one may commit, and that commit carries the settled amounts. Were the call still
  // open in it, a crash before the next commit would charge it twice.
  call.ended = true;
  if (call.stored) closed_.push_back(call.seq);
  call.stored = false;
  if (!store_ || charges.empty()) return;
  slots_.swap(call.slots);
  call.slots.clear();
  for (std::size_t i = 0, s = 0; i < charges.size(); i += kCharges, ++s) {
    const auto part = charges.subspan(i, std::min(kCharges, charges.size() - i));
    std::uint32_t slot = Journal::kNoSlot;
    if (s < slots_.size()) {
      slot = slots_[s];
      store_->journal().update(slot, Journal::State::kSettled, last_settle_seq_, part);
    } else {
      slot = take_slot(Journal::State::kSettled, call.seq, last_settle_seq_, call.real_ns, call.exchange_id, part);
    }
    if (slot != Journal::kNoSlot) settled_slots_.emplace_back(last_settle_seq_, slot);
  }
}

bool Ledger::Impl::anything_to_commit() const {
  return !dirty_.empty() || !opened_.empty() || !closed_.empty() || !settled_slots_.empty() || !limit_changes_.empty();
}

// Takes the state of everything that changed, as of now, and hands it to the writer.
void Ledger::Impl::submit(Now now) {
  auto batch = std::make_unique<Batch>();
  batch->number = ++submitted_;
  batch->covered_seq = last_settle_seq_;
  batch->real_ns = now.real_ns;
  // A reservation on disk names accounts: they must be known there, too.
  for (auto [call, generation] : opened_) {
    if (call->generation != generation) continue;
    for (const Held& h : call->held)
      if (h.instance->identity_dirty) mark_dirty(*h.instance);
  }
  batch->instances.reserve(dirty_.size());
  for (Instance* instance : dirty_) {
    InstanceRow row;
    row.id = instance->id;
    row.epoch = instance->epoch;
    if (instance->identity_dirty) {
      const BudgetSpec& spec = *instance->origin;
      row.identity = true;
      row.policy = spec.policy;
      row.name = spec.name;
      row.unit = spec.unit;
      row.window = spec.window.text();
      row.key = instance->key;
      row.limit_override = instance->limit_override;
      instance->identity_dirty = false;
    }
    row.wiped = std::exchange(instance->wiped, false);
    row.dropped = std::exchange(instance->dropped, {});
    for (Cell& cell : instance->cells()) {
      if (!cell.dirty) continue;
      row.cells.push_back(cell);
      cell.dirty = false;
    }
    instance->dirty = false;
    instance->batch = batch->number;
    batch->instances.push_back(std::move(row));
  }
  dirty_.clear();
  for (auto [call, generation] : opened_) {
    if (call->generation != generation || call->ended) continue;
    for (const Held& h : call->held) batch->opened.push_back({call->seq, h.instance->id, h.epoch, h.mark, h.reserved});
    call->stored = true;
    call->queued = false;
  }
  opened_.clear();
  batch->closed = std::exchange(closed_, {});
  batch->limits = std::exchange(limit_changes_, {});
  last_submit_ns_ = std::max(last_submit_ns_, now.boot_ns);
  commit_wanted_ = false;
  store_->submit(std::move(batch));
}

void Ledger::Impl::reap() {
  if (!store_) return;
  bool ok = false;
  const std::unique_ptr<Batch> batch = store_->collect(&ok);
  if (!batch) return;
  if (ok) {
    committed_ = batch->number;
    retry_wait_ns_ = 0;
    while (!settled_slots_.empty() && settled_slots_.front().first <= batch->covered_seq) {
      store_->journal().release(settled_slots_.front().second);
      settled_slots_.pop_front();
    }
    return;
  }
  // Nothing of it is on disk: everything it carried is due again, with the values of then.
  ++stats_.commits_failed;
  retry_wait_ns_ = std::clamp(retry_wait_ns_ * 2, kFirstRetryNs, kLongestRetryNs);
  retry_at_ns_ = last_submit_ns_ + retry_wait_ns_;
  for (const InstanceRow& row : batch->instances) {
    const auto found = instances_.find(std::string(reinterpret_cast<const char*>(&row.id), sizeof row.id));
    if (found == instances_.end()) PN_BUG("an account left before its commit");
    Instance& instance = *found->second;
    instance.identity_dirty |= row.identity;
    if (row.wiped) instance.wiped = true;
    instance.dropped.insert(instance.dropped.end(), row.dropped.begin(), row.dropped.end());
    if (row.epoch == instance.epoch) {
      for (const Cell& was : row.cells)
        if (Cell* cell = instance.cell(was.mark)) cell->dirty = true;
    }
    mark_dirty(instance);
  }
  std::unordered_set<std::uint64_t> opened;
  for (const OpenRow& row : batch->opened) opened.insert(row.seq);
  for (auto& call : calls_) {
    if (call->generation == 0 || call->queued || call->ended || !opened.contains(call->seq)) continue;
    call->queued = true;
    opened_.emplace_back(call.get(), call->generation);
  }
  closed_.insert(closed_.end(), batch->closed.begin(), batch->closed.end());
  limit_changes_.insert(limit_changes_.begin(), batch->limits.begin(), batch->limits.end());
}

void Ledger::Impl::maybe_commit(Now now) {
  if (!store_) return;
  reap();
  if (!store_->idle() || !anything_to_commit()) return;
  if (retry_wait_ns_ != 0) {
    if (now.boot_ns < retry_at_ns_) return;
  } else if (!commit_wanted_ && now.boot_ns < last_submit_ns_ + options_.commit_interval_ns) {
    return;
  }
  submit(now);
}

void Ledger::Impl::tick(Now now) {
  const LedgerTime t = at(now);
  for (Definition& d : definitions_) {
    if (d.spec->window.kind() != WindowKind::kCalendar || t.real_s < d.span.end_s) continue;
    d.span = d.spec->window.span_at(t.real_s);
    ++capacity_epoch_;
  }
  while (!correctable_.empty()) {
    auto [call, generation] = correctable_.front();
    if (call->generation == generation && call->correct_until_ns > now.boot_ns &&
        correctable_.size() <= options_.max_reservations)
      break;
    correctable_.pop_front();
    if (call->generation == generation) drop_call(*call);
  }
  maybe_commit(now);
}

std::uint64_t Ledger::Impl::request_commit(Now now) {
  if (!store_) return 0;
  reap();
  if (!anything_to_commit()) return submitted_;
  commit_wanted_ = true;
  maybe_commit(now);
  return commit_wanted_ ? submitted_ + 1 : submitted_;
}

bool Ledger::Impl::durable(std::uint64_t ticket) {
  reap();
  return committed_ >= ticket;
}

base::Result<> Ledger::Impl::flush(Now now, std::uint64_t timeout_ns) {
  if (!store_) return {};
  retry_wait_ns_ = 0;
  // At most: the commit under way, then one with the rest.
  for (int i = 0; i < 3; ++i) {
    if (!store_->wait(timeout_ns)) return base::Error{base::ErrorCode::kUnavailable, 0, "ledger store is too slow", {}};
    reap();
    if (retry_wait_ns_ != 0) {
      retry_wait_ns_ = 0;
      if (i > 0)
        return base::Error{base::ErrorCode::kFailure, 0, "ledger store cannot commit", "see the log for the reason"};
    }
    if (!anything_to_commit()) return {};
    submit(now);
  }
  return base::Error{base::ErrorCode::kFailure, 0, "ledger store cannot commit", "see the log for the reason"};
}

}  // namespace penstock::ledger
