// uprobe.multi links by bpf(2): one link probes many offsets of one image for every process. Kernel 6.6 and later;
// spelled out here because the installed libbpf may be older than the kernel.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "userspace/base/fd.h"
#include "userspace/base/result.h"

namespace penstock::capture {

inline constexpr std::uint32_t kTraceUprobeMulti = 48;  // enum bpf_attach_type BPF_TRACE_UPROBE_MULTI

// offsets[i] is reported to the program as attach cookie cookies[i]. `on_return`: run when the function returns.
base::Result<base::Fd> attach_uprobe_multi(int program_fd, const std::string& path,
                                           std::span<const std::uint64_t> offsets,
                                           std::span<const std::uint64_t> cookies, bool on_return);

}  // namespace penstock::capture
