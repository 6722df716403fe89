// Hostile images for the fuzzer and the tests: raw bytes, or an image around them that gets past the headers, holds
// every locator's anchors and refers to them from code, so that the code behind the first checks is reached.
#pragma once

#include <elf.h>

#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "userspace/base/result.h"
#include "userspace/locators/core/analysis.h"

namespace penstock::locators::testing {

// Layout: headers and strings (R), then code (RX), then data (RW), at the same addresses as offsets plus `base`.
inline std::vector<std::uint8_t> image_around(std::span<const std::uint8_t> input) {
  const bool pie = !input.empty() && (input[0] & 1) != 0;
  const std::uint64_t base = pie ? 0 : 0x400000;
  std::vector<std::uint8_t> out(sizeof(Elf64_Ehdr) + 3 * sizeof(Elf64_Phdr));
  std::vector<std::uint64_t> anchors;
  for (const Locator* l : registry())
    for (const std::string_view a : l->anchors) {
      out.push_back(0);
      anchors.push_back(out.size());
      out.insert(out.end(), a.begin(), a.end());
      out.push_back(0);
    }
  out.resize((out.size() + 15) / 16 * 16);
  const std::uint64_t code = out.size();
  for (std::size_t i = 0; i < input.size(); ++i) {
    // One byte in eight becomes a reference: lea rdx/rcx, [rip + anchor], which is what the locators look for.
    if (input[i] % 8 != 7 || anchors.empty()) {
      out.push_back(input[i]);
      continue;
    }
    const std::uint64_t target = anchors[input[i] / 8 % anchors.size()];
    const auto distance =
        static_cast<std::int32_t>(static_cast<std::int64_t>(target) - static_cast<std::int64_t>(out.size() + 7));
    const std::uint8_t lea[3] = {0x48, 0x8d, static_cast<std::uint8_t>(input[i] % 16 < 8 ? 0x15 : 0x0d)};
    out.insert(out.end(), lea, lea + 3);
    const auto* d = reinterpret_cast<const std::uint8_t*>(&distance);
    out.insert(out.end(), d, d + 4);
  }
  const std::uint64_t data = out.size();
  out.insert(out.end(), input.begin(), input.end());
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_type = pie ? ET_DYN : ET_EXEC;
  header.e_machine = EM_X86_64;
  header.e_phoff = sizeof(header);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 3;
  std::memcpy(out.data(), &header, sizeof(header));
  const auto segment = [&](std::size_t index, std::uint64_t begin, std::uint64_t end, std::uint32_t flags) {
    Elf64_Phdr p{};
    p.p_type = PT_LOAD;
    p.p_flags = flags;
    p.p_offset = begin;
    p.p_vaddr = p.p_paddr = base + begin;
    p.p_filesz = p.p_memsz = end - begin;
    std::memcpy(out.data() + sizeof(header) + index * sizeof(p), &p, sizeof(p));
  };
  segment(0, 0, code, PF_R);
  segment(1, code, data, PF_R | PF_X);
  segment(2, data, out.size(), PF_R | PF_W);
  return out;
}

// Analyses the bytes; breaks when a result is out of bounds.
inline void analyze_bytes(std::span<const std::uint8_t> bytes) {
  auto image = ElfImage::parse(bytes);
  if (!image) return;
  static_cast<void>(image->build_id());
  for (const AttachPlan& plan : analyze(*image, registry()).plans) {
    if (plan.sites.empty() || plan.sites.size() > 64) PN_BUG("a plan of an odd size");
    for (const ProbeSite& s : plan.sites)
      if (s.entry_offset >= bytes.size() || s.return_offset >= bytes.size()) PN_BUG("a probe outside of the file");
  }
}

// The same for the bytes and for an image around them.
inline void analyze_hostile(std::span<const std::uint8_t> input) {
  analyze_bytes(input);
  analyze_bytes(image_around(input));
}

}  // namespace penstock::locators::testing
