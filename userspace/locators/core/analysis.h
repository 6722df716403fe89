// One image through all locators. Pure; the cost is one pass for all anchor strings plus the passes of the locators
// that found theirs.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "userspace/locators/core/attach_plan.h"
#include "userspace/locators/core/elf_image.h"
#include "userspace/locators/core/locator.h"

namespace penstock::locators {

struct Analysis {
  std::vector<AttachPlan> plans;  // several when several runtimes are inside (an SSL and an AEAD level, two libraries)
  struct Miss {
    std::string runtime;
    std::string reason;
    bool operator==(const Miss&) const = default;
  };
  std::vector<Miss> misses;  // a runtime is inside, its calls were not found: plaintext will be missing

  bool operator==(const Analysis&) const = default;
};

Analysis analyze(ElfImage&, std::span<const Locator* const>);

}  // namespace penstock::locators
