#include "userspace/capture/kernel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <mntent.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <deque>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "penstock_bpf.skel.h"
#include "userspace/base/clock.h"
#include "userspace/base/fd.h"
#include "userspace/base/log.h"
#include "userspace/capture/live_ring.h"
#include "userspace/capture/pins.h"
#include "userspace/capture/uprobe_multi.h"

namespace penstock::capture {
namespace {

using base::Error;
using base::ErrorCode;

struct LinkDeleter {
  void operator()(bpf_link* l) const { bpf_link__destroy(l); }
};

struct SkeletonDeleter {
  void operator()(penstock_bpf* s) const { penstock_bpf__destroy(s); }
};

// libbpf explains refusals on many lines; the first tell what happened, and only when asked for are all shown.
int libbpf_print(libbpf_print_level level, const char* format, va_list args) {
  char line[512];
  const int n = std::vsnprintf(line, sizeof line, format, args);
  if (n <= 0) return 0;
  std::string_view text(line, std::min<std::size_t>(static_cast<std::size_t>(n), sizeof line - 1));
  while (text.ends_with('\n')) text.remove_suffix(1);
  if (level != LIBBPF_DEBUG) base::log_debug("libbpf {}", text);
  return 0;
}

// The pinned control record of a predecessor, if there is one.
base::Result<std::optional<pn_ctl_val>> predecessor(const std::string& dir) {
  base::Fd fd(bpf_obj_get((dir + "/pn_ctl").c_str()));
  if (!fd) {
    if (errno == ENOENT) return std::optional<pn_ctl_val>{};
    return base::errno_error(errno, "open pinned map " + dir + "/pn_ctl");
  }
  bpf_map_info info{};
  __u32 bytes = sizeof info, zero = 0;
  pn_ctl_val value{};
  const bool readable = bpf_obj_get_info_by_fd(fd.get(), &info, &bytes) == 0 && info.value_size == sizeof value &&
                        bpf_map_lookup_elem(fd.get(), &zero, &value) == 0;
  if (!readable || value.wire_version != PN_WIRE_VERSION)
    return Error{
        ErrorCode::kUnsupported, 0,
        dir + " holds the maps of another version" +
            (readable ? " (" + std::to_string(value.wire_version) + ", this is " + std::to_string(PN_WIRE_VERSION) + ")"
                      : ""),
        "stop the other version with its own binary, or remove " + dir + " (that ends its enforcement)"};
  return std::optional(value);
}

std::uint32_t shape_of(locators::CallShape shape) {
  switch (shape) {
    case locators::CallShape::kTlsWriteOut:
      return PN_SHAPE_WRITE_OUT;
    case locators::CallShape::kTlsReadOut:
      return PN_SHAPE_READ_OUT;
    case locators::CallShape::kTlsWriteRet:
      return PN_SHAPE_WRITE_RET;
    case locators::CallShape::kTlsReadRet:
      return PN_SHAPE_READ_RET;
    case locators::CallShape::kTlsWriteFlagsOut:
      return PN_SHAPE_WRITE_FLAGS_OUT;
    case locators::CallShape::kTlsFree:
      return PN_SHAPE_FREE;
    case locators::CallShape::kTlsRecord:
      return PN_SHAPE_RECORD;
    case locators::CallShape::kTlsReadFlagsRet:
      return PN_SHAPE_READ_FLAGS_RET;
    case locators::CallShape::kRingSeal:
      return PN_SHAPE_RING_SEAL;
    case locators::CallShape::kRingOpen:
      return PN_SHAPE_RING_OPEN;
    case locators::CallShape::kGoWrite:
      return PN_SHAPE_GO_WRITE;
    case locators::CallShape::kGoRead:
      return PN_SHAPE_GO_READ;
    case locators::CallShape::kGoReadReturn:
      return PN_SHAPE_GO_READ_RETURN;
    case locators::CallShape::kAeadSeal:
      return PN_SHAPE_AEAD_SEAL;
    case locators::CallShape::kAeadSealScatter:
      return PN_SHAPE_AEAD_SEAL_SCATTER;
    case locators::CallShape::kAeadOpen:
      return PN_SHAPE_AEAD_OPEN;
    case locators::CallShape::kAeadOpenGather:
      return PN_SHAPE_AEAD_OPEN_GATHER;
  }
  return PN_SHAPE_NONE;  // a plan of another version
}

bpf_program* program_of(std::uint32_t shape, const penstock_bpf& s) {
  switch (shape) {
    case PN_SHAPE_GO_WRITE:
    case PN_SHAPE_GO_READ:
      return s.progs.uprobe__go_enter;
    case PN_SHAPE_GO_READ_RETURN:
      return s.progs.uprobe__go_return;
    case PN_SHAPE_AEAD_SEAL:
    case PN_SHAPE_AEAD_SEAL_SCATTER:
    case PN_SHAPE_AEAD_OPEN:
    case PN_SHAPE_AEAD_OPEN_GATHER:
      return s.progs.uprobe__aead_call;
    case PN_SHAPE_RING_SEAL:
    case PN_SHAPE_RING_OPEN:
      return s.progs.uprobe__ring_call;
    default:
      return s.progs.uprobe__tls_call;
  }
}

// Go's stacks move: nothing of it is probed on return.
ProbeAt probed_at(const bpf_program* program, const penstock_bpf& s) {
  return program == s.progs.uprobe__go_enter || program == s.progs.uprobe__go_return ? ProbeAt::kEntry
                                                                                     : ProbeAt::kSession;
}

}  // namespace

struct Kernel::Impl {
  KernelOptions options;
  std::unique_ptr<penstock_bpf, SkeletonDeleter> skeleton;
  std::optional<pn_ctl_val> before;  // the predecessor's control record
  std::uint32_t epoch = 1;
  pn_ctl_val* control = nullptr;
  LiveRing ring;
  std::unique_ptr<bpf_link, LinkDeleter> stdio;  // while servers over pipes are watched
  // The probes of one image: taken away with this object, unless the kernel side as a whole ends (pins outlive us).
  class Attached {
   public:
    explicit Attached(Impl& kernel) : kernel_(&kernel) {}
    Attached(Attached&& other) noexcept
        : kernel_(std::exchange(other.kernel_, nullptr)),
          links_(std::move(other.links_)),
          pins_(std::move(other.pins_)),
          rows_(std::move(other.rows_)) {}
    Attached& operator=(Attached&&) = delete;
    ~Attached() {
      if (kernel_ == nullptr || kernel_->ending) return;
      // The pin goes last: then the kernel lets go in the background, where closing the last descriptor waits for all
      // processors.
      while (!links_.empty()) {
        links_.pop_back();
        unlink(pins_.back().c_str());
        pins_.pop_back();
      }
      kernel_->free_rows.insert(kernel_->free_rows.end(), rows_.begin(), rows_.end());
    }
    std::uint32_t take_row() {
      Impl& k = *kernel_;
      // Unused ones first, then the one that has been free for longest.
      if (k.next_row < k.first_row() + PN_MAX_PROBES / 2) {
        rows_.push_back(k.next_row++);
      } else {
        rows_.push_back(k.free_rows.front());
        k.free_rows.pop_front();
      }
      return rows_.back();
    }
    base::Result<> pin(base::Fd link, const std::string& name) {
      PN_CHECK(kernel_->pin_link(link.get(), name));
      pins_.push_back(kernel_->link_path(name));
      links_.push_back(std::move(link));
      return {};
    }

