// Policy files named on the command line.
#pragma once

#include <string>

#include "userspace/base/result.h"

namespace penstock::cli {

// The whole file; "-" is standard input. kUsage when it cannot be read.
base::Result<std::string> read_file(const std::string& path);

}  // namespace penstock::cli
