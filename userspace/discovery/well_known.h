// TLS libraries and runtimes worth probing before a process maps them: a uprobe belongs to the inode, so a process that
// starts later is covered from its first instruction. Looked up inside a root directory (ours, or a container's through
// /proc/PID/root) without ever following a link out of it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "userspace/base/fd.h"

namespace penstock::discovery {

struct KnownFile {
  std::string path;  // inside the root
  std::shared_ptr<const base::Fd> file;
};

// Regular files only; missing ones are left out.
std::vector<KnownFile> open_well_known(const std::string& root);

}  // namespace penstock::discovery
