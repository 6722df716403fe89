// File descriptors of the kernel maps, handed from whoever loaded them to whoever writes them. Owned by
// capture::Kernel, valid as long as it lives.
#pragma once

#include "bpf/include/penstock/wire.h"

namespace penstock::capture {

struct KernelMaps {
  int ctl = -1;
  int scope = -1;
  int proc = -1;
  int cgroup = -1;
  int conn = -1;
  int gate = -1;
  int admit = -1;
  int endpoint = -1;
  int datagram = -1;
  int stdio = -1;
  pn_ctl_val* control = nullptr;  // pn_ctl[0], mapped
};

}  // namespace penstock::capture
