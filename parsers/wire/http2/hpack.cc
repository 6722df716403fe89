#include "parsers/wire/http2/hpack.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "parsers/core/limits.h"
#include "userspace/base/result.h"

namespace penstock::parsers::wire::http2 {
namespace {

constexpr std::uint32_t kStaticEntries = 61;
constexpr std::uint32_t kEntryBytes = 33;  // RFC 7541 §4.1: name and value plus 32
// Broken blocks before a direction is given up: nobody sends that many by accident.
constexpr std::uint32_t kFailures = 16;
constexpr std::size_t kFewPlaceholders = 8;

// Integers with a prefix (RFC 7541 §5.1), behind the flags in the prefix's byte.
void put_integer(std::vector<std::uint8_t>& block, int prefix_bits, std::uint8_t flags, std::size_t value) {
  const std::size_t most = (std::size_t{1} << prefix_bits) - 1;
  block.push_back(static_cast<std::uint8_t>(flags | std::min(value, most)));
  if (value < most) return;
  for (value -= most; value >= 128; value >>= 7) block.push_back(static_cast<std::uint8_t>(0x80 | (value & 0x7f)));
  block.push_back(static_cast<std::uint8_t>(value));
}

std::optional<std::size_t> take_integer(std::span<const std::uint8_t>& block, int prefix_bits) {
  if (block.empty()) return std::nullopt;
  const std::size_t most = (std::size_t{1} << prefix_bits) - 1;
  std::size_t value = block[0] & most;
  block = block.subspan(1);
  if (value < most) return value;
  for (int shift = 0; shift < 28 && !block.empty(); shift += 7) {
    const std::uint8_t byte = block[0];
    block = block.subspan(1);
    value += static_cast<std::size_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return value;
  }
  return std::nullopt;
}

bool skip_string(std::span<const std::uint8_t>& block) {
  const auto length = take_integer(block, 7);
  if (!length || *length > block.size()) return false;
  block = block.subspan(*length);
  return true;
}

// What a block takes for granted: entries that were in the table before it, and the size of the table.
struct Assumed {
  std::size_t entries = 0;
  std::size_t table_bytes = 0;
};

// Reads as far as the block goes; that it is broken is for the inflater to find.
Assumed assumed_by(std::span<const std::uint8_t> block) {
  Assumed assumed;
  std::size_t added = 0;
  while (!block.empty()) {
    // RFC 7541 §6: 1 an index; 01 a field that enters the table; 001 the table's size; 000 a field that does not.
    const std::uint8_t first = block[0];
    const int prefix_bits = (first & 0x80) != 0 ? 7 : (first & 0x40) != 0 ? 6 : (first & 0x20) != 0 ? 5 : 4;
    const auto number = take_integer(block, prefix_bits);
    if (!number) return assumed;
    if (prefix_bits == 5) {
      assumed.table_bytes = std::max(assumed.table_bytes, *number);
      continue;
    }
    if (*number > kStaticEntries + added) assumed.entries = std::max(assumed.entries, *number - kStaticEntries - added);
    if (prefix_bits == 7) continue;
    if ((*number == 0 && !skip_string(block)) || !skip_string(block)) return assumed;
    if (prefix_bits == 6) ++added;
  }
  return assumed;
}

void put_field(std::vector<std::uint8_t>& block, const nghttp2_nv& field) {
  block.push_back(0x40);
  put_integer(block, 7, 0, field.namelen);
  block.insert(block.end(), field.name, field.name + field.namelen);
  put_integer(block, 7, 0, field.valuelen);
  block.insert(block.end(), field.value, field.value + field.valuelen);
}

bool placeholder(const nghttp2_nv& field) {
  return std::string_view(reinterpret_cast<const char*>(field.name), field.namelen) == kUnknownName;
}

}  // namespace

void Hpack::Delete::operator()(nghttp2_hd_inflater* inflater) const { nghttp2_hd_inflate_del(inflater); }

Hpack::Hpack(bool cold) : cold_(cold) {}
Hpack::~Hpack() = default;

std::size_t Hpack::entries() const {
  return inflater_ ? nghttp2_hd_inflate_get_num_table_entries(inflater_.get()) - kStaticEntries : 0;
}

// A new table: placeholders, and above them what the present one knows.
void Hpack::make(std::size_t placeholders) {
  std::vector<std::uint8_t> block;
  if (table_bytes_ != kDefaultTableBytes) put_integer(block, 5, 0x20, table_bytes_);
  // Literals with incremental indexing and an empty value (§6.2.1): the first with the new name "?", the others with
  // the name of the one before, index 62.
  if (placeholders != 0) block.insert(block.end(), {0x40, 0x01, '?', 0x00});
  for (std::size_t n = 1; n < placeholders; ++n) block.insert(block.end(), {0x40 | 62, 0x00});
  std::size_t known = 0;
  for (; known < entries(); ++known)
    if (placeholder(*nghttp2_hd_inflate_get_table_entry(inflater_.get(), kStaticEntries + 1 + known))) break;
  for (; known != 0; --known)
    put_field(block, *nghttp2_hd_inflate_get_table_entry(inflater_.get(), kStaticEntries + known));
  nghttp2_hd_inflater* inflater = nullptr;
  if (nghttp2_hd_inflate_new(&inflater) != 0) PN_BUG("out of memory");
  inflater_.reset(inflater);
  placeholders_ = placeholders;
  if (table_bytes_ != kDefaultTableBytes) nghttp2_hd_inflate_change_table_size(inflater, table_bytes_);
  if (!block.empty() && !run(block, nullptr)) PN_BUG("the block that fills the table does not decode");
}

void Hpack::change_table_size(std::uint32_t bytes) {
  const auto bounded = std::min<std::uint32_t>(bytes, limits::kHpackTableBytes);
  if (bounded == table_bytes_) return;
  table_bytes_ = bounded;
  if (inflater_) nghttp2_hd_inflate_change_table_size(inflater_.get(), bounded);
}

bool Hpack::run(std::span<const std::uint8_t> block, http::Fields* fields) {
  if (fields != nullptr) fields->clear();
  std::size_t bytes = 0;
  while (true) {
    nghttp2_nv field;
    int flags = 0;
    const ssize_t used = nghttp2_hd_inflate_hd2(inflater_.get(), &field, &flags, block.data(), block.size(), 1);
    if (used < 0) return false;
    block = block.subspan(static_cast<std::size_t>(used));
    if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0 && fields != nullptr) {
      // One byte can stand for a field of kilobytes: everything is decoded, not everything is kept.
      bytes += field.namelen + field.valuelen;
      if (bytes <= limits::kHeadBytes && fields->size() < limits::kHeaders) {
        fields->add({reinterpret_cast<const char*>(field.name), field.namelen},
                    {reinterpret_cast<const char*>(field.value), field.valuelen});
      }
    }
    if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) {
      nghttp2_hd_inflate_end_headers(inflater_.get());
      return block.empty();
    }
    if ((flags & NGHTTP2_HD_INFLATE_EMIT) == 0 && block.empty()) return false;
  }
}

