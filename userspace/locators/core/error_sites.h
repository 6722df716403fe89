// Error sites of the BoringSSL family. Each error names its library, its reason and its file:
//   ERR_put_error(int library, int unused, int reason, const char* file, unsigned line)
// Some builds drop the unused argument. The numbers are part of the API and stay; lines and code around them change. So
// a function is known by the *set* of reasons it can raise, in images without any symbols. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string_view>

#include "userspace/locators/core/elf_image.h"

namespace penstock::locators {

struct ErrorFunction {
  FunctionRange range;
  std::set<std::int64_t> reasons;
  bool raises(std::int64_t reason) const { return reasons.contains(reason); }
};

// Functions that raise errors of a library from a source file whose path ends in one of the (declared) anchors, by
// address.
std::map<std::uint64_t, ErrorFunction> error_functions(const ElfImage&, std::span<const std::string_view> file_anchors,
                                                       std::int64_t library);

}  // namespace penstock::locators
