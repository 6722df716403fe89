#include "userspace/ledger/store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>

#include "userspace/base/log.h"
#include "userspace/ledger/amount.h"
#include "userspace/ledger/store_impl.h"

namespace penstock::ledger {
namespace {

constexpr int kSchemaVersion = 1;
constexpr const char* kSchema = R"sql(
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
-- One account. policy is NULL while only its id is known (recovered from the journal before it was ever committed).
CREATE TABLE instance(id BLOB PRIMARY KEY, policy TEXT, name TEXT, unit INTEGER, "window" TEXT, key TEXT,
                      epoch INTEGER NOT NULL, limit_override INTEGER, updated_real_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX instance_by_budget ON instance(policy, name, unit, "window", updated_real_ns);
CREATE TABLE cell(id BLOB NOT NULL, mark INTEGER NOT NULL, spent INTEGER NOT NULL, estimated INTEGER NOT NULL,
                  PRIMARY KEY(id, mark)) WITHOUT ROWID;
-- In flight when the last commit was made.
CREATE TABLE reservation(seq INTEGER NOT NULL, id BLOB NOT NULL, epoch INTEGER NOT NULL, mark INTEGER NOT NULL,
                         amount INTEGER NOT NULL, PRIMARY KEY(seq, id)) WITHOUT ROWID;
CREATE TABLE budget_limit(policy TEXT NOT NULL, name TEXT NOT NULL, unit INTEGER NOT NULL, "limit" INTEGER NOT NULL,
                          PRIMARY KEY(policy, name, unit)) WITHOUT ROWID;
)sql";

std::array<std::uint8_t, 16> blob_of(InstanceId id) {
  std::array<std::uint8_t, 16> bytes{};
  for (unsigned i = 0; i < 8; ++i) {
    bytes[i] = static_cast<std::uint8_t>(id.high >> (56 - 8 * i));
    bytes[8 + i] = static_cast<std::uint8_t>(id.low >> (56 - 8 * i));
  }
  return bytes;
}

InstanceId id_of(const void* blob, int bytes) {
  InstanceId id;
  if (bytes != 16) return id;
  const auto* b = static_cast<const std::uint8_t*>(blob);
  for (unsigned i = 0; i < 8; ++i) {
    id.high = id.high << 8 | b[i];
    id.low = id.low << 8 | b[8 + i];
  }
  return id;
}

std::string hex(const Journal::Uuid& uuid) {
  std::string out;
  for (std::uint8_t b : uuid) out += fmt::format("{:02x}", b);
  return out;
}

std::uint64_t monotonic_ns() {
  return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

}  // namespace

// A prepared statement for one use; SQLite's own cache is the connection's page cache, preparing costs microseconds on
// a thread that waits for the disk anyway. Values are bound by position; errors surface in step() and done().
class Store::Impl::Statement {
 public:
  Statement(sqlite3* db, const char* sql) : db_(db) { rc_ = ::sqlite3_prepare_v2(db, sql, -1, &statement_, nullptr); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement() { ::sqlite3_finalize(statement_); }

  Statement& bind(std::int64_t value) { return note(::sqlite3_bind_int64(statement_, next_++, value)); }
  Statement& bind(std::string_view text) {
    return note(::sqlite3_bind_text(statement_, next_++, text.data(), static_cast<int>(text.size()), SQLITE_TRANSIENT));
  }
  Statement& bind(InstanceId id) {
    const auto bytes = blob_of(id);
    return note(::sqlite3_bind_blob(statement_, next_++, bytes.data(), 16, SQLITE_TRANSIENT));
  }
  Statement& bind(const std::optional<std::int64_t>& value) {
    return value ? bind(*value) : note(::sqlite3_bind_null(statement_, next_++));
  }
  // True while there is a row.
  bool step() {
    if (rc_ != SQLITE_OK && rc_ != SQLITE_ROW) return false;
    rc_ = ::sqlite3_step(statement_);
    return rc_ == SQLITE_ROW;
  }
  // For statements without rows; ready for the next values afterwards.
  bool run() {
    step();
    const bool ok = rc_ == SQLITE_DONE;
    if (ok) rc_ = ::sqlite3_reset(statement_);
    next_ = 1;
    return ok;
  }
  bool ok() const { return rc_ == SQLITE_OK || rc_ == SQLITE_ROW || rc_ == SQLITE_DONE; }
  std::int64_t integer(int column) const { return ::sqlite3_column_int64(statement_, column); }
  bool null(int column) const { return ::sqlite3_column_type(statement_, column) == SQLITE_NULL; }
  std::string text(int column) const {
    const auto* data = reinterpret_cast<const char*>(::sqlite3_column_text(statement_, column));
    return data ? std::string(data, static_cast<std::size_t>(::sqlite3_column_bytes(statement_, column)))
                : std::string();
  }
  InstanceId id(int column) const {
    const void* blob = ::sqlite3_column_blob(statement_, column);
    return id_of(blob, ::sqlite3_column_bytes(statement_, column));
  }

 private:
  Statement& note(int rc) {
    if (rc_ == SQLITE_OK) rc_ = rc;
    return *this;
  }
  sqlite3* db_;
  sqlite3_stmt* statement_ = nullptr;
  int rc_ = SQLITE_OK;
  int next_ = 1;
};

base::Error Store::Impl::sql_error(std::string_view what) const {
  const int system = db_ ? ::sqlite3_system_errno(db_) : 0;
  return {base::ErrorCode::kFailure, system,
          fmt::format("{} {}: {}", what, options_.database, db_ ? ::sqlite3_errmsg(db_) : "out of memory"),
          "if the file is damaged, move it aside to start with empty budgets"};
}

base::Result<> Store::Impl::exec(const char* sql) {
  if (::sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) return sql_error("ledger database");
  return {};
}

base::Result<std::string> Store::Impl::meta(const char* key) {
  Statement s(db_, "SELECT value FROM meta WHERE key = ?");
  s.bind(std::string_view(key));
  std::string value;
  if (s.step()) value = s.text(0);
  if (!s.ok()) return sql_error("read");
  return value;
}

base::Result<> Store::Impl::set_meta(const char* key, std::string_view value) {
  Statement s(db_, "INSERT INTO meta VALUES(?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value");
  if (!s.bind(std::string_view(key)).bind(value).run()) return sql_error("write");
  return {};
}

base::Result<> Store::Impl::open(const Options& options, Now) {
  options_ = options;
  if (options_.journal.empty()) options_.journal = options_.database + ".journal";
  const std::string lock = options_.database + ".lock";
  lock_ = base::Fd(::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock_) return base::errno_error(errno, "open " + lock, "is the state directory there and writable?");
  if (::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0)
    return base::Error{base::ErrorCode::kUnavailable, errno, options_.database + " is in use",
                       "another penstockd runs with this state directory"};
  commit_fd_ = base::Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!commit_fd_) return base::errno_error(errno, "eventfd");

  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  if (::sqlite3_open_v2(options_.database.c_str(), &db_, flags, nullptr) != SQLITE_OK) return sql_error("open");
  ::sqlite3_busy_timeout(db_, 5000);
  PN_CHECK(exec("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY"));
  PN_CHECK(migrate());