// While entries are unknown: makes room for all that the block refers to.
void Hpack::provide(std::span<const std::uint8_t> block) {
  const Assumed assumed = assumed_by(block);
  const bool larger = assumed.table_bytes > table_bytes_ || assumed.entries * kEntryBytes > table_bytes_;
  // Observation began behind a SETTINGS that allowed a larger table.
  const bool enlarge = larger && !enlarged_ && table_bytes_ < limits::kHpackTableBytes;
  if (enlarge) {
    enlarged_ = true;
    table_bytes_ = limits::kHpackTableBytes;
  }
  if (inflater_ && !enlarge && assumed.entries <= entries()) return;
  // Twice as many each time, so that a table is made a few times at most.
  const std::size_t most = table_bytes_ / kEntryBytes;
  std::size_t placeholders = placeholders_;
  if (assumed.entries > entries())
    placeholders = std::max({assumed.entries - entries() + placeholders_, 2 * placeholders_, kFewPlaceholders});
  make(std::min(placeholders, most));
}

bool Hpack::decode(std::span<const std::uint8_t> block, http::Fields& fields) {
  fields.clear();
  if (failures_ >= kFailures) return false;
  if (cold_) {
    provide(block);
  } else if (!inflater_) {
    make(0);
  }
  if (run(block, &fields)) return true;
  ++failures_;
  forget();
  return false;
}

void Hpack::forget() {
  cold_ = true;
  placeholders_ = 0;
  inflater_.reset();
}

}  // namespace penstock::parsers::wire::http2
