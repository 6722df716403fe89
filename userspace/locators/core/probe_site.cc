#include "userspace/locators/core/probe_site.h"

#include <initializer_list>

#include "userspace/locators/core/x86_decode.h"

namespace penstock::locators {
namespace {

constexpr int kMaxLook = 6;  // instructions; further in, a backward branch may make the probe fire twice

constexpr unsigned bits(std::initializer_list<std::uint8_t> registers) {
  unsigned out = 0;
  for (const std::uint8_t r : registers) out |= 1u << r;
  return out;
}

// Registers a probe of this shape reads, and rsp: [rsp] must be the return address.
unsigned kept(CallShape shape) {
  switch (shape) {
    case CallShape::kTlsWriteRet:
    case CallShape::kTlsReadRet:
      return bits({kRdi, kRsi, kRdx, kRsp});
    case CallShape::kTlsWriteOut:
    case CallShape::kTlsReadOut:
    case CallShape::kTlsReadFlagsRet:
      return bits({kRdi, kRsi, kRdx, kRcx, kRsp});
    case CallShape::kGoWrite:
    case CallShape::kGoRead:
    case CallShape::kGoReadReturn:
      return bits({kRax, kRbx, kRcx, kRsp});
    case CallShape::kTlsFree:
      return bits({kRdi, kRsp});
    default:
      return bits({kRdi, kRsi, kRdx, kRcx, kR8, kR9, kRsp});
  }
}

}  // namespace

std::optional<Site> choose_site(const ElfImage& image, std::uint64_t function, CallShape shape) {
  const unsigned keep = kept(shape);
  std::uint64_t at = function;
  for (int i = 0; i < kMaxLook; ++i) {
    const auto insn = decode(image.at(at, 15), at);
    if (!insn) {
      if (i == 0) return std::nullopt;
      break;
    }
    if (insn->emulated) return Site{at, true};
    if (insn->flow != Flow::kNext || (insn->written & keep) != 0) break;
    at = insn->end();
  }
  return Site{function, false};
}

std::optional<ProbeSite> probe_site(const ElfImage& image, std::uint64_t function, CallShape shape, std::string what,
                                    bool with_return) {
  const auto site = choose_site(image, function, shape);
  if (!site || !image.in_code(function)) return std::nullopt;
  const auto offset = image.offset_of(site->vaddr);
  if (!offset) return std::nullopt;
  return ProbeSite{*offset, site->cheap, with_return ? *offset : 0, shape, std::move(what)};
}

}  // namespace penstock::locators
