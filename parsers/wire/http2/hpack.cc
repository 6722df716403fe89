#include "parsers/wire/http2/hpack.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <vector>

#include "parsers/core/limits.h"
#include "userspace/base/result.h"

namespace penstock::parsers::wire::http2 {
namespace {

constexpr std::uint32_t kEntryBytes = 33;  // RFC 7541 §4.1: name and value plus 32
// Broken blocks before a direction is given up: each costs a table of placeholders, and nobody sends that many by
// accident.
constexpr std::uint32_t kFailures = 16;

}  // namespace

void Hpack::Delete::operator()(nghttp2_hd_inflater* inflater) const { nghttp2_hd_inflate_del(inflater); }

Hpack::Hpack(bool cold) : cold_(cold) {}
Hpack::~Hpack() = default;

void Hpack::make(std::uint32_t table_bytes) {
  nghttp2_hd_inflater* inflater = nullptr;
  if (nghttp2_hd_inflate_new(&inflater) != 0) PN_BUG("out of memory");
  inflater_.reset(inflater);
  table_bytes_ = table_bytes;
  begun_ = false;
  stale_ = false;
  std::vector<std::uint8_t> block;
  if (table_bytes != kDefaultTableBytes) {
    nghttp2_hd_inflate_change_table_size(inflater, table_bytes);
    // The encoder's size update (§6.3): 001, then the size as an integer with a prefix of 5 bits.
    if (table_bytes < 31) {
      block.push_back(static_cast<std::uint8_t>(0x20 | table_bytes));
    } else {
      block.push_back(0x3f);
      std::uint32_t rest = table_bytes - 31;
      for (; rest >= 128; rest >>= 7) block.push_back(static_cast<std::uint8_t>(0x80 | (rest & 0x7f)));
      block.push_back(static_cast<std::uint8_t>(rest));
    }
  }
  if (cold_) {
    // Literals with incremental indexing and an empty value (§6.2.1): the first with the new name "?", the others with
    // the name of the one before, index 62.
    const std::uint32_t entries = table_bytes / kEntryBytes;
    block.reserve(block.size() + 2 + 2 * std::size_t{entries});
    if (entries != 0) block.insert(block.end(), {0x40, 0x01, '?', 0x00});
    for (std::uint32_t n = 1; n < entries; ++n) block.insert(block.end(), {0x40 | 62, 0x00});
  }
  if (!block.empty() && !run(block, nullptr)) PN_BUG("the placeholder block does not decode");
}

void Hpack::change_table_size(std::uint32_t bytes) {
  const auto bounded = std::min<std::uint32_t>(bytes, limits::kHpackTableBytes);
  if (bounded == table_bytes_) return;
  if (stale_ || (cold_ && !begun_)) {
    table_bytes_ = bounded;
    stale_ = true;
    return;
  }
  table_bytes_ = bounded;
  nghttp2_hd_inflate_change_table_size(inflater_.get(), bounded);
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

bool Hpack::decode(std::span<const std::uint8_t> block, http::Fields& fields) {
  fields.clear();
  if (failures_ >= kFailures) return false;
  if (stale_) make(table_bytes_);
  const bool first = !begun_;
  begun_ = true;
  if (run(block, &fields)) return true;
  // Observation began behind a SETTINGS that allowed a larger table: once more, with room for the indices it can hold.
  if (cold_ && first && !enlarged_ && table_bytes_ < limits::kHpackTableBytes) {
    enlarged_ = true;
    const std::uint32_t before = table_bytes_;
    make(limits::kHpackTableBytes);
    begun_ = true;
    if (run(block, &fields)) return true;
    table_bytes_ = before;
  }
  ++failures_;
  forget();
  return false;
}

void Hpack::forget() {
  cold_ = true;
  stale_ = true;
  inflater_.reset();
}

}  // namespace penstock::parsers::wire::http2
