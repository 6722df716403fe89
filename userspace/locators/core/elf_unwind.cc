// Function bounds from .eh_frame, through the binary search table of .eh_frame_hdr (LSB core, 10.6.2): stripped images
// keep it because exceptions and backtraces need it.
#include <algorithm>

#include "userspace/locators/core/elf_image.h"

namespace penstock::locators {
namespace {

constexpr std::uint8_t kPcRelative = 0x10;
constexpr std::uint8_t kData4Signed = 0x0b;
constexpr std::uint8_t kUnsigned4 = 0x03;
constexpr std::uint8_t kTableEncoding = 0x3b;  // relative to the header, signed 4 bytes: what every linker writes

std::size_t encoded_bytes(std::uint8_t encoding) {
  switch (encoding & 0x0f) {
    case 0x00:
    case 0x04:
    case 0x0c:
      return 8;
    case 0x02:
    case 0x0a:
      return 2;
    case 0x03:
    case 0x0b:
      return 4;
    default:
      return 0;
  }
}

// Reads a ULEB128 at `at`; nullopt when it does not end within the bytes.
std::optional<std::uint64_t> uleb(Bytes b, std::size_t& at) {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64 && at < b.size(); shift += 7) {
    const std::uint8_t byte = b[at++];
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return value;
  }
  return std::nullopt;
}

// The pointer encoding of the FDEs of a CIE; nullopt for forms we do not know.
std::optional<std::uint8_t> fde_encoding(Bytes cie) {
  std::size_t at = 8;  // length, id
  if (cie.size() < 16) return std::nullopt;
  const std::uint8_t version = cie[at++];
  const std::size_t augmentation = at;
  while (at < cie.size() && cie[at] != 0) ++at;
  if (at >= cie.size()) return std::nullopt;
  const std::string_view letters(reinterpret_cast<const char*>(cie.data() + augmentation), at - augmentation);
  ++at;
  if (!letters.starts_with('z')) return std::nullopt;
  if (!uleb(cie, at) || !uleb(cie, at)) return std::nullopt;  // code alignment, data alignment (same length as SLEB128)
  if (version == 1)
    ++at;
  else if (!uleb(cie, at))
    return std::nullopt;
  if (!uleb(cie, at)) return std::nullopt;  // bytes of augmentation data
  for (const char letter : letters.substr(1)) {
    if (at >= cie.size()) return std::nullopt;
    if (letter == 'R') return cie[at];
    if (letter == 'L')
      at += 1;
    else if (letter == 'P')
      at += 1 + encoded_bytes(cie[at]);
    else if (letter != 'S' && letter != 'B')
      return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

void ElfImage::read_unwind_header(std::uint64_t vaddr) {
  const Bytes h = at(vaddr, 20);
  if (h.size() < 12 || h[0] != 1 || h[2] != kUnsigned4 || h[3] != kTableEncoding || encoded_bytes(h[1]) != 4) return;
  const auto count = read<std::uint32_t>(vaddr + 8);
  const auto table = offset_of(vaddr + 12);
  if (!count || !table) return;
  unwind_vaddr_ = vaddr;
  unwind_table_ = *table;
  unwind_count_ = std::min<std::uint64_t>(*count, at(vaddr + 12, file_.size()).size() / 8);
}

std::optional<FunctionRange> ElfImage::unwind_range(std::uint64_t vaddr) const {
  struct Row {
    std::int32_t begin, fde;
  };
  const auto row = [&](std::uint64_t i) {
    Row r;
    std::memcpy(&r, file_.data() + unwind_table_ + i * sizeof(Row), sizeof(Row));
    return r;
  };
  std::uint64_t low = 0, high = unwind_count_;  // the last row that begins at or before vaddr is low - 1
  while (low < high) {
    const std::uint64_t middle = low + (high - low) / 2;
    if (unwind_vaddr_ + static_cast<std::uint64_t>(std::int64_t{row(middle).begin}) <= vaddr)
      low = middle + 1;
    else
      high = middle;
  }
  if (low == 0) return std::nullopt;
  const Row found = row(low - 1);
  const std::uint64_t fde = unwind_vaddr_ + static_cast<std::uint64_t>(std::int64_t{found.fde});
  const auto length = read<std::uint32_t>(fde);
  const auto cie_distance = read<std::uint32_t>(fde + 4);
  if (!length || !cie_distance || *length == 0xffffffff || *cie_distance == 0) return std::nullopt;
  const auto encoding = fde_encoding(at(fde + 4 - *cie_distance, 256));
  if (!encoding || (*encoding & 0x0f) != kData4Signed || (*encoding & 0x70) != kPcRelative) return std::nullopt;
  const auto begin_relative = read<std::int32_t>(fde + 8);
  const auto bytes = read<std::uint32_t>(fde + 12);
  if (!begin_relative || !bytes) return std::nullopt;
  const std::uint64_t begin = fde + 8 + static_cast<std::uint64_t>(std::int64_t{*begin_relative});
  if (vaddr < begin || vaddr - begin >= *bytes) return std::nullopt;
  return FunctionRange{begin, begin + *bytes};
}

}  // namespace penstock::locators
