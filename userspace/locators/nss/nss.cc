// NSS (libssl3.so). Every socket of it goes through a table of operations, one for plain sockets and one for TLS:
//
//   {connect, none, bind, listen, shutdown, close, receive, send, read, write, peer name, own name}
//
// Accept is none in both, bind, listen and the names are shared, the other seven differ. The one whose read leads to
// its receive is TLS's: the plain one asks the layer below. What an application calls (PR_Write, PR_Recv …) ends in its
// send or receive, and so nothing fires for files and plain sockets. The table holds relative relocations: NSS is a
// library.
#include <algorithm>
#include <array>

#include "userspace/locators/core/code_scan.h"
#include "userspace/locators/core/elf_image.h"
#include "userspace/locators/core/locator.h"
#include "userspace/locators/core/probe_site.h"

namespace penstock::locators {
namespace {

using namespace std::string_view_literals;

constexpr std::array kAnchors{"NSS_SSL_CBC_RANDOM_IV"sv};  // a variable that libssl3 asks the environment for
enum Operation : std::size_t { kConnect, kAccept, kBind, kListen, kShutdown, kClose, kReceive, kSend, kRead, kWrite };
constexpr std::size_t kOperations = 12;
constexpr std::size_t kMaxTables = 8;
constexpr std::uint64_t kForwardBytes = 64;  // read hands its arguments on to receive, and does nothing else

using Operations = std::array<std::uint64_t, kOperations>;

bool shared(std::size_t operation) { return operation > kAccept && operation <= kListen; }

std::vector<Operations> tables(const ElfImage& image) {
  std::vector<Operations> out;
  const auto relocations = image.relative_relocations();
  for (std::size_t i = 0; i + kOperations - 1 <= relocations.size() && out.size() < kMaxTables; ++i) {
    Operations table{relocations[i].addend};
    bool whole = image.in_code(table[kConnect]);
    for (std::size_t n = kBind; n < kOperations && whole; ++n) {
      const auto& [where, function] = relocations[i + n - 1];
      table[n] = function;
      whole = where == relocations[i].where + 8 * n && image.in_code(function);
    }
    if (whole) out.push_back(table);
  }
  return out;
}

// Both tables of one kind of socket.
bool pair(const Operations& a, const Operations& b) {
  for (std::size_t n = 0; n < kOperations; ++n)
    if (n != kAccept && (shared(n) || n > kWrite) != (a[n] == b[n])) return false;
  return true;
}

bool leads_to(const ElfImage& image, std::uint64_t from, std::uint64_t to) {
  const std::array targets{to};
  const auto calls = calls_to(image, targets);
  return std::any_of(calls.begin(), calls.end(),
                     [&](const Reference& r) { return r.at >= from && r.at - from < kForwardBytes; });
}

base::Result<std::optional<AttachPlan>> locate(const ElfImage& image) {
  if (image.anchor(kAnchors[0]).empty()) return std::optional<AttachPlan>{};
  const std::vector<Operations> all = tables(image);
  for (const Operations& tls : all) {
    if (std::none_of(all.begin(), all.end(), [&](const Operations& plain) { return pair(tls, plain); })) continue;
    if (!leads_to(image, tls[kRead], tls[kReceive])) continue;
    AttachPlan plan{"nss", {}, {}};
    const auto add = [&](std::uint64_t function, CallShape shape, std::string what, bool with_return) {
      if (auto site = probe_site(image, function, shape, std::move(what), with_return))
        plan.sites.push_back(std::move(*site));
    };
    add(tls[kSend], CallShape::kTlsWriteRet, "ssl_SecureSend", true);
    add(tls[kReceive], CallShape::kTlsReadFlagsRet, "ssl_SecureRecv", true);
    add(tls[kClose], CallShape::kTlsFree, "ssl_SecureClose", false);
    return std::optional<AttachPlan>(std::move(plan));
  }
  return base::Error{base::ErrorCode::kUnsupported, 0, "NSS is inside, its table of TLS operations was not found", {}};
}

}  // namespace

extern const Locator k_nss{"nss", locate, kAnchors};

}  // namespace penstock::locators
