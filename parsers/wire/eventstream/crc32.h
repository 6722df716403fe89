// CRC-32 (IEEE 802.3), eight bytes at a time. Messages of a stream are short and their checksums are taken piece by
// piece (prelude, headers, payload): zlib's crc32 goes byte by byte below 47 bytes, and took more than half of the
// time of reading a stream.
#pragma once

#include <cstdint>
#include <span>

namespace penstock::parsers::wire::eventstream {

// The checksum of what gave `start` (0 for nothing) followed by `bytes`.
std::uint32_t crc32(std::uint32_t start, std::span<const std::uint8_t> bytes);

}  // namespace penstock::parsers::wire::eventstream
