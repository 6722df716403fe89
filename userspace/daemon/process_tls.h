// How a process encrypts: what of it is probed, whether the probes are still there, and whether it runs a JVM.
#pragma once

#include <memory>

#include "userspace/daemon/probes.h"
#include "userspace/pipeline/ports.h"

namespace penstock::daemon {

class ProcessTlsReader final : public pipeline::TlsKnowledge {
 public:
  // `probes` may not be there yet when this is made.
  explicit ProcessTlsReader(const std::unique_ptr<Probes>& probes) : probes_(probes) {}
  pipeline::ProcessTls tls_of(std::uint32_t pid) override;

 private:
  const std::unique_ptr<Probes>& probes_;
};

}  // namespace penstock::daemon