  PN_TRY(auto content, Journal::read(options_.journal));
  recovery_.corrupt_slots = content.corrupt;
  PN_TRY(const std::string uuid, meta("uuid"));
  if (content.present && hex(content.database) != uuid) {
    const std::string aside = options_.journal + ".foreign";
    if (::rename(options_.journal.c_str(), aside.c_str()) != 0)
      return base::errno_error(errno, "rename " + options_.journal);
    base::log_warning("ledger journal={} belongs to another database, set aside as {}", options_.journal, aside);
    recovery_.journal_foreign = true;
    content = {};
  }
  PN_CHECK(recover(content));

  Journal::Uuid database{};
  for (std::size_t i = 0; i < database.size(); ++i)
    std::from_chars(uuid.data() + 2 * i, uuid.data() + 2 * i + 2, database[i], 16);
  PN_TRY(journal_, Journal::create(options_.journal, database, options_.slots));

  Statement limits(db_, "SELECT policy, name, unit, \"limit\" FROM budget_limit");
  while (limits.step())
    limits_.push_back({limits.text(0), limits.text(1), static_cast<BudgetUnit>(limits.integer(2)), limits.integer(3)});
  Statement unnamed(db_, "SELECT id FROM instance WHERE policy IS NULL");
  while (unnamed.step()) unnamed_.insert(unnamed.id(0));
  if (!limits.ok() || !unnamed.ok()) return sql_error("read");

