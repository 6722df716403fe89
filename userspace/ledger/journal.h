// The slot journal: a memory-mapped file in which each reservation is written down with plain stores before reserve()
// returns. The pages belong to the page cache, so they outlive the process; no system call is made after open().
//
// Slot life: free -> reserved -> settled -> free (after a commit of the database covers the settlement). A slot is made
// valid by one 8-byte store of its state word, after its body; an update goes to the area that is not in force and is
// switched to by the same kind of store. Killed at any instruction, a slot is therefore what it was before or after.
// What only a failing disk can do (torn pages) is found by the checksums.
//
// Thread: the ledger's. Failure: open() returns errors; nothing fails after that (the blocks are allocated at open).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "userspace/base/fd.h"
#include "userspace/base/result.h"

namespace penstock::ledger {

// Identity of a budget instance: SHA-256 of (policy, name, unit, window, key), cut to 128 bits. It lets the journal
// name an instance of which the database has not heard yet.
struct InstanceId {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  auto operator<=>(const InstanceId&) const = default;
};

struct JournalCharge {
  InstanceId id;
  std::int64_t mark = 0;    // which cell of the instance (see instance.h)
  std::uint32_t epoch = 0;  // reset count of the instance
  std::uint32_t padding = 0;
  std::int64_t amount = 0;     // reserved: upper estimate; settled: change of `spent`
  std::int64_t estimated = 0;  // settled: change of the estimated part
};

class Journal {
 public:
  static constexpr std::size_t kChargesPerSlot = 4;
  static constexpr std::uint32_t kNoSlot = 0xffffffff;
  using Uuid = std::array<std::uint8_t, 16>;

  enum class State : std::uint8_t { kFree = 0, kReserved = 1, kSettled = 2 };
  struct Entry {
    State state = State::kFree;
    std::uint64_t seq = 0;         // of the reservation
    std::uint64_t settle_seq = 0;  // of the settlement; 0 while reserved
    std::int64_t real_ns = 0;
    std::uint64_t exchange_id = 0;
    std::vector<JournalCharge> charges;
  };
  struct Content {
    bool present = false;  // a well-formed header was there
    Uuid database{};
    std::vector<Entry> entries;  // all but free and corrupt slots
    std::uint64_t corrupt = 0;
  };

  // What an earlier process left. A missing or foreign file is an empty content, not an error.
  static base::Result<Content> read(const std::string& path);
  // Creates it anew with `slots` free slots: everything in it must have been recovered before.
  static base::Result<Journal> create(const std::string& path, const Uuid& database, std::uint32_t slots);

  Journal() = default;
  Journal(Journal&& other) noexcept;
  Journal& operator=(Journal&& other) noexcept;
  ~Journal();

  std::size_t free_slots() const { return free_.size(); }
  // Takes a free slot and writes it; at most kChargesPerSlot charges. kNoSlot: none is free.
  std::uint32_t write(State state, std::uint64_t seq, std::uint64_t settle_seq, std::int64_t real_ns,
                      std::uint64_t exchange_id, std::span<const JournalCharge> charges);
  // Replaces the amounts of a written slot (same charges, same order), and its state.
  void update(std::uint32_t slot, State state, std::uint64_t settle_seq, std::span<const JournalCharge> charges);
  void release(std::uint32_t slot);

 private:
  struct Slot;
  void unmap();

  void* map_ = nullptr;
  std::size_t map_bytes_ = 0;
  Slot* slots_ = nullptr;
  std::vector<std::uint32_t> free_;
};

}  // namespace penstock::ledger
