#include "userspace/locators/core/code_scan.h"

#include <emmintrin.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>

namespace penstock::locators {
namespace {

constexpr std::uint64_t kMaxBack = 24 * 1024;    // how far before an address its function may begin, without tables
constexpr std::uint64_t kMaxFollow = 16 * 1024;  // how far after its begin its end is looked for, without tables

std::int32_t load32(const std::uint8_t* p) {
  std::int32_t v;
  std::memcpy(&v, p, 4);
  return v;
}

// Calls f(position) for every byte of the code that is `byte` under the mask; f returns false to stop.
template <std::uint8_t kMask = 0xff, class F>
void each_byte(Bytes code, std::uint8_t byte, F&& f) {
  const __m128i wanted = _mm_set1_epi8(static_cast<char>(byte));
  const __m128i mask_bytes = _mm_set1_epi8(static_cast<char>(kMask));
  std::size_t at = 0;
  for (; at + 16 <= code.size(); at += 16) {
    const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(code.data() + at));
    auto mask = static_cast<unsigned>(_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_and_si128(block, mask_bytes), wanted)));
    for (; mask != 0; mask &= mask - 1)
      if (!f(at + static_cast<std::size_t>(std::countr_zero(mask)))) return;
  }
  for (; at < code.size(); ++at)
    if ((code[at] & kMask) == byte && !f(at)) return;
}

Bytes code_of(const ElfImage& image, const Segment& s) { return image.file().subspan(s.offset, s.file_bytes); }

// A quick "not one of them": the targets lie close together, the rest of the address space is most of it.
class TargetSet {
 public:
  explicit TargetSet(std::span<const std::uint64_t> targets) : sorted_(targets.begin(), targets.end()) {
    std::sort(sorted_.begin(), sorted_.end());
    sorted_.erase(std::unique(sorted_.begin(), sorted_.end()), sorted_.end());
  }
  bool contains(std::uint64_t v) const {
    if (sorted_.empty() || v < sorted_.front() || v > sorted_.back()) return false;
    return std::binary_search(sorted_.begin(), sorted_.end(), v);
  }
  const std::vector<std::uint64_t>& sorted() const { return sorted_; }

 private:
  std::vector<std::uint64_t> sorted_;
};

void find_immediates(const Segment& s, Bytes code, std::uint64_t target, std::vector<Reference>& out) {
  const auto value = static_cast<std::uint32_t>(target);
  each_byte(code, static_cast<std::uint8_t>(value >> 8), [&](std::size_t p) {
    if (p < 3 || p + 3 > code.size()) return true;
    const std::uint8_t* imm = code.data() + p - 1;
    if (static_cast<std::uint32_t>(load32(imm)) != value) return true;
    std::uint64_t at = 0;
    if ((imm[-1] & 0xf8) == 0xb8)
      at = p - 2 - (p >= 3 && imm[-2] == 0x41 ? 1 : 0);
    else if (p >= 4 && imm[-3] == 0x48 && imm[-2] == 0xc7 && (imm[-1] & 0xf8) == 0xc0)
      at = p - 4;
    else
      return true;
    out.push_back({s.vaddr + at, target});
    return out.size() < kMaxReferences;
  });
}

bool ends_before(Bytes code, std::size_t at) {
  if (at == 0) return true;
  const std::uint8_t p = code[at - 1];
  if (p == 0xcc || p == 0x90 || p == 0xc3 || p == 0x00) return true;
  if (at >= 2 && code[at - 2] == 0x0f && p == 0x0b) return true;               // ud2
  if (at >= 5 && (code[at - 5] == 0xe9 || code[at - 5] == 0xe8)) return true;  // jmp, or a call that does not return
  if (at >= 2 && (code[at - 2] == 0xeb || (code[at - 2] == 0xff && p >= 0xe0))) return true;  // short or indirect jmp
  // A multi-byte nop as padding: 66 … 0f 1f 84 00 00 00 00 00 ends in zero and is covered above; 0f 1f 40 00 as well.
  return false;
}

const Segment* code_segment(const ElfImage& image, std::uint64_t vaddr) {
  for (const Segment& s : image.segments())
    if (s.executable && vaddr >= s.vaddr && vaddr - s.vaddr < s.file_bytes) return &s;
  return nullptr;
}

// push rbp; mov rbp, rsp directly after a terminator: code that is neither aligned nor called directly (-Oz).
std::optional<std::uint64_t> prologue_before(const ElfImage& image, std::uint64_t address) {
  const Segment* s = code_segment(image, address);
  if (s == nullptr) return std::nullopt;
  const Bytes code = code_of(image, *s);
  const std::size_t from = address - s->vaddr;
  for (std::size_t back = 0; back <= kMaxBack && back <= from; ++back) {
    const std::size_t at = from - back;
    if (at + 4 > code.size() || code[at] != 0x55) continue;
    if (code[at + 1] == 0x48 && code[at + 2] == 0x89 && code[at + 3] == 0xe5 && ends_before(code, at))
      return s->vaddr + at;
  }
  return std::nullopt;
}