   private:
    Impl* kernel_;
    std::vector<base::Fd> links_;
    std::vector<std::string> pins_;
    std::vector<std::uint32_t> rows_;
  };
  // By device, inode and runtime: an image may hold several.
  std::map<std::tuple<std::uint64_t, std::uint64_t, std::string>, Attached> images;
  std::uint32_t next_row = 0;
  // Of detached images, longest free first: a call that is still inside an old probe must not find another one's shape.
  std::deque<std::uint32_t> free_rows;
  bool ending = false;

  ~Impl() {
    ending = true;
    if (control != nullptr) munmap(control, static_cast<std::size_t>(sysconf(_SC_PAGESIZE)));
  }

  std::string link_dir() const { return options.bpffs_dir + "/links"; }
  // Link pins begin with the epoch they belong to: successors recognise and remove those of their predecessors.
  std::string link_prefix() const { return "e" + std::to_string(epoch) + "-"; }
  // Rows of the probe table in use by a predecessor's links must stay as they are until those are gone.
  std::uint32_t first_row() const { return epoch % 2 * (PN_MAX_PROBES / 2); }

  void remove_all_pins() {
    remove_pins(link_dir(), {});
    rmdir(link_dir().c_str());
    remove_pins(options.bpffs_dir, {});
    rmdir(options.bpffs_dir.c_str());
  }
  base::Result<> open_and_load();
  base::Result<> attach_programs();
  std::string link_path(const std::string& name) const { return link_dir() + "/" + link_prefix() + name; }
  base::Result<> pin_link(int fd, const std::string& name) {
    const std::string path = link_path(name);
    unlink(path.c_str());  // a leftover of an epoch number used before
    if (bpf_obj_pin(fd, path.c_str()) != 0) return base::errno_error(errno, "pin " + path);
    return {};
  }
};

base::Result<std::string> find_cgroup2() {
  FILE* mounts = setmntent("/proc/self/mounts", "re");
  if (mounts == nullptr) return base::errno_error(errno, "read /proc/self/mounts");
  std::string found;
  while (const mntent* m = getmntent(mounts)) {
    if (std::string_view(m->mnt_type) == "cgroup2") {
      found = m->mnt_dir;
      break;
    }
  }
  endmntent(mounts);
  if (found.empty())
    return Error{ErrorCode::kUnsupported, 0, "no cgroup2 hierarchy is mounted",
                 "mount one: mount -t cgroup2 none /sys/fs/cgroup/unified"};
  return found;
}

base::Result<> Kernel::Impl::open_and_load() {
  libbpf_set_print(libbpf_print);
  libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
  if (geteuid() != 0)
    return Error{ErrorCode::kPrivilege, 0, "loading BPF programs needs root",
                 "run with sudo, or start penstockd as a service"};
  if (access("/sys/kernel/btf/vmlinux", R_OK) != 0)
    return Error{ErrorCode::kUnsupported, errno, "the kernel has no BTF (/sys/kernel/btf/vmlinux)",
                 "use a kernel built with CONFIG_DEBUG_INFO_BTF"};
  PN_CHECK(make_pin_dir(options.bpffs_dir));
  if (mkdir(link_dir().c_str(), 0700) != 0 && errno != EEXIST) return base::errno_error(errno, "create " + link_dir());
  PN_TRY(before, predecessor(options.bpffs_dir));
  if (before) epoch = before->epoch + 1;
  next_row = first_row();

  LIBBPF_OPTS(bpf_object_open_opts, open_options, .pin_root_path = options.bpffs_dir.c_str());
  skeleton.reset(penstock_bpf__open_opts(&open_options));
  if (!skeleton) return base::errno_error(errno, "open the BPF object");
  skeleton->rodata->cfg_epoch = epoch;
  // A predecessor's rings keep their size: what is in them is not lost.
  if (!before) {
    bpf_map__set_max_entries(skeleton->maps.pn_events, options.events_ring_bytes);
    bpf_map__set_max_entries(skeleton->maps.pn_verdicts, options.verdicts_ring_bytes);
  } else {
    for (bpf_map* map : {skeleton->maps.pn_events, skeleton->maps.pn_verdicts}) {
      base::Fd fd(bpf_obj_get((options.bpffs_dir + "/" + bpf_map__name(map)).c_str()));
      bpf_map_info info{};
      __u32 bytes = sizeof info;
      if (fd && bpf_obj_get_info_by_fd(fd.get(), &info, &bytes) == 0) bpf_map__set_max_entries(map, info.max_entries);
    }
  }
  bpf_program* each = nullptr;
  bpf_object__for_each_program(each, skeleton->obj) {
    if (bpf_program__type(each) != BPF_PROG_TYPE_KPROBE) continue;
    const bool session = probed_at(each, *skeleton) == ProbeAt::kSession;
    bpf_program__set_expected_attach_type(
        each, static_cast<bpf_attach_type>(session ? kTraceUprobeSession : kTraceUprobeMulti));
  }
  if (const int err = penstock_bpf__load(skeleton.get()); err != 0) {
    if (err == -EPERM)
      return Error{ErrorCode::kPrivilege, EPERM, "the kernel refused the BPF programs",
                   "needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN; see `penstock doctor`"};
    return Error{ErrorCode::kUnsupported, -err, "the kernel refused the BPF programs",
                 "kernel 6.16 or later is needed; penstockd --log-level debug shows what it said"};
  }
  void* page = mmap(nullptr, static_cast<std::size_t>(sysconf(_SC_PAGESIZE)), PROT_READ | PROT_WRITE, MAP_SHARED,
                    bpf_map__fd(skeleton->maps.pn_ctl), 0);
  if (page == MAP_FAILED) return base::errno_error(errno, "map pn_ctl");
  control = static_cast<pn_ctl_val*>(page);
  control->wire_version = PN_WIRE_VERSION;
  control->dead_after_ns = options.dead_after_ns;
  // Generation 0 means "never resolved" in the kernel's per-thread cache.
  if (control->scope_gen == 0) control->scope_gen = 1;
  return ring.open(bpf_map__fd(skeleton->maps.pn_events), bpf_map__fd(skeleton->maps.pn_verdicts), control);
}

base::Result<> Kernel::Impl::attach_programs() {
  PN_TRY(const std::string cgroup_path, find_cgroup2());
  base::Fd cgroup(open(cgroup_path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!cgroup) return base::errno_error(errno, "open " + cgroup_path);
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, skeleton->obj) {
    const char* name = bpf_program__name(program);
    const bpf_prog_type type = bpf_program__type(program);
    if (type == BPF_PROG_TYPE_KPROBE) continue;              // per image, see attach()
    if (program == skeleton->progs.tp_btf__stdio) continue;  // on demand, see watch_stdio()
    bpf_link* link = type == BPF_PROG_TYPE_TRACING ? bpf_program__attach(program)
                                                   : bpf_program__attach_cgroup(program, cgroup.get());
    if (link == nullptr)
      return Error{errno == EPERM ? ErrorCode::kPrivilege : ErrorCode::kUnsupported, errno,
                   std::string("attach ") + name, "see docs/KERNELS.md for what each hook needs"};
    auto pinned = pin_link(bpf_link__fd(link), name);
    bpf_link__destroy(link);  // the pin keeps it attached
    PN_CHECK(std::move(pinned));
  }
  return {};
}

Kernel::Kernel(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Kernel::~Kernel() = default;

base::Result<std::unique_ptr<Kernel>> Kernel::load(const KernelOptions& options) {
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  PN_CHECK(impl->open_and_load());
  if (auto attached = impl->attach_programs(); !attached) {
    if (!impl->before) impl->remove_all_pins();
    return std::move(attached).error();
  }
  return std::unique_ptr<Kernel>(new Kernel(std::move(impl)));
}

base::Result<> Kernel::attach(const Image& image, const locators::AttachPlan& plan) {
  Impl& k = *impl_;
  const auto key = std::tuple(image.dev, image.ino, plan.runtime);
  if (k.images.contains(key)) return {};
  const std::size_t unused = k.first_row() + PN_MAX_PROBES / 2 - k.next_row;
  if (plan.sites.size() > unused + k.free_rows.size())
    return Error{ErrorCode::kFailure, 0, "the probe table is full", "too many different TLS images on this host"};
  struct Probes {
    std::vector<std::uint64_t> offsets, rows;
  };
  std::map<bpf_program*, Probes> probes;
  const bool ends_told = std::any_of(plan.sites.begin(), plan.sites.end(),
                                     [](const auto& site) { return site.shape == locators::CallShape::kTlsFree; });
  Impl::Attached attached(k);
  for (const locators::ProbeSite& site : plan.sites) {
    const pn_probe_val value{shape_of(site.shape), ends_told ? std::uint32_t{PN_PROBE_ENDS_TOLD} : 0U};
    if (value.shape == PN_SHAPE_NONE) continue;
    const std::uint32_t row = attached.take_row();
    if (bpf_map_update_elem(bpf_map__fd(k.skeleton->maps.pn_probe), &row, &value, BPF_ANY) != 0)
      return base::errno_error(errno, "write pn_probe");
    Probes& sites = probes[program_of(value.shape, *k.skeleton)];
    sites.offsets.push_back(site.entry_offset);
    sites.rows.push_back(row);
  }
  if (probes.empty())
    return Error{ErrorCode::kUnsupported, 0, plan.runtime + ": its calls have a shape that is not captured", ""};
  const std::string name = std::to_string(image.dev) + "-" + std::to_string(image.ino) + "-" + plan.runtime;
  for (const auto& [program, sites] : probes) {
    PN_TRY(base::Fd link, attach_uprobe_multi(bpf_program__fd(program), image.path, sites.offsets, sites.rows,
                                              probed_at(program, *k.skeleton)));
    PN_CHECK(attached.pin(std::move(link), std::string(bpf_program__name(program)) + "-" + name));
  }
  k.images.emplace(key, std::move(attached));
  return {};
}

void Kernel::detach(const Image& image) {
  std::erase_if(impl_->images, [&](const auto& entry) {
    return std::get<0>(entry.first) == image.dev && std::get<1>(entry.first) == image.ino;
  });
}

std::size_t Kernel::attached_images() const {
  std::set<std::pair<std::uint64_t, std::uint64_t>> inodes;
  for (const auto& [key, links] : impl_->images) inodes.emplace(std::get<0>(key), std::get<1>(key));
  return inodes.size();
}

base::Result<> Kernel::watch_stdio(std::uint32_t server_tgid, std::uint32_t client_tgid) {
  Impl& k = *impl_;
  pn_stdio_val value{};
  value.client_tgid = client_tgid;
  if (bpf_map_update_elem(bpf_map__fd(k.skeleton->maps.pn_stdio), &server_tgid, &value, BPF_ANY) != 0)
    return base::errno_error(errno, "write pn_stdio");
  if (k.stdio != nullptr) return {};
  k.stdio.reset(bpf_program__attach(k.skeleton->progs.tp_btf__stdio));
  if (k.stdio == nullptr) return base::errno_error(errno, "attach tp_btf__stdio");
  return k.pin_link(bpf_link__fd(k.stdio.get()), "tp_btf__stdio");
}

void Kernel::unwatch_stdio() {
  Impl& k = *impl_;
  unlink(k.link_path("tp_btf__stdio").c_str());
  k.stdio.reset();
}

std::vector<std::uint32_t> Kernel::stdio_servers() const {
  std::vector<std::uint32_t> out;
  const int map = bpf_map__fd(impl_->skeleton->maps.pn_stdio);
  std::uint32_t key = 0;
  for (const void* at = nullptr; out.size() < PN_MAX_PROCS && bpf_map_get_next_key(map, at, &key) == 0; at = &key)
    out.push_back(key);
  return out;
}

base::Result<> Kernel::activate() {
  Impl& k = *impl_;
  k.control->heartbeat_boot_ns = base::SystemClock().boot_ns();
  __atomic_store_n(&k.control->epoch, k.epoch, __ATOMIC_SEQ_CST);
  remove_pins(k.link_dir(), k.link_prefix());
  return {};
}

bool Kernel::resumed() const { return impl_->before.has_value(); }

KernelMaps Kernel::maps() const {
  const auto& m = impl_->skeleton->maps;
  return {bpf_map__fd(m.pn_ctl),      bpf_map__fd(m.pn_scope), bpf_map__fd(m.pn_proc),  bpf_map__fd(m.pn_cgroup),
          bpf_map__fd(m.pn_conn),     bpf_map__fd(m.pn_gate),  bpf_map__fd(m.pn_admit), bpf_map__fd(m.pn_endpoint),
          bpf_map__fd(m.pn_datagram), bpf_map__fd(m.pn_stdio), impl_->control};
}

EventSource& Kernel::events() { return impl_->ring; }

std::uint32_t Kernel::backlog_permille() const {
  const auto fill = [](const Ring& ring) {
    return static_cast<std::uint32_t>(ring.used_bytes() * 1000 / ring.size_bytes());
  };
  return std::max(fill(impl_->ring.events()), fill(impl_->ring.verdicts()));
}

KernelSnapshot Kernel::read_counters() {
  const Impl& k = *impl_;
  KernelSnapshot out;
  const auto cpus = static_cast<std::size_t>(libbpf_num_possible_cpus());
  std::vector<pn_loss_val> loss(cpus);
  for (std::uint32_t kind = 0; kind < PN_EV_KINDS; ++kind) {
    if (bpf_map_lookup_elem(bpf_map__fd(k.skeleton->maps.pn_loss), &kind, loss.data()) != 0) continue;
    pn_loss_val& sum = out.loss[kind];
    for (const pn_loss_val& l : loss) {
      sum.sent += l.sent;
      sum.sent_bytes += l.sent_bytes;
      sum.lost_ring += l.lost_ring;
      sum.lost_ring_bytes += l.lost_ring_bytes;
      sum.lost_fault += l.lost_fault;
      sum.lost_fault_bytes += l.lost_fault_bytes;
      sum.lost_rate += l.lost_rate;
      sum.lost_rate_bytes += l.lost_rate_bytes;
    }
  }
  std::vector<std::uint64_t> counts(cpus);
  for (std::uint32_t stat = 0; stat < PN_STATS; ++stat) {
    if (bpf_map_lookup_elem(bpf_map__fd(k.skeleton->maps.pn_stats), &stat, counts.data()) != 0) continue;
    for (const std::uint64_t n : counts) out.stats[stat] += n;
  }
  out.events_ring_bytes = k.ring.events().used_bytes();
  out.events_ring_size = k.ring.events().size_bytes();
  out.verdicts_ring_bytes = k.ring.verdicts().used_bytes();
  out.verdicts_ring_size = k.ring.verdicts().size_bytes();
  return out;
}

void Kernel::unload() {
  Impl& k = *impl_;
  __atomic_store_n(&k.control->gating, 0U, __ATOMIC_SEQ_CST);
  __atomic_store_n(&k.control->epoch, 0U, __ATOMIC_SEQ_CST);
  k.images.clear();
  k.remove_all_pins();
}

}  // namespace penstock::capture
