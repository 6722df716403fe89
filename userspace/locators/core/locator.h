// A locator finds one TLS runtime in an ELF image. It is a pure function over hostile bytes: no I/O, bounded time and
// memory, never a crash. One folder per runtime, listed by the generated registry.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "userspace/base/result.h"
#include "userspace/locators/core/attach_plan.h"

namespace penstock::locators {

class ElfImage;

struct Locator {
  std::string_view name;
  // nullopt: the runtime is not in this image. An error: it is there, but its calls could not be located (the reason is
  // shown by `coverage`).
  base::Result<std::optional<AttachPlan>> (*locate)(const ElfImage&);
  // Strings (≥ 8 bytes, the shorter the slower) whose places the locator asks the image for: ElfImage::anchor().
  std::span<const std::string_view> anchors;
};

// Generated from the folders beside core/ (see cmake/Registry.cmake).
std::span<const Locator* const> registry();

}  // namespace penstock::locators
