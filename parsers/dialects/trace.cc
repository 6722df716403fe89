#include "parsers/dialects/trace.h"

#include <algorithm>

namespace penstock::parsers::dialects {
namespace {

// version-trace-parent-flags; later versions may have more behind it.
constexpr std::size_t kBytes = 55;
constexpr std::size_t kTraceAt = 3, kTraceDigits = 32, kParentAt = 36, kParentDigits = 16, kFlagsAt = 53;

bool hex(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool identifies(std::string_view digits) {
  return hex(digits) && digits.find_first_not_of('0') != std::string_view::npos;
}

}  // namespace

void take_traceparent(std::string_view text, model::TraceContext& into) {
  if (text.size() < kBytes || text[2] != '-' || text[kParentAt - 1] != '-' || text[kFlagsAt - 1] != '-') return;
  const std::string_view version = text.substr(0, 2);
  if (!hex(version) || version == "ff") return;
  if (text.size() > kBytes && (version == "00" || text[kBytes] != '-')) return;
  const std::string_view trace = text.substr(kTraceAt, kTraceDigits), parent = text.substr(kParentAt, kParentDigits);
  const std::string_view flags = text.substr(kFlagsAt, 2);
  if (!identifies(trace) || !identifies(parent) || !hex(flags)) return;
  const char low = flags[1];
  const int bits = low <= '9' ? low - '0' : low - 'a' + 10;
  into = {std::string(trace), std::string(parent), (bits & 1) != 0};
}

}  // namespace penstock::parsers::dialects