// Follows the code from its first instruction to the terminator that no forward branch jumps over.
std::uint64_t end_of_function(const ElfImage& image, std::uint64_t begin) {
  std::uint64_t furthest = begin;
  Bytes code = image.at(begin, kMaxFollow);
  std::uint64_t at = begin;
  while (!code.empty()) {
    const auto insn = decode(code, at);
    if (!insn) return at;
    code = code.subspan(insn->bytes);
    at += insn->bytes;
    if (insn->flow == Flow::kBranch || insn->flow == Flow::kJump) {
      const bool near = insn->flow == Flow::kBranch || insn->target - insn->vaddr < 0x2000;
      if (near && insn->target > begin && insn->target - begin < kMaxFollow)
        furthest = std::max(furthest, insn->target);
    }
    const bool stops = insn->flow == Flow::kReturn || insn->flow == Flow::kJump || insn->flow == Flow::kJumpAway ||
                       insn->flow == Flow::kTrap;
    if (stops && at > furthest) return at;
  }
  return at;
}

}  // namespace

static std::vector<Reference> scan_references(const ElfImage& image, std::span<const std::uint64_t> targets) {
  std::vector<Reference> out;
  const TargetSet wanted(targets);
  if (wanted.sorted().empty()) return out;
  for (const Segment& s : image.segments()) {
    if (!s.executable) continue;
    const Bytes code = code_of(image, s);
    each_byte(code, 0x8d, [&](std::size_t p) {
      if (p == 0 || p + 6 > code.size()) return true;
      if ((code[p - 1] & 0xf8) != 0x48 || (code[p + 1] & 0xc7) != 5) return true;
      const std::uint64_t target =
          s.vaddr + p + 6 + static_cast<std::uint64_t>(std::int64_t{load32(code.data() + p + 2)});
      if (wanted.contains(target)) out.push_back({s.vaddr + p - 1, target});
      return out.size() < kMaxReferences;
    });
    if (image.position_independent()) continue;
    for (const std::uint64_t target : wanted.sorted())
      if (target <= UINT32_MAX) find_immediates(s, code, target, out);
  }
  std::sort(out.begin(), out.end(), [](const Reference& a, const Reference& b) { return a.at < b.at; });
  return out;
}

std::vector<Reference> references_to(const ElfImage& image, std::span<const std::uint64_t> targets) {
  if (targets.empty()) return {};
  const TargetSet wanted(targets);
  const std::vector<std::uint64_t> anchors = image.anchor_targets();
  if (!std::includes(anchors.begin(), anchors.end(), wanted.sorted().begin(), wanted.sorted().end()))
    return scan_references(image, targets);
  if (!image.anchor_references()) image.keep_anchor_references(scan_references(image, anchors));
  std::vector<Reference> out;
  for (const Reference& r : *image.anchor_references())
    if (wanted.contains(r.target)) out.push_back(r);
  return out;
}

std::vector<Reference> calls_to(const ElfImage& image, std::span<const std::uint64_t> targets) {
  std::vector<Reference> out;
  const TargetSet wanted(targets);
  if (wanted.sorted().empty()) return out;
  for (const Segment& s : image.segments()) {
    if (!s.executable) continue;
    const Bytes code = code_of(image, s);
    each_byte<0xfe>(code, 0xe8, [&](std::size_t p) {
      if (p + 5 > code.size()) return false;
      const std::uint64_t target =
          s.vaddr + p + 5 + static_cast<std::uint64_t>(std::int64_t{load32(code.data() + p + 1)});
      if (wanted.contains(target)) out.push_back({s.vaddr + p, target});
      return out.size() < kMaxReferences;
    });
  }
  std::sort(out.begin(), out.end(), [](const Reference& a, const Reference& b) { return a.at < b.at; });
  return out;
}