  if (::sqlite3_open_v2(options_.database.c_str(), &reader_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr) !=
      SQLITE_OK)
    return sql_error("open");
  writer_ = std::thread([this] { run(); });
  return {};
}

base::Result<> Store::Impl::migrate() {
  Statement version(db_, "PRAGMA user_version");
  if (!version.step()) return sql_error("read");
  const std::int64_t found = version.integer(0);
  if (found == kSchemaVersion) return {};
  if (found != 0)
    return base::Error{base::ErrorCode::kFailure, 0,
                       fmt::format("{} has schema {}, this program knows {}", options_.database, found, kSchemaVersion),
                       "run the newer penstockd, or move the file aside to start with empty budgets"};
  Journal::Uuid uuid{};
  if (::getrandom(uuid.data(), uuid.size(), 0) != static_cast<ssize_t>(uuid.size()))
    return base::errno_error(errno, "getrandom");
  PN_CHECK(exec("BEGIN IMMEDIATE"));
  PN_CHECK(exec(kSchema));
  PN_CHECK(set_meta("uuid", hex(uuid)));
  PN_CHECK(set_meta("covered_seq", "0"));
  PN_CHECK(exec(fmt::format("PRAGMA user_version = {}", kSchemaVersion).c_str()));
  return exec("COMMIT");
}

base::Result<> Store::Impl::apply(InstanceId id, std::uint32_t epoch, std::int64_t mark, std::int64_t amount,
                                  std::int64_t estimated) {
  if (amount == 0 && estimated == 0) return {};
  Statement known(db_, "SELECT epoch FROM instance WHERE id = ?");
  known.bind(id);
  const bool present = known.step();
  if (!known.ok()) return sql_error("read");
  const auto stored = present ? static_cast<std::uint32_t>(known.integer(0)) : epoch;
  if (stored > epoch) return {};  // from before a reset
  if (!present || stored < epoch) {
    Statement put(db_,
                  "INSERT INTO instance(id, epoch, updated_real_ns) VALUES(?, ?, 0)"
                  " ON CONFLICT(id) DO UPDATE SET epoch = excluded.epoch");
    if (!put.bind(id).bind(std::int64_t{epoch}).run()) return sql_error("write");
    Statement wipe(db_, "DELETE FROM cell WHERE id = ?");
    if (!wipe.bind(id).run()) return sql_error("write");
  }
  Statement get(db_, "SELECT spent, estimated FROM cell WHERE id = ? AND mark = ?");
  get.bind(id).bind(mark);
  const bool has = get.step();
  if (!get.ok()) return sql_error("read");
  const std::int64_t spent = add(has ? get.integer(0) : 0, amount);
  const std::int64_t part = std::min(add(has ? get.integer(1) : 0, estimated), spent);
  Statement put(db_, "INSERT OR REPLACE INTO cell VALUES(?, ?, ?, ?)");
  if (!put.bind(id).bind(mark).bind(spent).bind(part).run()) return sql_error("write");
  return {};
}

// Brings the accounts up to the last acknowledged operation. Everything is one transaction which also moves covered_seq
// past every number in use: should the process die before the journal is emptied, the next start finds nothing to do.
base::Result<> Store::Impl::recover(const Journal::Content& content) {
  PN_TRY(const std::string text, meta("covered_seq"));
  std::uint64_t covered = 0;
  std::from_chars(text.data(), text.data() + text.size(), covered);
  std::uint64_t highest = covered;
  // `base`: numbers below it belong to processes that were recovered before.
  PN_TRY(const std::string base_text, meta("base_seq"));
  std::uint64_t base = 0;
  std::from_chars(base_text.data(), base_text.data() + base_text.size(), base);
  highest = std::max(highest, base);

  PN_CHECK(exec("BEGIN IMMEDIATE"));
  std::set<std::pair<std::uint64_t, InstanceId>> handled;
  std::set<std::uint64_t> charged;
  std::vector<Journal::Entry> entries = content.entries;
  // In the order of the settlements: a correction takes back part of an earlier charge and stops at zero.
  std::sort(entries.begin(), entries.end(), [](const Journal::Entry& a, const Journal::Entry& b) {
    return std::pair(a.settle_seq, a.seq) < std::pair(b.settle_seq, b.seq);
  });
  for (const Journal::Entry& entry : entries) {
    highest = std::max({highest, entry.seq, entry.settle_seq});
    if (entry.seq <= base) continue;
    const bool settled = entry.state == Journal::State::kSettled;
    if (settled && entry.settle_seq <= covered) continue;
    for (const JournalCharge& c : entry.charges) {
      if (!handled.emplace(entry.seq, c.id).second) continue;
      PN_CHECK(apply(c.id, c.epoch, c.mark, c.amount, settled ? c.estimated : c.amount));
    }
    if (settled)
      ++recovery_.settled;
    else
      charged.insert(entry.seq);
  }
  std::vector<OpenRow> open;
  {
    Statement rows(db_, "SELECT seq, id, epoch, mark, amount FROM reservation");
    while (rows.step())
      open.push_back({static_cast<std::uint64_t>(rows.integer(0)), rows.id(1),
                      static_cast<std::uint32_t>(rows.integer(2)), rows.integer(3), rows.integer(4)});
    if (!rows.ok()) return sql_error("read");
  }
  for (const OpenRow& row : open) {
    highest = std::max(highest, row.seq);
    if (!handled.emplace(row.seq, row.id).second) continue;
    PN_CHECK(apply(row.id, row.epoch, row.mark, row.amount, row.amount));
    charged.insert(row.seq);
  }
  recovery_.charged = charged.size();
  PN_CHECK(exec("DELETE FROM reservation"));
  PN_CHECK(set_meta("base_seq", fmt::format("{}", highest)));
  PN_CHECK(set_meta("covered_seq", fmt::format("{}", highest)));
  PN_CHECK(exec("COMMIT"));
  first_seq_ = highest + 1;
  if (recovery_.settled + recovery_.charged + recovery_.corrupt_slots > 0)
    base::log_info("ledger recovered settled={} charged_as_estimated={} corrupt_slots={}", recovery_.settled,
                   recovery_.charged, recovery_.corrupt_slots);
  return {};
}

Store::Impl::~Impl() {
  if (writer_.joinable()) {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    writer_.join();
  }
  ::sqlite3_close(reader_);
  ::sqlite3_close(db_);
}

bool Store::Impl::idle() const { return !busy_.load(std::memory_order_acquire); }

void Store::Impl::submit(std::unique_ptr<Batch> batch) {
  {
    std::lock_guard lock(mutex_);
    if (pending_ || writing_ || finished_) PN_BUG("ledger commit submitted while another is under way");
    busy_.store(true, std::memory_order_release);
    pending_ = std::move(batch);
  }
  wake_.notify_all();
}

std::unique_ptr<Batch> Store::Impl::collect(bool* committed) {
  if (!has_finished_.load(std::memory_order_acquire)) return nullptr;
  std::lock_guard lock(mutex_);
  has_finished_.store(false, std::memory_order_relaxed);
  busy_.store(false, std::memory_order_relaxed);
  *committed = finished_ok_;
  return std::move(finished_);
}

bool Store::Impl::wait(std::uint64_t timeout_ns) {
  std::unique_lock lock(mutex_);
  return wake_.wait_for(lock, std::chrono::nanoseconds(timeout_ns), [this] { return !pending_ && !writing_; });
}

void Store::Impl::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return pending_ || stop_; });
    if (!pending_) return;
    std::unique_ptr<Batch> batch = std::move(pending_);
    writing_ = true;
    lock.unlock();
    const std::uint64_t start = monotonic_ns();
    auto result = write(*batch);
    if (!result) ::sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
    const std::uint64_t took = monotonic_ns() - start;
    lock.lock();
    if (result) {
      ++stats_.commits;
      stats_.rows += batch->instances.size() + batch->opened.size();
      stats_.last_commit_ns = took;
      if (stats_.failing) base::log_info("ledger store works again after errors={}", stats_.commit_errors);
    } else {
      ++stats_.commit_errors;
      stats_.last_error = result.error().message();
      if (!stats_.failing)
        base::log_error("ledger store cannot commit error=\"{}\": spend is kept in memory and the journal until it can",
                        stats_.last_error);
    }
    stats_.failing = !result;
    failing_.store(!result, std::memory_order_relaxed);
    finished_ok_ = result.has_value();
    finished_ = std::move(batch);
    writing_ = false;
    has_finished_.store(true, std::memory_order_release);
    const std::uint64_t one = 1;
    // Full counter (2^64-2 unread commits) is the only failure: readable anyway.
    [[maybe_unused]] const ssize_t n = ::write(commit_fd_.get(), &one, sizeof one);
    wake_.notify_all();
  }
}

