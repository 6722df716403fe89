// GnuTLS as a shared library: its calls are exported. gnutls_record_send is a jump to gnutls_record_send2 where that
// exists (3.6.3 on), so the latter alone covers both.
#include "userspace/locators/core/elf_image.h"
#include "userspace/locators/core/locator.h"
#include "userspace/locators/core/probe_site.h"

namespace penstock::locators {
namespace {

base::Result<std::optional<AttachPlan>> locate(const ElfImage& image) {
  const auto send = image.dynamic_symbol("gnutls_record_send");
  const auto receive = image.dynamic_symbol("gnutls_record_recv");
  if (!send || !receive || !send->function || !receive->function) return std::optional<AttachPlan>{};
  const auto send2 = image.dynamic_symbol("gnutls_record_send2");
  AttachPlan plan{"gnutls", {}, {}};
  const auto add = [&](const Symbol& s, CallShape shape) {
    if (auto site = probe_site(image, s.vaddr, shape, std::string(s.name), true))
      plan.sites.push_back(std::move(*site));
  };
  add(send2 ? *send2 : *send, CallShape::kTlsWriteRet);
  add(*receive, CallShape::kTlsReadRet);
  // The same with a sequence number for datagrams; it shares no code that is probed.
  if (const auto seq = image.dynamic_symbol("gnutls_record_recv_seq")) add(*seq, CallShape::kTlsReadRet);
  return std::optional<AttachPlan>(std::move(plan));
}

}  // namespace

extern const Locator k_gnutls{"gnutls", locate, {}};

}  // namespace penstock::locators
