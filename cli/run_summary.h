// What `penstock run` says at the end.
#pragma once

#include <string>

#include "userspace/api/control.pb.h"

namespace penstock::cli {

std::string summary_text(const api::RunSummary& run, int exit_code, bool color);

}  // namespace penstock::cli