std::vector<std::optional<FunctionRange>> functions_around(const ElfImage& image,
                                                           std::span<const std::uint64_t> addresses) {
  std::vector<std::optional<FunctionRange>> out(addresses.size());
  std::vector<std::size_t> unknown;
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    out[i] = image.unwind_range(addresses[i]);
    if (!out[i]) out[i] = image.symbol_range(addresses[i]);
    if (!out[i] && image.in_code(addresses[i])) unknown.push_back(i);
  }
  if (unknown.empty()) return out;
  // One pass for all: the nearest plausible call target before each address.
  std::sort(unknown.begin(), unknown.end(), [&](std::size_t a, std::size_t b) { return addresses[a] < addresses[b]; });
  std::vector<std::uint64_t> sorted, best(unknown.size());
  sorted.reserve(unknown.size());
  for (const std::size_t i : unknown) sorted.push_back(addresses[i]);
  for (const Segment& s : image.segments()) {
    if (!s.executable) continue;
    const Bytes code = code_of(image, s);
    each_byte(code, 0xe8, [&](std::size_t p) {
      if (p + 5 > code.size()) return false;
      const std::uint64_t target =
          s.vaddr + p + 5 + static_cast<std::uint64_t>(std::int64_t{load32(code.data() + p + 1)});
      if (target > sorted.back() || target + kMaxBack < sorted.front() || target % 16 != 0) return true;
      const Segment* home = code_segment(image, target);
      if (home == nullptr || !ends_before(code_of(image, *home), target - home->vaddr)) return true;
      for (auto it = std::lower_bound(sorted.begin(), sorted.end(), target);
           it != sorted.end() && *it - target < kMaxBack; ++it) {
        std::uint64_t& b = best[static_cast<std::size_t>(it - sorted.begin())];
        b = std::max(b, target);
      }
      return true;
    });
  }
  std::map<std::uint64_t, std::uint64_t> ends;
  for (std::size_t k = 0; k < unknown.size(); ++k) {
    std::uint64_t begin = best[k];
    if (const auto p = prologue_before(image, sorted[k])) begin = std::max(begin, *p);
    if (begin == 0) continue;
    const auto [known, fresh] = ends.try_emplace(begin, 0);
    if (fresh) known->second = end_of_function(image, begin);
    out[unknown[k]] = FunctionRange{begin, std::max(known->second, sorted[k] + 1)};
  }
  return out;
}

std::optional<FunctionRange> function_around(const ElfImage& image, std::uint64_t address) {
  return functions_around(image, std::span(&address, 1))[0];
}

std::vector<FunctionRange> join_fragments(const ElfImage& image, std::vector<FunctionRange> functions) {
  std::vector<std::uint64_t> begins;
  for (const FunctionRange& f : functions) begins.push_back(f.begin);
  const std::vector<Reference> calls = calls_to(image, begins);
  std::vector<FunctionRange*> fragments;
  for (FunctionRange& f : functions) {
    const bool called =
        std::any_of(calls.begin(), calls.end(), [&](const Reference& c) { return c.target == f.begin; });
    if (!called) fragments.push_back(&f);
  }
  std::vector<std::optional<FunctionRange>> parents(fragments.size());
  const auto jump = [&](std::uint64_t from, std::uint64_t target) {
    for (std::size_t i = 0; i < fragments.size(); ++i) {
      const FunctionRange& f = *fragments[i];
      if (target < f.begin || target >= f.end || (from >= f.begin && from < f.end) || parents[i]) continue;
      parents[i] = image.unwind_range(from);
      if (!parents[i]) parents[i] = image.symbol_range(from);
    }
  };
  for (const Segment& s : image.segments()) {
    if (!s.executable || fragments.empty()) continue;
    const Bytes code = code_of(image, s);
    each_byte(code, 0x0f, [&](std::size_t p) {
      if (p + 6 > code.size()) return false;
      if ((code[p + 1] & 0xf0) == 0x80)
        jump(s.vaddr + p, s.vaddr + p + 6 + static_cast<std::uint64_t>(std::int64_t{load32(code.data() + p + 2)}));
      return true;
    });
  }
  for (std::size_t i = 0; i < fragments.size(); ++i)
    if (parents[i]) *fragments[i] = *parents[i];
  std::sort(functions.begin(), functions.end(),
            [](const FunctionRange& a, const FunctionRange& b) { return a.begin < b.begin; });
  functions.erase(std::unique(functions.begin(), functions.end(),
                              [](const FunctionRange& a, const FunctionRange& b) { return a.begin == b.begin; }),
                  functions.end());
  return functions;
}

std::vector<Instruction> disassemble(const ElfImage& image, FunctionRange range) {
  std::vector<Instruction> out;
  if (range.end <= range.begin) return out;
  Bytes code = image.at(range.begin, std::min<std::uint64_t>(range.end - range.begin, kMaxFunctionBytes));
  std::uint64_t at = range.begin;
  while (!code.empty()) {
    const auto insn = decode(code, at);
    if (!insn) break;
    out.push_back(*insn);
    code = code.subspan(insn->bytes);
    at += insn->bytes;
  }
  return out;
}

}  // namespace penstock::locators
