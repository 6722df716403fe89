#include "userspace/discovery/discovery.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <optional>

#include "userspace/base/atomic_file.h"
#include "userspace/discovery/proc_maps.h"
#include "userspace/discovery/well_known.h"
#include "userspace/locators/core/mapped_file.h"

namespace penstock::discovery {
namespace {

constexpr std::size_t kMaxMapsBytes = 16 << 20;

std::vector<Pid> all_pids() {
  std::vector<Pid> out;
  DIR* directory = opendir("/proc");
  if (directory == nullptr) return out;
  while (const dirent* entry = readdir(directory)) {
    Pid pid = 0;
    const std::string_view name = entry->d_name;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error == std::errc{} && end == name.data() + name.size()) out.push_back(pid);
  }
  closedir(directory);
  return out;
}

// Plans are only as good as the locators that made them: another build analyses anew.
std::string own_build() {
  const base::Fd fd(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  auto file = locators::MappedFile::map(fd.get());
  if (!file) return {};
  auto image = locators::ElfImage::parse(file->bytes());
  if (!image) return {};
  if (const std::string id = image->build_id(); !id.empty()) return id;
  struct stat st {};
  fstat(fd.get(), &st);
  return fmt::format("{}-{}", st.st_size, st.st_mtim.tv_sec);
}

std::optional<FileStamp> regular_stamp(const std::string& path) {
  struct stat st {};
  if (stat(path.c_str(), &st) != 0 || !S_ISREG(st.st_mode)) return std::nullopt;
  return stamp_of(st);
}

std::string mount_namespace(const std::string& process) {
  char link[64];
  const ssize_t n = readlink(fmt::format("{}/ns/mnt", process).c_str(), link, sizeof(link));
  return n > 0 ? std::string(link, static_cast<std::size_t>(n)) : std::string();
}

Options with_build(Options options) {
  if (options.build.empty()) options.build = own_build();
  return options;
}

}  // namespace

Discovery::Discovery(Options options, std::span<const locators::Locator* const> locators, const base::Clock& clock)
    : options_(with_build(std::move(options))),
      clock_(clock),
      cache_(std::make_shared<PlanCache>(options_.cache_path, options_.build)),
      classifier_(locators, cache_, clock_) {
  cache_->load();
}

std::vector<ImageFound> Discovery::scan_all() {
  const std::vector<Pid> pids = all_pids();
  const std::set<Pid> alive(pids.begin(), pids.end());
  std::vector<Pid> dead;
  for (const auto& [pid, images] : by_pid_)
    if (!alive.contains(pid)) dead.push_back(pid);
  for (const Pid pid : dead) on_exit(pid);
  std::vector<ImageFound> found;
  for (const Pid pid : pids) {
    auto part = on_process(pid);
    std::move(part.begin(), part.end(), std::back_inserter(found));
  }
  return found;
}

std::vector<ImageFound> Discovery::preattach() {
  std::vector<ImageFound> found;
  const auto look = [&](const std::string& root) {
    for (KnownFile& known : open_well_known(root)) {
      struct stat st {};
      if (fstat(known.file->get(), &st) == 0) saw(0, std::move(known.file), stamp_of(st), known.path, false, found);
    }
  };
  look("/");
  std::set<std::string> seen{mount_namespace("/proc/self")};
  for (const Pid pid : all_pids()) {
    const std::string process = fmt::format("/proc/{}", pid);
    const std::string ns = mount_namespace(process);
    if (!ns.empty() && seen.insert(ns).second) look(process + "/root");
  }
  return found;
}

std::vector<ImageFound> Discovery::on_file(const std::string& path) {
  std::vector<ImageFound> found;
  struct stat st {};
  // O_PATH first: what is at the path may be a FIFO or a device.
  const base::Fd place(open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!place || fstat(place.get(), &st) != 0 || !S_ISREG(st.st_mode)) return found;
  auto file =
      std::make_shared<base::Fd>(open(fmt::format("/proc/self/fd/{}", place.get()).c_str(), O_RDONLY | O_CLOEXEC));
  if (*file) saw(0, std::move(file), stamp_of(st), path, false, found);
  return found;
}

std::vector<ImageFound> Discovery::on_process(Pid pid) {
  std::vector<ImageFound> found;
  bool truncated = false;
  const auto maps = base::read_small_file(fmt::format("/proc/{}/maps", pid), kMaxMapsBytes);
  if (!maps) {
    counters_.truncated_maps += maps.error().errno_ == EFBIG ? 1 : 0;  // the others have ended
    return found;
  }
  const auto mappings = parse_maps(*maps, truncated);
  counters_.truncated_maps += truncated ? 1 : 0;
  for (const CodeMapping& m : mappings) look_at(pid, m.begin, m.end, m.inode, m.path, m.deleted, found);
  return found;
}

void Discovery::on_fork(Pid parent, Pid child) {
  on_exit(child);  // its number was somebody else's, whose end was missed
  const auto it = by_pid_.find(parent);
  if (it == by_pid_.end()) return;
  const std::set<ImageId> images = it->second;
  for (const ImageId id : images) images_.at(id).pids.insert(child);
  by_pid_[child] = images;
}

std::vector<ImageFound> Discovery::on_exec(Pid pid) {
  on_exit(pid);
  return on_process(pid);
}

std::vector<ImageFound> Discovery::on_mmap(Pid pid, std::uint64_t begin, std::uint64_t end) {
  const std::string link = fmt::format("/proc/{}/map_files/{:x}-{:x}", pid, begin, end);
  const auto stamp = regular_stamp(link);
  if (!stamp) return on_process(pid);  // merged with a neighbour, or not permitted: the maps tell
  std::vector<ImageFound> found;
  char path[4096];
  const ssize_t n = readlink(link.c_str(), path, sizeof(path));
  std::string name(path, n > 0 ? static_cast<std::size_t>(n) : 0);
  const bool deleted = name.ends_with(" (deleted)");
  if (deleted) name.resize(name.size() - std::string_view(" (deleted)").size());
  look_at(pid, begin, end, stamp->inode, name, deleted, found);
  return found;
}

void Discovery::on_exit(Pid pid) {
  const auto it = by_pid_.find(pid);
  if (it == by_pid_.end()) return;
  const std::set<ImageId> ids = std::move(it->second);
  by_pid_.erase(it);
  for (const ImageId id : ids) {
    const auto image = images_.find(id);
    if (image == images_.end()) continue;  // dropped meanwhile
    image->second.pids.erase(pid);
    image->second.idle_since_ns = clock_.boot_ns();
    drop_if_useless(image->second);
  }
}

void Discovery::look_at(Pid pid, std::uint64_t begin, std::uint64_t end, std::uint64_t inode, const std::string& path,
                        bool deleted, std::vector<ImageFound>& found) {
  std::string reach = fmt::format("/proc/{}/map_files/{:x}-{:x}", pid, begin, end);
  auto stamp = regular_stamp(reach);
  if (!stamp && !deleted) {
    reach = fmt::format("/proc/{}/root{}", pid, path);
    stamp = regular_stamp(reach);
    if (stamp && stamp->inode != inode) stamp.reset();  // another file has the name now
  }
  if (!stamp) {
    ++counters_.unreachable;
    return;
  }
  if (by_stamp_.contains(*stamp)) {
    saw(pid, nullptr, *stamp, path, deleted, found);
    return;
  }
  base::Fd fd(open(reach.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat st {};
  if (!fd || fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode)) {
    ++counters_.unreachable;
    return;
  }
  saw(pid, std::make_shared<base::Fd>(std::move(fd)), stamp_of(st), path, deleted, found);
}

void Discovery::saw(Pid pid, std::shared_ptr<const base::Fd> file, const FileStamp& stamp, const std::string& path,
                    bool deleted, std::vector<ImageFound>& found) {
  auto known = by_stamp_.find(stamp);
  if (known == by_stamp_.end()) {
    if (file == nullptr) return;
    auto cached = cache_->find(stamp);
    if (!cached && !classifier_.submit(stamp, file)) {
      ++counters_.refused;
      return;
    }
    // A known inode under a new stamp was linked, unlinked or rewritten: analysis tells whether its probes still fit.
    Image* image = image_of_inode(stamp);
    if (image == nullptr) image = remember(stamp, path, deleted);
    if (image == nullptr) return;
    known = by_stamp_.emplace(stamp, image->id).first;
    if (cached) {
      ++counters_.from_cache;
      learn(image->id, stamp, std::move(*cached), std::move(file), found);
      known = by_stamp_.find(stamp);
    }
  }
  Image& image = images_.at(known->second);
  image.deleted = image.deleted || deleted;
  if (pid == 0) return;
  image.pids.insert(pid);
  by_pid_[pid].insert(image.id);
  for (ImageFound& f : found)
    if (f.id == image.id) f.pids.assign(image.pids.begin(), image.pids.end());
}

Discovery::Image* Discovery::image_of_inode(const FileStamp& stamp) {
  const auto it = by_stamp_.lower_bound({stamp.device, stamp.inode, 0, INT64_MIN, INT64_MIN});
  const bool same = it != by_stamp_.end() && it->first.device == stamp.device && it->first.inode == stamp.inode;
  return same ? &images_.at(it->second) : nullptr;
}

Discovery::Image* Discovery::remember(const FileStamp& stamp, const std::string& path, bool deleted) {
  if (!make_room()) return nullptr;
  Image image;
  image.id = next_id_++;
  image.stamp = stamp;
  image.path = path;
  image.deleted = deleted;
  image.idle_since_ns = clock_.boot_ns();
  return &images_.emplace(image.id, std::move(image)).first->second;
}

void Discovery::learn(ImageId id, const FileStamp& stamp, locators::Analysis analysis,
                      std::shared_ptr<const base::Fd> file, std::vector<ImageFound>& found) {
  Image* image = &images_.at(id);
  if (image->status == Status::kKnown && image->analysis != analysis) {
    // Rewritten: the old probes are in the wrong places.
    const Image old = *image;
    drop(id);
    image = remember(stamp, old.path, old.deleted);
    if (image == nullptr) return;
    image->pids = old.pids;
    for (const Pid pid : old.pids) by_pid_[pid].insert(image->id);
  } else {
    forget_stamps(*image);
  }
  by_stamp_[stamp] = image->id;
  image->stamp = stamp;
  image->status = Status::kKnown;
  image->interesting = !analysis.plans.empty() || !analysis.misses.empty();
  image->analysis = std::move(analysis);
  if (image->interesting && !image->reported) found.push_back(report(*image, std::move(file)));
}

void Discovery::forget_stamps(const Image& image) {
  auto it = by_stamp_.lower_bound({image.stamp.device, image.stamp.inode, 0, INT64_MIN, INT64_MIN});
  while (it != by_stamp_.end() && it->first.device == image.stamp.device && it->first.inode == image.stamp.inode)
    it = it->second == image.id ? by_stamp_.erase(it) : std::next(it);
}

ImageFound Discovery::report(Image& image, std::shared_ptr<const base::Fd> file) {
  image.reported = true;
  ImageFound out;
  out.id = image.id;
  out.attach_path = fmt::format("/proc/self/fd/{}", file->get());
  out.file = std::move(file);
  out.device = image.stamp.device;
  out.inode = image.stamp.inode;
  out.path = image.path;
  out.deleted = image.deleted;
  out.analysis = image.analysis;
  out.pids.assign(image.pids.begin(), image.pids.end());
  return out;
}

std::vector<ImageFound> Discovery::take_ready() {
  counters_.stalled_workers = static_cast<std::uint64_t>(classifier_.replace_stalled());
  std::vector<ImageFound> found;
  for (ScanResult& result : classifier_.take()) {
    ++(result.from_content ? counters_.from_cache : counters_.analysed);
    const auto it = by_stamp_.find(result.stamp);
    if (it == by_stamp_.end()) continue;
    const ImageId id = it->second;
    if (result.changed) {  // not the file we were asked about: it is seen again under its new stamp
      by_stamp_.erase(it);
      if (images_.at(id).status == Status::kPending) drop(id);
      continue;
    }
    learn(id, result.stamp, std::move(result.analysis), std::move(result.file), found);
    if (const auto now = by_stamp_.find(result.stamp); now != by_stamp_.end()) drop_if_useless(images_.at(now->second));
  }
  return found;
}

std::vector<std::uint64_t> Discovery::take_gone() { return std::exchange(gone_, {}); }

void Discovery::drop_if_useless(Image& image) {
  // A library that still has a name will be mapped again; a deleted one cannot be.
  if (image.pids.empty() && image.deleted && image.status == Status::kKnown) drop(image.id);
}

void Discovery::drop_idle() {
  const std::uint64_t now = clock_.boot_ns();
  std::vector<ImageId> idle;
  for (auto& [id, image] : images_) {
    if (!image.pids.empty() || image.status != Status::kKnown || now - image.idle_since_ns < options_.warm_ns) continue;
    const auto stamp = image.interesting ? regular_stamp(image.path) : std::nullopt;
    if (stamp && stamp->device == image.stamp.device && stamp->inode == image.stamp.inode)
      image.idle_since_ns = now;  // asked again when it has been idle as long once more
    else
      idle.push_back(id);
  }
  for (const ImageId id : idle) drop(id);
}

void Discovery::drop(ImageId id) {
  const auto it = images_.find(id);
  if (it == images_.end()) return;
  if (it->second.reported) gone_.push_back(id);
  forget_stamps(it->second);
  for (const Pid pid : it->second.pids) {
    const auto images = by_pid_.find(pid);
    if (images == by_pid_.end()) continue;
    images->second.erase(id);
    if (images->second.empty()) by_pid_.erase(images);
  }
  images_.erase(it);
}

bool Discovery::make_room() {
  if (images_.size() < options_.max_images) return true;
  // The oldest that nobody maps; what is uninteresting costs nothing to learn again, so that goes first.
  const auto idle = [](bool interesting) {
    return [interesting](const auto& entry) {
      return entry.second.pids.empty() && entry.second.status == Status::kKnown &&
             entry.second.interesting == interesting;
    };
  };
  auto victim = std::find_if(images_.begin(), images_.end(), idle(false));
  if (victim == images_.end()) victim = std::find_if(images_.begin(), images_.end(), idle(true));
  if (victim == images_.end()) {
    ++counters_.refused;
    return false;
  }
  drop(victim->first);
  return true;
}

std::vector<Discovery::Mapped> Discovery::images_of(Pid pid) const {
  std::vector<Mapped> out;
  const auto it = by_pid_.find(pid);
  if (it == by_pid_.end()) return out;
  for (const ImageId id : it->second) {
    const Image& image = images_.at(id);
    if (image.interesting) out.push_back({id, image.path, image.analysis});
  }
  return out;
}

Stats Discovery::stats() const {
  Stats out = counters_;
  out.images = images_.size();
  out.with_plan = static_cast<std::uint64_t>(
      std::count_if(images_.begin(), images_.end(), [](const auto& e) { return !e.second.analysis.plans.empty(); }));
  out.pending = classifier_.pending();
  return out;
}

}  // namespace penstock::discovery
