// NSS through NSPR's I/O layer: TLS is a layer on a PRFileDesc, so PR_Write and its siblings carry plaintext for
// sockets with TLS and anything at all for files and plain sockets. Which it was is learnt from the socket call nested
// in it: only TLS records count. These are jumps through the layer's method table, which the kernel single-steps.
#include <array>

#include "userspace/locators/core/elf_image.h"
#include "userspace/locators/core/locator.h"
#include "userspace/locators/core/probe_site.h"

namespace penstock::locators {
namespace {

struct Call {
  std::string_view name;
  CallShape shape;
};
constexpr std::array kCalls{Call{"PR_Write", CallShape::kTlsWriteRet}, Call{"PR_Send", CallShape::kTlsWriteRet},
                            Call{"PR_Read", CallShape::kTlsReadRet}, Call{"PR_Recv", CallShape::kTlsReadRet}};

base::Result<std::optional<AttachPlan>> locate(const ElfImage& image) {
  AttachPlan plan{"nss", {}, "also fires for files; counts only around TLS records"};
  for (const Call& c : kCalls) {
    const auto s = image.dynamic_symbol(c.name);
    if (!s || !s->function) return std::optional<AttachPlan>{};
    if (auto site = probe_site(image, s->vaddr, c.shape, std::string(c.name), true))
      plan.sites.push_back(std::move(*site));
  }
  return std::optional<AttachPlan>(std::move(plan));
}

}  // namespace

extern const Locator k_nss{"nss", locate, {}};

}  // namespace penstock::locators
