// penstock-locate FILE…: what the locators find in an image, and how long it took. For development, and the proof of a
// locator in tests against real binaries.
#include <fcntl.h>
#include <fmt/format.h>

#include <chrono>
#include <cstdio>

#include "userspace/base/fd.h"
#include "userspace/locators/core/analysis.h"
#include "userspace/locators/core/mapped_file.h"

namespace {

using namespace penstock;

bool report(const char* path) {
  const auto begin = std::chrono::steady_clock::now();
  const base::Fd fd(open(path, O_RDONLY | O_CLOEXEC));
  if (!fd) {
    fmt::print("{}: cannot be opened\n", path);
    return false;
  }
  auto file = locators::MappedFile::map(fd.get());
  if (!file) {
    fmt::print("{}: {}\n", path, file.error().what);
    return false;
  }
  auto image = locators::ElfImage::parse(file->bytes());
  if (!image) {
    fmt::print("{}: {}\n", path, image.error().what);
    return false;
  }
  const locators::Analysis found = locators::analyze(*image, locators::registry());
  const double ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  fmt::print("{}: {} bytes, build-id {}, {:.1f} ms\n", path, file->bytes().size(), image->build_id(), ms);
  for (const auto& plan : found.plans) {
    fmt::print("  {}{}{}\n", plan.runtime, plan.note.empty() ? "" : ": ", plan.note);
    for (const auto& s : plan.sites)
      fmt::print("    {:<24} {:<20} entry={:#x} return={:#x} {}\n", s.what, name(s.shape), s.entry_offset,
                 s.return_offset, s.cheap ? "cheap" : "single-step");
  }
  for (const auto& miss : found.misses) fmt::print("  {}: not located: {}\n", miss.runtime, miss.reason);
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  bool ok = argc > 1;
  for (int i = 1; i < argc; ++i) ok = report(argv[i]) && ok;
  return ok ? 0 : 1;
}
