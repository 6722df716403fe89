#include "parsers/wire/eventstream/crc32.h"

#include <array>
#include <bit>
#include <cstring>

namespace penstock::parsers::wire::eventstream {
namespace {

using Table = std::array<std::uint32_t, 256>;

// kTables[k][b]: what the byte b contributes when k bytes follow it.
constexpr std::array<Table, 8> make_tables() {
  std::array<Table, 8> tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ ((value & 1) != 0 ? 0xedb88320u : 0);
    tables[0][byte] = value;
  }
  for (std::size_t k = 1; k < tables.size(); ++k)
    for (std::size_t byte = 0; byte < 256; ++byte)
      tables[k][byte] = tables[k - 1][byte] >> 8 ^ tables[0][tables[k - 1][byte] & 0xff];
  return tables;
}

constexpr auto kTables = make_tables();
static_assert(std::endian::native == std::endian::little, "words are read as they lie in memory");

}  // namespace

std::uint32_t crc32(std::uint32_t start, std::span<const std::uint8_t> bytes) {
  std::uint32_t value = ~start;
  const std::uint8_t* p = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 8; left -= 8, p += 8) {
    std::uint32_t low = 0, high = 0;
    std::memcpy(&low, p, 4);
    std::memcpy(&high, p + 4, 4);
    low ^= value;
    value = kTables[7][low & 0xff] ^ kTables[6][low >> 8 & 0xff] ^ kTables[5][low >> 16 & 0xff] ^
            kTables[4][low >> 24] ^ kTables[3][high & 0xff] ^ kTables[2][high >> 8 & 0xff] ^
            kTables[1][high >> 16 & 0xff] ^ kTables[0][high >> 24];
  }
  for (; left != 0; --left, ++p) value = value >> 8 ^ kTables[0][(value ^ *p) & 0xff];
  return ~value;
}

}  // namespace penstock::parsers::wire::eventstream
