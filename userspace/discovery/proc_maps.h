// The executable file mappings of a process, from /proc/PID/maps. The paths in it are chosen by the process: they are
// shown, never trusted. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::discovery {

struct CodeMapping {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::uint64_t inode = 0;  // as the kernel prints it; not unique on file systems with subvolumes
  std::string path;         // in the process's mount namespace; without " (deleted)"
  bool deleted = false;     // unlinked, or a memfd
};

inline constexpr std::size_t kMaxCodeMappings = 4096;  // per process; more are ignored and say so

// Parses the text of a maps file. `truncated` is set when the limit was reached.
std::vector<CodeMapping> parse_maps(std::string_view text, bool& truncated);

}  // namespace penstock::discovery
