#include "userspace/locators/core/error_sites.h"

#include <algorithm>
#include <array>
#include <optional>

#include "userspace/locators/core/code_scan.h"

namespace penstock::locators {
namespace {

constexpr std::size_t kWindow = 8;  // instructions to either side that may set an argument of the call

struct ErrorSite {
  std::int64_t library;
  std::int64_t reason;
};

bool interrupts(const Instruction& i) { return i.flow != Flow::kNext && i.flow != Flow::kBranch; }

// Immediate values in registers around the reference, as the call sees them: the nearest before it, replaced by what is
// set between it and the call. -Oz builds write `push imm; pop reg`.
std::array<std::optional<std::int64_t>, 16> immediates_at(std::span<const Instruction> code, std::size_t reference) {
  std::array<std::optional<std::int64_t>, 16> out;
  std::array<bool, 16> overwritten{};
  for (std::size_t back = 1; back <= kWindow && back <= reference; ++back) {
    const Instruction& i = code[reference - back];
    if (interrupts(i)) break;
    const bool popped =
        i.shape == Shape::kPop && reference - back > 0 && code[reference - back - 1].shape == Shape::kPushImmediate;
    for (std::uint8_t reg = 0; reg < 16; ++reg) {
      if ((i.written & (1u << reg)) == 0 || overwritten[reg]) continue;
      overwritten[reg] = true;
      if (i.shape == Shape::kMoveImmediate && i.reg == reg) out[reg] = i.immediate;
      if (popped && i.reg == reg) out[reg] = code[reference - back - 1].immediate;
    }
  }
  for (std::size_t next = reference + 1; next < code.size() && next <= reference + kWindow; ++next) {
    const Instruction& i = code[next];
    if (interrupts(i)) break;
    const bool popped = i.shape == Shape::kPop && code[next - 1].shape == Shape::kPushImmediate;
    for (std::uint8_t reg = 0; reg < 16; ++reg) {
      if ((i.written & (1u << reg)) == 0) continue;
      out[reg].reset();
      if (i.shape == Shape::kMoveImmediate && i.reg == reg) out[reg] = i.immediate;
      if (popped && i.reg == reg) out[reg] = code[next - 1].immediate;
    }
  }
  return out;
}

std::optional<ErrorSite> error_site(std::span<const Instruction> code, std::uint64_t reference) {
  for (std::size_t k = 0; k < code.size(); ++k) {
    if (code[k].vaddr != reference) continue;
    const auto values = immediates_at(code, k);
    // The register of the file pointer tells whether the unused argument is there.
    const std::uint8_t reason = code[k].reg == kRcx ? kRdx : code[k].reg == kRdx ? kRsi : kNoRegister;
    if (reason == kNoRegister || !values[kRdi] || !values[reason]) return std::nullopt;
    return ErrorSite{*values[kRdi], *values[reason]};
  }
  return std::nullopt;
}

// Without tables the function may begin before our guess, in data even: then decode from some bytes before the
// reference until an instruction begins exactly there. Instruction streams fall into step quickly, so as many starts as
// the longest instruction has bytes are enough.
std::vector<Instruction> around(const ElfImage& image, std::uint64_t reference) {
  constexpr std::uint64_t kFar = 60, kNear = 45, kAfter = 56;
  for (std::uint64_t back = kFar; back > kNear && back <= reference; --back) {
    const auto before = disassemble(image, {reference - back, reference});
    if (!before.empty() && before.back().end() == reference)
      return disassemble(image, {reference - back, reference + kAfter});
  }
  return disassemble(image, {reference, reference + kAfter});
}

}  // namespace

std::map<std::uint64_t, ErrorFunction> error_functions(const ElfImage& image,
                                                       std::span<const std::string_view> file_anchors,
                                                       std::int64_t library) {
  std::vector<std::uint64_t> files;
  for (const std::string_view anchor : file_anchors)
    for (const std::uint64_t at : image.anchor(anchor))
      if (image.read<std::uint8_t>(at + anchor.size()) == std::uint8_t{0}) files.push_back(image.string_begin(at));
  const std::vector<Reference> references = references_to(image, files);
  std::vector<std::uint64_t> at;
  for (const Reference& r : references) at.push_back(r.at);
  const auto functions = functions_around(image, at);
  std::map<std::uint64_t, ErrorFunction> out;
  // References are in order of address: one body at a time is enough.
  std::map<std::uint64_t, std::vector<Instruction>> bodies;
  for (std::size_t i = 0; i < references.size(); ++i) {
    if (!functions[i]) continue;
    if (!bodies.contains(functions[i]->begin)) bodies.clear();
    auto [body, fresh] = bodies.try_emplace(functions[i]->begin);
    if (fresh) {
      constexpr std::uint64_t kMaxBody = 16 * 1024;  // a site further in is decoded by itself
      body->second =
          disassemble(image, {functions[i]->begin, std::min(functions[i]->end, functions[i]->begin + kMaxBody)});
    }
    auto site = error_site(body->second, references[i].at);
    if (!site) site = error_site(around(image, references[i].at), references[i].at);
    if (!site || site->library != library) continue;
    ErrorFunction& f = out[functions[i]->begin];
    f.range = *functions[i];
    f.reasons.insert(site->reason);
  }
  return out;
}

}  // namespace penstock::locators
