#include "userspace/locators/core/attach_plan.h"

#include <algorithm>

namespace penstock::locators {

std::string_view name(CallShape shape) {
  switch (shape) {
    case CallShape::kTlsWriteOut:
      return "tls_write_out";
    case CallShape::kTlsReadOut:
      return "tls_read_out";
    case CallShape::kTlsWriteRet:
      return "tls_write_ret";
    case CallShape::kTlsReadRet:
      return "tls_read_ret";
    case CallShape::kTlsWriteFlagsOut:
      return "tls_write_flags_out";
    case CallShape::kGoWrite:
      return "go_write";
    case CallShape::kGoRead:
      return "go_read";
    case CallShape::kGoReadReturn:
      return "go_read_return";
    case CallShape::kAeadSeal:
      return "aead_seal";
    case CallShape::kAeadSealScatter:
      return "aead_seal_scatter";
    case CallShape::kAeadOpen:
      return "aead_open";
    case CallShape::kAeadOpenGather:
      return "aead_open_gather";
    case CallShape::kRingSeal:
      return "ring_seal";
    case CallShape::kRingOpen:
      return "ring_open";
    case CallShape::kTlsFree:
      return "tls_free";
    case CallShape::kTlsRecord:
      return "tls_record";
    case CallShape::kTlsReadFlagsRet:
      return "tls_read_flags_ret";
  }
  return "unknown";
}

bool AttachPlan::sees_plaintext() const {
  return std::any_of(sites.begin(), sites.end(), [](const ProbeSite& s) {
    return s.shape != CallShape::kTlsFree && s.shape != CallShape::kTlsRecord;
  });
}

}  // namespace penstock::locators
