#include "userspace/locators/core/analysis.h"

#include <algorithm>

namespace penstock::locators {

Analysis analyze(ElfImage& image, std::span<const Locator* const> locators) {
  std::vector<std::string_view> anchors;
  for (const Locator* l : locators) anchors.insert(anchors.end(), l->anchors.begin(), l->anchors.end());
  std::sort(anchors.begin(), anchors.end());
  anchors.erase(std::unique(anchors.begin(), anchors.end()), anchors.end());
  image.index_anchors(anchors);
  Analysis out;
  for (const Locator* l : locators) {
    auto plan = l->locate(image);
    if (!plan)
      out.misses.push_back({std::string(l->name), plan.error().what});
    else if (plan->has_value() && !(*plan)->sites.empty())
      out.plans.push_back(std::move(**plan));
  }
  return out;
}

}  // namespace penstock::locators