base::Result<> Store::Impl::write(const Batch& batch) {
  PN_CHECK(exec("BEGIN IMMEDIATE"));
  Statement identity(
      db_,
      "INSERT INTO instance VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(id) DO UPDATE SET"
      " policy = excluded.policy, name = excluded.name, unit = excluded.unit, \"window\" = excluded.\"window\","
      " key = excluded.key, epoch = excluded.epoch, limit_override = excluded.limit_override,"
      " updated_real_ns = excluded.updated_real_ns");
  Statement touch(db_, "UPDATE instance SET updated_real_ns = ? WHERE id = ?");
  Statement wipe(db_, "DELETE FROM cell WHERE id = ?");
  Statement drop(db_, "DELETE FROM cell WHERE id = ? AND mark = ?");
  Statement put(db_, "INSERT OR REPLACE INTO cell VALUES(?, ?, ?, ?)");
  for (const InstanceRow& row : batch.instances) {
    if (row.identity) {
      identity.bind(row.id).bind(row.policy).bind(row.name).bind(static_cast<std::int64_t>(row.unit)).bind(row.window);
      identity.bind(row.key).bind(std::int64_t{row.epoch}).bind(row.limit_override).bind(batch.real_ns);
      if (!identity.run()) return sql_error("write");
    } else if (!touch.bind(batch.real_ns).bind(row.id).run()) {
      return sql_error("write");
    }
    if (row.wiped && !wipe.bind(row.id).run()) return sql_error("write");
    for (std::int64_t mark : row.dropped)
      if (!drop.bind(row.id).bind(mark).run()) return sql_error("write");
    for (const Cell& c : row.cells)
      if (!put.bind(row.id).bind(c.mark).bind(c.spent).bind(c.estimated).run()) return sql_error("write");
  }
  Statement open(db_, "INSERT OR REPLACE INTO reservation VALUES(?, ?, ?, ?, ?)");
  for (const OpenRow& row : batch.opened) {
    open.bind(static_cast<std::int64_t>(row.seq))
        .bind(row.id)
        .bind(std::int64_t{row.epoch})
        .bind(row.mark)
        .bind(row.amount);
    if (!open.run()) return sql_error("write");
  }
  Statement close(db_, "DELETE FROM reservation WHERE seq = ?");
  for (std::uint64_t seq : batch.closed)
    if (!close.bind(static_cast<std::int64_t>(seq)).run()) return sql_error("write");
  Statement limit(db_, "INSERT OR REPLACE INTO budget_limit VALUES(?, ?, ?, ?)");
  Statement unlimit(db_, "DELETE FROM budget_limit WHERE policy = ? AND name = ? AND unit = ?");
  for (const LimitRow& row : batch.limits) {
    Statement& s = row.limit ? limit : unlimit;
    s.bind(row.policy).bind(row.name).bind(static_cast<std::int64_t>(row.unit));
    if (row.limit) s.bind(*row.limit);
    if (!s.run()) return sql_error("write");
  }
  PN_CHECK(set_meta("covered_seq", fmt::format("{}", batch.covered_seq)));
  return exec("COMMIT");
}

