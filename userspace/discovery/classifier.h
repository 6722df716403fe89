// Analyses images away from the owner's thread. The owner submits open files and takes results when `ready_fd` becomes
// readable. A worker that hangs in a page fault (a dead network file system, a hostile FUSE mount) is replaced and
// forgotten, up to kMaxStalled of them.
// submit(), take() and replace_stalled() belong to one owner thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "userspace/base/clock.h"
#include "userspace/base/fd.h"
#include "userspace/discovery/plan_cache.h"
#include "userspace/locators/core/analysis.h"

namespace penstock::discovery {

struct ScanResult {
  FileStamp stamp;
  std::shared_ptr<const base::Fd> file;
  locators::Analysis analysis;
  bool changed = false;       // the file changed under the scan: nothing was learnt
  bool from_content = false;  // a copy of something known
  std::string error;          // not an image, or it could not be read: no plan, and no reason to look again
};

class Classifier {
 public:
  static constexpr std::size_t kMaxQueue = 8192;
  static constexpr int kMaxStalled = 4;
  static constexpr std::uint64_t kStallNs = 120'000'000'000;

  Classifier(std::span<const locators::Locator* const>, std::shared_ptr<PlanCache>, const base::Clock&);
  ~Classifier();
  Classifier(const Classifier&) = delete;

  // False when the queue is full: the image is not remembered and is submitted again when it is seen again.
  bool submit(const FileStamp&, std::shared_ptr<const base::Fd>);
  int ready_fd() const;
  std::vector<ScanResult> take();
  // Call now and then; returns how many workers were given up so far.
  int replace_stalled();
  std::size_t pending() const;

 private:
  struct State;
  void start_worker();
  std::shared_ptr<State> state_;
  const base::Clock& clock_;
  int stalled_ = 0;
};

}  // namespace penstock::discovery
