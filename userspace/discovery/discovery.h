// Which processes map which images, and where to probe those that hold a TLS runtime.
//
// Every image (inode and stamp) is analysed once, by a worker thread, and remembered; a process that starts costs a
// read of its maps and one stat per library. Images are opened through /proc/PID/map_files, which reaches containers,
// deleted files and memfds alike; where that is not permitted, through /proc/PID/root and the path, if it still is the
// same file.
//
// Owned by one thread. Bounded: at most Options::max_images images are remembered; those without processes go first.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "userspace/base/clock.h"
#include "userspace/base/fd.h"
#include "userspace/discovery/classifier.h"
#include "userspace/discovery/plan_cache.h"
#include "userspace/locators/core/analysis.h"

namespace penstock::discovery {

using Pid = std::uint32_t;

// An image with a TLS runtime, reported once. Attach uprobes at `attach_path` while `file` lives; both may be dropped
// afterwards (the probe holds the inode).
struct ImageFound {
  std::uint64_t id = 0;  // for take_gone() and images_of()
  std::string attach_path;
  std::shared_ptr<const base::Fd> file;
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::string path;  // as its process names it: for people
  bool deleted = false;
  locators::Analysis analysis;  // plans to attach (maybe none), and misses to report
  std::vector<Pid> pids;        // known so far; empty for pre-attached libraries
};

struct Options {
  std::string cache_path;  // empty: plans are forgotten at exit
  std::string build;       // of this program; empty: the build-id of /proc/self/exe
  std::size_t max_images = 65536;
  std::uint64_t warm_ns = 600'000'000'000;  // how long an image that nobody maps is kept, see drop_idle()
};

struct Stats {
  std::uint64_t images = 0;  // remembered now
  std::uint64_t with_plan = 0;
  std::uint64_t pending = 0;   // waiting for analysis, for a progress line
  std::uint64_t analysed = 0;  // since start
  std::uint64_t from_cache = 0;
  std::uint64_t refused = 0;      // queue or table full: seen again later
  std::uint64_t unreachable = 0;  // mapped, but could not be opened
  std::uint64_t truncated_maps = 0;
  std::uint64_t stalled_workers = 0;
};

class Discovery {
 public:
  Discovery(Options, std::span<const locators::Locator* const>, const base::Clock&);

  // Images to attach now. More arrive through take_ready().
  std::vector<ImageFound> scan_all();   // every process; also forgets those that are gone
  std::vector<ImageFound> preattach();  // known libraries of our root and of every other mount namespace
  std::vector<ImageFound> on_file(
      const std::string& path);             // a program or library of our own root that will be used soon
  std::vector<ImageFound> on_process(Pid);  // seen for the first time
  void on_fork(Pid parent, Pid child);      // it maps what its parent maps: nothing is read
  std::vector<ImageFound> on_exec(Pid);     // its old mappings are gone
  std::vector<ImageFound> on_mmap(Pid, std::uint64_t begin, std::uint64_t end);
  void on_exit(Pid);

  int ready_fd() const { return classifier_.ready_fd(); }
  std::vector<ImageFound> take_ready();
  // Images that no process maps and no path reaches any more (deleted, changed, evicted, idle): their probes can go.
  // Take them before attaching what was found since: a file that was rewritten is gone and found at once.
  std::vector<std::uint64_t> take_gone();
  // Forgets images that nobody has mapped for `warm_ns`, unless their path in our root still leads to them: a program
  // that runs now and then is covered from its first instruction, the libraries of a container that ended do not pile
  // up. Once a minute or so.
  void drop_idle();

  struct Mapped {
    std::uint64_t id;
    std::string path;
    locators::Analysis analysis;
  };
  std::vector<Mapped> images_of(Pid) const;  // with a plan or a miss; for coverage
  Stats stats() const;

 private:
  enum class Status { kPending, kKnown };
  struct Image {
    std::uint64_t id = 0;
    FileStamp stamp;  // by_stamp_ may lead here from a newer one that is being analysed
    Status status = Status::kPending;
    std::string path;
    bool deleted = false;
    bool interesting = false;  // has a plan or a miss
    bool reported = false;
    locators::Analysis analysis;
    std::set<Pid> pids;
    std::uint64_t idle_since_ns = 0;  // while `pids` is empty
  };
  using ImageId = std::uint64_t;

  void saw(Pid, std::shared_ptr<const base::Fd>, const FileStamp&, const std::string& path, bool deleted,
           std::vector<ImageFound>&);
  void look_at(Pid, std::uint64_t begin, std::uint64_t end, std::uint64_t inode, const std::string& path, bool deleted,
               std::vector<ImageFound>&);
  Image* image_of_inode(const FileStamp&);
  Image* remember(const FileStamp&, const std::string& path, bool deleted);
  void learn(ImageId, const FileStamp&, locators::Analysis, std::shared_ptr<const base::Fd>, std::vector<ImageFound>&);
  ImageFound report(Image&, std::shared_ptr<const base::Fd>);
  void forget_stamps(const Image&);
  void drop(ImageId);
  void drop_if_useless(Image&);
  bool make_room();

  const Options options_;
  const base::Clock& clock_;
  std::shared_ptr<PlanCache> cache_;
  Classifier classifier_;
  std::uint64_t next_id_ = 1;
  std::map<ImageId, Image> images_;
  std::map<FileStamp, ImageId> by_stamp_;
  std::unordered_map<Pid, std::set<ImageId>> by_pid_;
  std::vector<std::uint64_t> gone_;
  Stats counters_;
};

}  // namespace penstock::discovery
