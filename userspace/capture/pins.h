// The directory on the BPF file system in which maps and links outlive us.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "userspace/base/result.h"

namespace penstock::capture {

// Makes `dir` (0700) on a bpffs, mounting none: fails with a hint when its parent is not on one.
base::Result<> make_pin_dir(const std::string& dir);
// Names in `dir`, without "." and ".."; empty when it does not exist.
std::vector<std::string> list_pins(const std::string& dir);
// Removes the names in `dir` that `keep` does not begin with (all when empty). Removing a link's last pin detaches it.
void remove_pins(const std::string& dir, std::string_view keep_prefix);

}  // namespace penstock::capture
