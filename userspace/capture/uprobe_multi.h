// uprobe.multi links by bpf(2): one link probes many offsets of one image for every process. Kernel 6.6 and later;
// spelled out here because the installed libbpf may be older than the kernel.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "userspace/base/fd.h"
#include "userspace/base/result.h"

namespace penstock::capture {

// enum bpf_attach_type, which is also what a program has to be loaded for.
inline constexpr std::uint32_t kTraceUprobeMulti = 48;    // BPF_TRACE_UPROBE_MULTI
inline constexpr std::uint32_t kTraceUprobeSession = 57;  // BPF_TRACE_UPROBE_SESSION, kernel 6.13

enum class ProbeAt {
  kEntry,
  kReturn,   // of the function that begins at the offset
  kSession,  // both, by one program; at the entry it says whether it wants the return
};

// offsets[i] is reported to the program as attach cookie cookies[i].
base::Result<base::Fd> attach_uprobe_multi(int program_fd, const std::string& path,
                                           std::span<const std::uint64_t> offsets,
                                           std::span<const std::uint64_t> cookies, ProbeAt at);

}  // namespace penstock::capture
