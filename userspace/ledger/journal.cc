#include "userspace/ledger/journal.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace penstock::ledger {
namespace {

constexpr std::array<char, 8> kMagic = {'P', 'N', 'J', 'O', 'U', 'R', '1', '\n'};
constexpr std::size_t kHeaderBytes = 4096;  // slots begin on a page of their own
constexpr std::uint32_t kMaxSlots = 1U << 20;

std::uint32_t checksum(std::uint32_t seed, const void* data, std::size_t bytes) {
  return static_cast<std::uint32_t>(::crc32(seed, static_cast<const Bytef*>(data), static_cast<uInt>(bytes)));
}

struct Header {
  std::array<char, 8> magic;
  std::uint32_t slot_bytes;
  std::uint32_t slots;
  Journal::Uuid database;
  std::uint32_t crc;  // of everything before
};

struct Key {
  InstanceId id;
  std::int64_t mark;
  std::uint32_t epoch;
  std::uint32_t padding;
};
struct Body {  // written once, while the slot is free
  std::uint64_t seq;
  std::int64_t real_ns;
  std::uint64_t exchange_id;
  std::array<Key, Journal::kChargesPerSlot> keys;
};
struct Change {
  std::int64_t amount;
  std::int64_t estimated;
};
struct Area {  // two per slot: one in force, one to write the next amounts into
  std::uint64_t settle_seq;
  std::array<Change, Journal::kChargesPerSlot> changes;
  std::uint32_t crc;  // of the above, seeded with the body's
  std::uint32_t padding;
};

// State word: 0 is free; else state | area << 8 | count << 16 in the low half, a check of it and of seq in the high
// half.
std::uint64_t state_word(Journal::State state, unsigned area, std::size_t count, std::uint64_t seq) {
  const auto low = static_cast<std::uint32_t>(state) | area << 8 | static_cast<std::uint32_t>(count) << 16;
  const std::uint64_t mixed = (seq + 0x9e3779b97f4a7c15U + low) * 0xbf58476d1ce4e5b9U;
  return std::uint64_t{low} | (mixed >> 32 | 1) << 32;
}

}  // namespace

struct alignas(64) Journal::Slot {
  std::atomic<std::uint64_t> state;
  Body body;
  std::uint32_t body_crc;
  std::uint32_t padding;
  std::array<Area, 2> areas;
};

base::Result<Journal::Content> Journal::read(const std::string& path) {
  static_assert(sizeof(Slot) == 384 && std::atomic<std::uint64_t>::is_always_lock_free);
  Content content;
  base::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) {
    if (errno == ENOENT) return content;
    return base::errno_error(errno, "open " + path);
  }
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) return base::errno_error(errno, "stat " + path);
  if (!S_ISREG(st.st_mode)) return base::Error{base::ErrorCode::kFailure, 0, path + " is not a file", {}};
  std::vector<std::uint8_t> bytes(std::min<std::size_t>(static_cast<std::size_t>(st.st_size),
                                                        kHeaderBytes + std::size_t{kMaxSlots} * sizeof(Slot)));
  std::size_t have = 0;
  while (have < bytes.size()) {
    const ssize_t n = ::pread(fd.get(), bytes.data() + have, bytes.size() - have, static_cast<off_t>(have));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::errno_error(errno, "read " + path);
    if (n == 0) break;
    have += static_cast<std::size_t>(n);
  }
  if (have < kHeaderBytes) return content;
  Header header{};
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.magic != kMagic || header.slot_bytes != sizeof(Slot) ||
      header.crc != checksum(0, &header, offsetof(Header, crc)))
    return content;
  content.present = true;
  content.database = header.database;
  const std::size_t slots = std::min<std::size_t>(header.slots, (have - kHeaderBytes) / sizeof(Slot));
  for (std::size_t i = 0; i < slots; ++i) {
    const std::uint8_t* at = bytes.data() + kHeaderBytes + i * sizeof(Slot);
    std::uint64_t word = 0;
    Body body{};
    std::uint32_t body_crc = 0;
    std::array<Area, 2> areas{};
    std::memcpy(&word, at, sizeof word);
    if (word == 0) continue;
    std::memcpy(&body, at + offsetof(Slot, body), sizeof body);
    std::memcpy(&body_crc, at + offsetof(Slot, body_crc), sizeof body_crc);
    std::memcpy(areas.data(), at + offsetof(Slot, areas), sizeof areas);
    const auto state = static_cast<State>(word & 0xff);
    const unsigned area = word >> 8 & 0xff;
    const std::size_t count = word >> 16 & 0xffff;
    const bool valid = (state == State::kReserved || state == State::kSettled) && area < 2 && count >= 1 &&
                       count <= kChargesPerSlot && word == state_word(state, area, count, body.seq) &&
                       body_crc == checksum(0, &body, sizeof body) &&
                       areas[area].crc == checksum(body_crc, &areas[area], offsetof(Area, crc));
    if (!valid) {
      ++content.corrupt;
      continue;
    }
    Entry entry{state, body.seq, areas[area].settle_seq, body.real_ns, body.exchange_id, {}};
    for (std::size_t c = 0; c < count; ++c)
      entry.charges.push_back({body.keys[c].id, body.keys[c].mark, body.keys[c].epoch, 0, areas[area].changes[c].amount,
                               areas[area].changes[c].estimated});
    content.entries.push_back(std::move(entry));
  }
  return content;
}

