// BoringSSL linked into a program, usually stripped: Bun (Claude Code, opencode), Electron, gRPC. Anchored at the path
// of ssl/ssl_lib.cc, which every error site names; the reasons a function raises tell which one it is (error_sites.h).
//
//   SSL_write      {226 uninitialized, 111 bad length, 215 handshake failed} and more
//   ssl_read_impl  {226, 215}
//   SSL_read       {66 should not have been called}, calls ssl_read_impl and takes what it copied; SSL_peek raises the
//   same
//                  but leaves the data, and is what SSL_read calls where it was not inlined
#include <algorithm>
#include <array>

#include "userspace/locators/core/code_scan.h"
#include "userspace/locators/core/error_sites.h"
#include "userspace/locators/core/locator.h"
#include "userspace/locators/core/probe_site.h"

namespace penstock::locators {
namespace {

using namespace std::string_view_literals;

constexpr std::array kAnchors{"ssl/ssl_lib.cc"sv, "ssl/ssl_lib.c"sv};
constexpr std::int64_t kLibrarySsl = 16;
constexpr std::int64_t kUninitialized = 226, kBadLength = 111, kHandshakeFailed = 215, kNotToBeCalled = 66;

bool calls(const ElfImage& image, const FunctionRange& f, std::uint64_t target) {
  const auto code = disassemble(image, f);
  return std::any_of(code.begin(), code.end(), [&](const Instruction& i) {
    return (i.flow == Flow::kCall || i.flow == Flow::kJump) && i.target == target;
  });
}

std::optional<std::uint64_t> exported(const ElfImage& image, std::string_view name) {
  const auto s = image.symbol(name);
  return s && s->function ? std::optional(s->vaddr) : std::nullopt;
}

// The function that takes data out: the longest of those that raise `kNotToBeCalled` and read, or one that wraps it.
std::optional<std::uint64_t> find_read(const ElfImage& image, const std::map<std::uint64_t, ErrorFunction>& functions) {
  std::vector<const ErrorFunction*> implementations, candidates;
  for (const auto& [begin, f] : functions) {
    const bool reads = f.raises(kUninitialized) && f.raises(kHandshakeFailed) && !f.raises(kBadLength);
    if (reads && !f.raises(kNotToBeCalled)) implementations.push_back(&f);
    if (reads && f.raises(kNotToBeCalled) && f.reasons.size() == 3) candidates.push_back(&f);  // inlined
  }
  for (const auto& entry : functions) {
    const ErrorFunction& f = entry.second;
    if (f.reasons != std::set<std::int64_t>{kNotToBeCalled}) continue;
    if (std::any_of(implementations.begin(), implementations.end(),
                    [&](const ErrorFunction* impl) { return calls(image, f.range, impl->range.begin); }))
      candidates.push_back(&f);
  }
  if (candidates.empty()) return std::nullopt;
  const auto longer = [](const ErrorFunction* a, const ErrorFunction* b) {
    return a->range.end - a->range.begin < b->range.end - b->range.begin;
  };
  return (*std::max_element(candidates.begin(), candidates.end(), longer))->range.begin;
}

base::Result<std::optional<AttachPlan>> locate(const ElfImage& image) {
  const auto functions = error_functions(image, kAnchors, kLibrarySsl);
  if (functions.empty()) return std::optional<AttachPlan>{};
  std::optional<std::uint64_t> write = exported(image, "SSL_write"), read = exported(image, "SSL_read");
  if (!write)
    for (const auto& [begin, f] : functions)
      if (f.raises(kUninitialized) && f.raises(kBadLength) && f.raises(kHandshakeFailed)) write = begin;
  if (!read) read = find_read(image, functions);
  if (!write || !read)
    return base::Error{
        base::ErrorCode::kUnsupported,
        0,
        write ? "BoringSSL is inside, SSL_read was not found" : "BoringSSL is inside, SSL_write was not found",
        {}};
  AttachPlan plan{"boringssl", {}, {}};
  if (auto site = probe_site(image, *write, CallShape::kTlsWriteRet, "SSL_write", true))
    plan.sites.push_back(std::move(*site));
  if (auto site = probe_site(image, *read, CallShape::kTlsReadRet, "SSL_read", true))
    plan.sites.push_back(std::move(*site));
  return std::optional<AttachPlan>(std::move(plan));
}

}  // namespace

extern const Locator k_boringssl{"boringssl", locate, kAnchors};

}  // namespace penstock::locators
