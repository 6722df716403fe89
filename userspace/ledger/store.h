// Durable state of the ledger: an SQLite database (WAL, synchronous=FULL) written by one background thread in group
// commits, and a memory-mapped journal of slots that bridges the time between an acknowledgement and its commit.
//
// The journal survives the death of the process, because its pages belong to the page cache; it is written with plain
// stores, no system call. Put it on a tmpfs (/run): there it never waits for writeback. Loss of power loses what is
// younger than the last commit; Ledger::request_commit waits for that where it matters.
// Recovery: reservations without a settlement are charged at their upper estimate, marked estimated. It is one
// transaction and idempotent. Slots that fail their checksum are counted, never believed.
//
// Thread: open, recover and destroy on the ledger's thread; the writer thread is internal. One process at a time
// (lock). Failure: open() returns errors (unreadable, locked, another schema version): whether to start with empty
// budgets is a person's decision. Later write errors are counted, logged once per change of state, retried with the
// next commit; nothing is dropped meanwhile.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "userspace/base/result.h"
#include "userspace/ledger/ledger.h"

namespace penstock::ledger {

class Store {
 public:
  struct Options {
    std::string database;        // path of the SQLite file; its directory exists
    std::string journal;         // path of the slot journal; empty: database + ".journal"
    std::uint32_t slots = 8192;  // reservations acknowledged but not committed (4 budgets each)
  };
  struct Recovery {
    std::uint64_t settled = 0;        // settlements found in the journal only
    std::uint64_t charged = 0;        // reservations of a dead process, charged at their upper estimate
    std::uint64_t corrupt_slots = 0;  // failed their checksum
    bool journal_foreign = false;     // belonged to another database: set aside
  };
  struct Stats {
    std::uint64_t commits = 0, commit_errors = 0, rows = 0;
    std::uint64_t last_commit_ns = 0;  // duration of the last commit
    bool failing = false;              // the last commit failed
    std::string last_error;
  };

  static base::Result<std::unique_ptr<Store>> open(const Options& options, Now now);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  const Recovery& recovery() const;
  Stats stats() const;
  // eventfd, readable after each commit (read it to clear). Owned by the store.
  int commit_fd() const;

 private:
  friend class Ledger;
  class Impl;
  explicit Store(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace penstock::ledger
