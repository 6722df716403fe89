#include "userspace/ledger/instance.h"

#include <algorithm>

#include "userspace/ledger/amount.h"

namespace penstock::ledger {
namespace {

constexpr std::int64_t kCellsPerWindow = 60;
constexpr std::int64_t kSecond = 1'000'000'000;

std::int64_t floor_to(std::int64_t value, std::int64_t step) {
  const std::int64_t rest = value % step;
  return value - (rest < 0 ? rest + step : rest);
}

}  // namespace

std::int64_t cell_width_ns(const Window& window) {
  return (static_cast<std::int64_t>(window.rolling_ns()) + kCellsPerWindow - 1) / kCellsPerWindow;
}

std::int64_t Instance::used() const { return add(spent_, reserved_); }

void Instance::recount() {
  // Summed anew rather than subtracted: a saturated total would otherwise come out too small.
  spent_ = estimated_ = reserved_ = 0;
  for (const Cell& c : cells_) {
    spent_ = add(spent_, c.spent);
    estimated_ = add(estimated_, c.estimated);
    reserved_ = add(reserved_, c.reserved);
  }
}

void Instance::roll(LedgerTime now) {
  std::size_t gone = 0;
  if (window().kind() == WindowKind::kCalendar) {
    // Never backwards: a wall clock that is set back must not reopen a window.
    if (now.real_s < mark_end_) return;
    const WindowSpan span = window().span_at(now.real_s);
    mark_ = span.start_s;
    mark_end_ = span.end_s;
    soft_fired_ = 0;
    while (gone < cells_.size() && cells_[gone].mark < mark_) ++gone;
  } else if (window().kind() == WindowKind::kRolling) {
    const auto length = static_cast<std::int64_t>(window().rolling_ns());
    const std::int64_t width = cell_width_ns(window());
    while (gone < cells_.size() && cells_[gone].mark + width + length <= now.ns) ++gone;
    if (soft_fired_ != 0 && now.ns - soft_fired_ns_ >= length) soft_fired_ = 0;
  }
  if (gone == 0) return;
  for (std::size_t i = 0; i < gone; ++i) dropped.push_back(cells_[i].mark);
  cells_.erase(cells_.begin(), cells_.begin() + static_cast<std::ptrdiff_t>(gone));
  recount();
}

std::int64_t Instance::current_mark(LedgerTime now) const {
  switch (window().kind()) {
    case WindowKind::kLifetime:
      return 0;
    case WindowKind::kCalendar:
      return mark_;
    case WindowKind::kRolling: {
      const std::int64_t mark = floor_to(now.ns, cell_width_ns(window()));
      return cells_.empty() ? mark : std::max(mark, cells_.back().mark);
    }
  }
  return 0;
}

Cell* Instance::cell(std::int64_t mark, bool create) {
  if (!cells_.empty() && cells_.back().mark == mark) return &cells_.back();
  auto at =
      std::lower_bound(cells_.begin(), cells_.end(), mark, [](const Cell& c, std::int64_t m) { return c.mark < m; });
  if (at != cells_.end() && at->mark == mark) return &*at;
  if (!create) return nullptr;
  return &*cells_.insert(at, Cell{mark, 0, 0, 0, false});
}

void Instance::add_reserved(Cell& c, std::int64_t change) {
  c.reserved = add(c.reserved, change);
  reserved_ = add(reserved_, change);
}

bool Instance::add_spent(Cell& c, std::int64_t change, std::int64_t estimated_change) {
  c.spent = add(c.spent, change);
  c.estimated = std::min(add(c.estimated, estimated_change), c.spent);
  c.dirty = true;
  if (change >= 0 && estimated_change >= 0) {
    spent_ = add(spent_, change);
    estimated_ = std::min(add(estimated_, estimated_change), spent_);
  } else {
    recount();
  }
  return spent_ != kMaxAmount;
}

void Instance::restore(std::uint32_t stored_epoch, std::optional<std::int64_t> stored_limit, std::vector<Cell> cells,
                       LedgerTime now) {
  epoch = stored_epoch;
  limit_override = stored_limit;
  identity_dirty = false;
  cells_.clear();
  if (window().kind() == WindowKind::kCalendar) {
    const WindowSpan span = window().span_at(now.real_s);
    mark_ = span.start_s;
    mark_end_ = span.end_s;
  }
  const std::int64_t latest =
      window().kind() == WindowKind::kRolling ? floor_to(now.ns, cell_width_ns(window())) : mark_;
  std::sort(cells.begin(), cells.end(), [](const Cell& a, const Cell& b) { return a.mark < b.mark; });
  for (Cell c : cells) {
    if (window().kind() != WindowKind::kLifetime && c.mark > latest) {
      dropped.push_back(c.mark);
      c.mark = latest;
      c.dirty = true;
    }
    Cell* into = cell(c.mark, true);
    into->spent = add(into->spent, c.spent);
    into->estimated = add(into->estimated, c.estimated);
    into->dirty |= c.dirty;
  }
  if (window().kind() == WindowKind::kCalendar) {
    std::size_t gone = 0;
    while (gone < cells_.size() && cells_[gone].mark < mark_) dropped.push_back(cells_[gone++].mark);
    cells_.erase(cells_.begin(), cells_.begin() + static_cast<std::ptrdiff_t>(gone));
  }
  recount();
  roll(now);
}

void Instance::reset() {
  ++epoch;
  cells_.clear();
  dropped.clear();
  wiped = true;
  identity_dirty = true;
  rearm();
  recount();
}

std::optional<std::uint64_t> Instance::fits_after(LedgerTime now, std::int64_t limit, std::int64_t needed) const {
  if (needed > limit) return std::nullopt;
  switch (window().kind()) {
    case WindowKind::kLifetime:
      return std::nullopt;
    case WindowKind::kCalendar:
      return static_cast<std::uint64_t>(std::max<std::int64_t>(mark_end_ - now.real_s, 1)) * std::uint64_t{kSecond};
    case WindowKind::kRolling: {
      const std::int64_t length = static_cast<std::int64_t>(window().rolling_ns()) + cell_width_ns(window());
      std::int64_t left = 0;
      std::optional<std::int64_t> at;
      // From the newest cell backwards: the oldest cells that must be gone before the rest and the call fit together.
      for (auto c = cells_.rbegin(); c != cells_.rend(); ++c) {
        left = add(left, add(c->spent, c->reserved));
        if (add(left, needed) > limit) {
          at = c->mark + length;
          break;
        }
      }
      if (!at) return 0;
      return static_cast<std::uint64_t>(std::max<std::int64_t>(*at - now.ns, 1));
    }
  }
  return std::nullopt;
}

void Instance::crossings(const std::vector<std::uint32_t>& permille, LedgerTime now, std::int64_t limit,
                         std::vector<SoftCrossing>& out) {
  for (std::size_t i = 0; i < permille.size() && i < 64; ++i) {
    const std::uint64_t bit = std::uint64_t{1} << i;
    if ((soft_fired_ & bit) != 0) continue;
    if (model::Int128{used()} * 1000 < model::Int128{limit} * permille[i] || used() == 0) continue;
    if (soft_fired_ == 0 && window().kind() == WindowKind::kRolling) soft_fired_ns_ = now.ns;
    soft_fired_ |= bit;
    out.push_back({spec, key, permille[i], used(), limit});
  }
}

}  // namespace penstock::ledger
