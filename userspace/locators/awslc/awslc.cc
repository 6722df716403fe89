// AWS-LC (and BoringSSL) below a TLS library that is not theirs: rustls in Deno and Codex. rustls has no calls that
// could be found, so plaintext is taken at the AEAD boundary, where the additional data are the record header itself.
// Anchored at the path of crypto/…/cipher/aead.c; the reasons a function raises tell which one it is (error_sites.h).
//
// Where the same image holds BoringSSL's TLS, that is the better level: the same bytes are not probed twice.
#include <algorithm>
#include <array>

#include "userspace/locators/core/error_sites.h"
#include "userspace/locators/core/locator.h"
#include "userspace/locators/core/probe_site.h"

namespace penstock::locators {
namespace {

using namespace std::string_view_literals;

constexpr std::array kFiles{"cipher/aead.c"sv, "cipher/aead.cc"sv, "cipher/aead.cc.inc"sv, "cipher/aead.c.inc"sv};
constexpr std::array kTlsFiles{"ssl/ssl_lib.cc"sv, "ssl/ssl_lib.c"sv};
constexpr std::array kAnchors{kFiles[0], kFiles[1], kFiles[2], kFiles[3], kTlsFiles[0], kTlsFiles[1]};
constexpr std::int64_t kLibraryCipher = 30;
constexpr std::int64_t kLibrarySsl = 16;

// Reasons: 101 bad decrypt, 103 buffer too small, 104 (gather: bad nonce), 112 invalid nonce/operation, 115 output
// aliases input, 117 too large.
struct Known {
  std::set<std::int64_t> reasons;
  bool exactly;
  CallShape shape;
  std::string_view what;

  bool seals() const { return shape == CallShape::kAeadSeal || shape == CallShape::kAeadSealScatter; }
};

const std::array<Known, 4>& known() {
  static const std::array<Known, 4> kKnown{
      Known{{117, 103, 115}, true, CallShape::kAeadSeal, "EVP_AEAD_CTX_seal"},
      Known{{112, 115}, true, CallShape::kAeadSealScatter, "EVP_AEAD_CTX_seal_scatter"},
      Known{{115, 104}, true, CallShape::kAeadOpenGather, "EVP_AEAD_CTX_open_gather"},
      Known{{115, 101}, false, CallShape::kAeadOpen, "EVP_AEAD_CTX_open"},
  };
  return kKnown;
}

bool matches(const Known& k, const std::set<std::int64_t>& reasons) {
  return k.exactly ? reasons == k.reasons
                   : std::includes(reasons.begin(), reasons.end(), k.reasons.begin(), k.reasons.end());
}

base::Result<std::optional<AttachPlan>> locate(const ElfImage& image) {
  const auto functions = error_functions(image, kFiles, kLibraryCipher);
  if (functions.empty() || !error_functions(image, kTlsFiles, kLibrarySsl).empty()) return std::optional<AttachPlan>{};
  AttachPlan plan{"awslc", {}, {}};
  bool seals = false, opens = false;
  for (const auto& [begin, f] : functions)
    for (const Known& k : known()) {
      if (!matches(k, f.reasons)) continue;
      auto site = probe_site(image, begin, k.shape, std::string(k.what), true);
      if (!site) break;
      (k.seals() ? seals : opens) = true;
      plan.sites.push_back(std::move(*site));
      break;
    }
  if (!seals || !opens)
    return base::Error{base::ErrorCode::kUnsupported,
                       0,
                       seals ? "AWS-LC is inside, its open function was not found"
                             : "AWS-LC is inside, its seal function was not found",
                       {}};
  plan.note = "records at the AEAD boundary";
  return std::optional<AttachPlan>(std::move(plan));
}

}  // namespace

extern const Locator k_awslc{"awslc", locate, kAnchors};

}  // namespace penstock::locators
