#include "userspace/locators/core/attach_plan.h"

namespace penstock::locators {

std::string_view name(CallShape shape) {
  switch (shape) {
    case CallShape::kTlsWriteOut: return "tls_write_out";
    case CallShape::kTlsReadOut: return "tls_read_out";
    case CallShape::kTlsWriteRet: return "tls_write_ret";
    case CallShape::kTlsReadRet: return "tls_read_ret";
    case CallShape::kTlsWriteFlagsOut: return "tls_write_flags_out";
  }
  return "unknown";
}

}  // namespace penstock::locators
