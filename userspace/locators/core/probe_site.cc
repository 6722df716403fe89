#include "userspace/locators/core/probe_site.h"

#include "userspace/locators/core/x86_decode.h"

namespace penstock::locators {
namespace {

constexpr int kMaxLook = 6;  // instructions; further in, a backward branch may make the probe fire twice

// rdi rsi rdx rcx r8 r9, and rsp: [rsp] must be the return address.
constexpr unsigned kKept = 1u << kRdi | 1u << kRsi | 1u << kRdx | 1u << kRcx | 1u << kR8 | 1u << kR9 | 1u << kRsp;

}  // namespace

std::optional<Site> choose_site(const ElfImage& image, std::uint64_t function) {
  std::uint64_t at = function;
  for (int i = 0; i < kMaxLook; ++i) {
    const auto insn = decode(image.at(at, 15), at);
    if (!insn) {
      if (i == 0) return std::nullopt;
      break;
    }
    if (insn->emulated) return Site{at, true};
    if (insn->flow != Flow::kNext || (insn->written & kKept) != 0) break;
    at = insn->end();
  }
  return Site{function, false};
}

std::optional<ProbeSite> probe_site(const ElfImage& image, std::uint64_t function, CallShape shape, std::string what, bool with_return) {
  const auto site = choose_site(image, function);
  if (!site || !image.in_code(function)) return std::nullopt;
  const auto offset = image.offset_of(site->vaddr);
  if (!offset) return std::nullopt;
  return ProbeSite{*offset, site->cheap, with_return ? *offset : 0, shape, std::move(what)};
}

}  // namespace penstock::locators