base::Result<Journal> Journal::create(const std::string& path, const Uuid& database, std::uint32_t slots) {
  if (slots == 0 || slots > kMaxSlots)
    return base::Error{base::ErrorCode::kUsage, 0, "journal slots must be between 1 and 1048576", {}};
  base::Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return base::errno_error(errno, "open " + path);
  const std::size_t bytes = kHeaderBytes + std::size_t{slots} * sizeof(Slot);
  // Emptied first: old slots must never be read with the new header. Allocated at once: a store into a hole of a full
  // file system would be a SIGBUS.
  if (::ftruncate(fd.get(), 0) != 0) return base::errno_error(errno, "truncate " + path);
  if (const int err = ::posix_fallocate(fd.get(), 0, static_cast<off_t>(bytes)); err != 0)
    return base::errno_error(err, "allocate " + path, "free some space or choose another place for the journal");
  void* map = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd.get(), 0);
  if (map == MAP_FAILED) return base::errno_error(errno, "map " + path);
  Journal journal;
  journal.map_ = map;
  journal.map_bytes_ = bytes;
  journal.slots_ = reinterpret_cast<Slot*>(static_cast<std::uint8_t*>(map) + kHeaderBytes);
  Header header{kMagic, sizeof(Slot), slots, database, 0};
  header.crc = checksum(0, &header, offsetof(Header, crc));
  std::memcpy(map, &header, sizeof header);
  journal.free_.reserve(slots);
  for (std::uint32_t i = slots; i-- > 0;) journal.free_.push_back(i);  // low slots are used first: fewer pages in use
  return journal;
}

Journal::Journal(Journal&& other) noexcept { *this = std::move(other); }

Journal& Journal::operator=(Journal&& other) noexcept {
  if (this == &other) return *this;
  unmap();
  map_ = std::exchange(other.map_, nullptr);
  map_bytes_ = std::exchange(other.map_bytes_, 0);
  slots_ = std::exchange(other.slots_, nullptr);
  free_ = std::move(other.free_);
  return *this;
}

Journal::~Journal() { unmap(); }

void Journal::unmap() {
  if (map_) ::munmap(map_, map_bytes_);
  map_ = nullptr;
}

std::uint32_t Journal::write(State state, std::uint64_t seq, std::uint64_t settle_seq, std::int64_t real_ns,
                             std::uint64_t exchange_id, std::span<const JournalCharge> charges) {
  if (free_.empty()) return kNoSlot;
  if (charges.empty() || charges.size() > kChargesPerSlot) PN_BUG("journal slot with a wrong number of charges");
  const std::uint32_t index = free_.back();
  free_.pop_back();
  Slot& slot = slots_[index];
  slot.body = {};
  slot.body.seq = seq;
  slot.body.real_ns = real_ns;
  slot.body.exchange_id = exchange_id;
  for (std::size_t i = 0; i < charges.size(); ++i)
    slot.body.keys[i] = {charges[i].id, charges[i].mark, charges[i].epoch, 0};
  slot.body_crc = checksum(0, &slot.body, sizeof slot.body);
  update(index, state, settle_seq, charges);
  return index;
}

void Journal::update(std::uint32_t index, State state, std::uint64_t settle_seq,
                     std::span<const JournalCharge> charges) {
  Slot& slot = slots_[index];
  const unsigned next = slot.state.load(std::memory_order_relaxed) >> 8 & 1 ? 0 : 1;
  Area& area = slot.areas[next];
  area = {};
  area.settle_seq = settle_seq;
  for (std::size_t i = 0; i < charges.size(); ++i) area.changes[i] = {charges[i].amount, charges[i].estimated};
  area.crc = checksum(slot.body_crc, &area, offsetof(Area, crc));
  slot.state.store(state_word(state, next, charges.size(), slot.body.seq), std::memory_order_release);
}

void Journal::release(std::uint32_t index) {
  slots_[index].state.store(0, std::memory_order_release);
  free_.push_back(index);
}

}  // namespace penstock::ledger