std::vector<Cell> Store::Impl::cells_of(sqlite3* db, InstanceId id) {
  std::vector<Cell> cells;
  Statement s(db, "SELECT mark, spent, estimated FROM cell WHERE id = ?");
  s.bind(id);
  while (s.step())
    cells.push_back(
        {s.integer(0), std::max<std::int64_t>(s.integer(1), 0), std::max<std::int64_t>(s.integer(2), 0), 0, false});
  return cells;
}

std::vector<StoredInstance> Store::Impl::load(const BudgetSpec& spec, std::size_t limit, bool* more) {
  std::vector<StoredInstance> out;
  Statement s(reader_,
              "SELECT id, key, epoch, limit_override FROM instance WHERE policy = ? AND name = ? AND unit = ? AND "
              "\"window\" = ?"
              " ORDER BY updated_real_ns DESC");
  s.bind(spec.policy).bind(spec.name).bind(static_cast<std::int64_t>(spec.unit)).bind(spec.window.text());
  while (s.step()) {
    if (out.size() == limit) {
      *more = true;
      break;
    }
    StoredInstance row{s.id(0), s.text(1), static_cast<std::uint32_t>(s.integer(2)), {}, {}};
    if (!s.null(3)) row.limit_override = s.integer(3);
    row.cells = cells_of(reader_, row.id);
    out.push_back(std::move(row));
  }
  if (!s.ok()) base::log_error("ledger cannot read {}: {}", options_.database, ::sqlite3_errmsg(reader_));
  return out;
}

std::optional<StoredInstance> Store::Impl::find(InstanceId id) {
  Statement s(reader_, "SELECT key, epoch, limit_override FROM instance WHERE id = ?");
  s.bind(id);
  if (!s.step()) return std::nullopt;
  StoredInstance row{id, s.text(0), static_cast<std::uint32_t>(s.integer(1)), {}, cells_of(reader_, id)};
  if (!s.null(2)) row.limit_override = s.integer(2);
  return row;
}

base::Result<std::unique_ptr<Store>> Store::open(const Options& options, Now now) {
  auto impl = std::make_unique<Impl>();
  PN_CHECK(impl->open(options, now));
  return std::unique_ptr<Store>(new Store(std::move(impl)));
}

Store::Store(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Store::~Store() = default;
const Store::Recovery& Store::recovery() const { return impl_->recovery_; }
Store::Stats Store::stats() const {
  std::lock_guard lock(impl_->mutex_);
  return impl_->stats_;
}
int Store::commit_fd() const { return impl_->commit_fd_.get(); }

}  // namespace penstock::ledger
