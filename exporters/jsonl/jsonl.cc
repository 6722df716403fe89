// One exchange per line, appended to a file; the lines are those of `penstock observe -o jsonl`.
// A file that was moved or removed (logrotate) is opened anew before the next batch. A line is whole or, when the disk
// is full, cut away again and counted as dropped.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>

#include "exporters/core/exporter.h"
#include "exporters/core/queued_exporter.h"
#include "userspace/api/exchange_json.h"
#include "userspace/base/fd.h"

namespace penstock::exporters {
namespace {

using base::Error;
using base::ErrorCode;

struct Options {
  std::string path;                     // required; "-" is standard output
  std::size_t queue_bytes = 16u << 20;  // about 16,000 exchanges may wait for the disk
};

class LineFile {
 public:
  LineFile(std::string path, base::Fd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  static base::Result<base::Fd> open(const std::string& path) {
    if (path == "-") return base::Fd(::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0));
    base::Fd fd(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640));
    if (!fd) return base::errno_error(errno, "cannot open " + path, "the jsonl exporter appends to it");
    return fd;
  }

  std::size_t write(const std::vector<std::string>& batch) {
    follow_rotation();
    if (!fd_) return batch.size();
    std::size_t lost = 0;
    for (const std::string& line : batch)
      if (!write_line(line)) ++lost;
    return lost;
  }

 private:
  void follow_rotation() {
    if (path_ == "-") return;
    struct stat named {
    }, ours{};
    const bool same = fd_ && ::stat(path_.c_str(), &named) == 0 && ::fstat(fd_.get(), &ours) == 0 &&
                      named.st_ino == ours.st_ino && named.st_dev == ours.st_dev;
    if (same) return;
    auto fresh = open(path_);
    if (fresh) fd_ = std::move(*fresh);
  }

  bool write_line(std::string_view line) {
    std::size_t done = 0;
    while (done < line.size()) {
      const ssize_t n = ::write(fd_.get(), line.data() + done, line.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) break;
      done += static_cast<std::size_t>(n);
    }
    if (done == line.size()) return true;
    struct stat st {};
    if (done > 0 && ::fstat(fd_.get(), &st) == 0 && S_ISREG(st.st_mode)) {
      [[maybe_unused]] const int rc = ::ftruncate(fd_.get(), st.st_size - static_cast<off_t>(done));
    }
    return false;
  }

  std::string path_;
  base::Fd fd_;
};

base::Result<Options> read(const Settings& settings) {
  Options out;
  for (const auto& [key, value] : settings) {
    if (key == "path") {
      out.path = value;
    } else if (key == "queue_bytes") {
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), out.queue_bytes);
      if (error != std::errc() || end != value.data() + value.size() || out.queue_bytes == 0)
        return Error{
            ErrorCode::kUsage, 0, fmt::format("jsonl: queue_bytes \"{}\" is not a number of bytes", value), {}};
    } else {
      return Error{ErrorCode::kUsage, 0, fmt::format("jsonl: unknown setting \"{}\"", key),
                   "it has path and queue_bytes"};
    }
  }
  if (out.path.empty()) return Error{ErrorCode::kUsage, 0, "jsonl: path is missing", "path: /var/log/penstock.jsonl"};
  return out;
}

base::Result<std::unique_ptr<Exporter>> make(const Settings& settings) {
  PN_TRY(const Options options, read(settings));
  PN_TRY(auto fd, LineFile::open(options.path));
  auto file = std::make_shared<LineFile>(options.path, std::move(fd));
  const auto format = [](const model::Exchange& exchange) {
    std::string line;
    api::append_exchange_json(line, exchange);
    line += '\n';
    return line;
  };
  return std::unique_ptr<Exporter>(std::make_unique<QueuedExporter>(
      options.queue_bytes, format, [file](const std::vector<std::string>& batch) { return file->write(batch); }));
}

}  // namespace

extern const ExporterPlugin k_jsonl;
const ExporterPlugin k_jsonl{"jsonl", "appends one JSON object per exchange to a file", make};

}  // namespace penstock::exporters
