#include "userspace/capture/uprobe_multi.h"

#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace penstock::capture {
namespace {

constexpr std::uint32_t kReturnFlag = 1;  // BPF_F_UPROBE_MULTI_RETURN

// union bpf_attr's link_create member as of kernel 6.6 (89ae89f53d20), from its beginning.
struct LinkCreate {
  std::uint32_t program_fd;
  std::uint32_t target_fd;
  std::uint32_t attach_type;
  std::uint32_t flags;
  std::uint64_t path;
  std::uint64_t offsets;
  std::uint64_t ref_counter_offsets;
  std::uint64_t cookies;
  std::uint32_t count;
  std::uint32_t multi_flags;
  std::uint32_t pid;
  std::uint32_t padding;
};
static_assert(sizeof(LinkCreate) == 64);

}  // namespace

base::Result<base::Fd> attach_uprobe_multi(int program_fd, const std::string& path,
                                           std::span<const std::uint64_t> offsets,
                                           std::span<const std::uint64_t> cookies, ProbeAt at) {
  LinkCreate attr{};
  attr.program_fd = static_cast<std::uint32_t>(program_fd);
  attr.attach_type = at == ProbeAt::kSession ? kTraceUprobeSession : kTraceUprobeMulti;
  attr.path = reinterpret_cast<std::uint64_t>(path.c_str());
  attr.offsets = reinterpret_cast<std::uint64_t>(offsets.data());
  attr.cookies = reinterpret_cast<std::uint64_t>(cookies.data());
  attr.count = static_cast<std::uint32_t>(offsets.size());
  attr.multi_flags = at == ProbeAt::kReturn ? kReturnFlag : 0;
  const long fd = syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof attr);
  if (fd < 0) return base::errno_error(errno, "probe " + path);
  return base::Fd(static_cast<int>(fd));
}

}  // namespace penstock::capture
