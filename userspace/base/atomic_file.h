// Small state files that survive a crash at any moment: the old content or the new one, never a mixture.
#pragma once

#include <string>
#include <string_view>

#include "userspace/base/result.h"

namespace penstock::base {

// Writes `path`.tmp, syncs it, renames it over `path`, syncs the directory: durable when it returns. Mode 0600.
Result<> write_file_atomically(const std::string& path, std::string_view content);

// The whole file. A missing one is an Error with errno_ ENOENT: the caller knows whether that is normal.
// Refuses files larger than `max_bytes`.
Result<std::string> read_small_file(const std::string& path, std::size_t max_bytes = std::size_t{1} << 20);

}  // namespace penstock::base
