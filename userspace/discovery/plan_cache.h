// What analysis found, remembered across restarts and for copies of a file.
//
// Two keys lead to an analysis. The *stamp* (device, inode, size, modification and change time) is free, and cannot be
// forged by the file's owner: the change time is the kernel's. The *content key* is a keyed hash of all bytes, so that
// a copy of a 300 MB program costs one fast read and not a new analysis. Neither uses the build-id: an image claims
// that itself, and one false claim would blind us to the true owner of the id. The hash is Poly1305 under a random key
// that never leaves this file (mode 0600): nobody can prepare a collision.
//
// File: "PNPLANS\n" · u32 version · u16 length + build (of the program: plans of another build are not believed) · 32
// bytes key · records. Record: u32 bytes · u32 CRC-32 · payload. A damaged record ends the reading; the rest is
// analysed anew. Thread-safe.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "userspace/base/result.h"
#include "userspace/locators/core/analysis.h"

struct stat;

namespace penstock::discovery {

struct FileStamp {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t size = 0;
  std::int64_t modified_ns = 0;
  std::int64_t changed_ns = 0;
  auto operator<=>(const FileStamp&) const = default;
};
FileStamp stamp_of(const struct stat&);

struct ContentKey {
  std::uint64_t size = 0;
  std::array<std::uint8_t, 16> hash{};
  auto operator<=>(const ContentKey&) const = default;
};

class PlanCache {
 public:
  static constexpr std::size_t kMaxEntries = 16384;  // of each kind; beyond it the cache starts over
  static constexpr std::size_t kMaxFileBytes = 32 << 20;

  // `build` identifies the program. Without a path nothing is kept on disk.
  PlanCache(std::string path, std::string build);

  // Reads the file if there is one. Never fails: what cannot be read or believed is as if it were not there.
  void load();
  // Writes beside the file and renames. Does nothing when nothing changed.
  base::Result<> save();

  ContentKey content_key(std::span<const std::uint8_t> bytes) const;
  std::optional<locators::Analysis> find(const FileStamp&) const;
  std::optional<locators::Analysis> find(const ContentKey&) const;
  void put(const FileStamp&, const ContentKey&, const locators::Analysis&);
  std::size_t size() const;

 private:
  bool load_bytes(std::span<const std::uint8_t>);
  void insert(const FileStamp&, const ContentKey&, locators::Analysis);

  const std::string path_;
  const std::string build_;
  mutable std::mutex mutex_;
  std::array<std::uint8_t, 32> key_{};
  std::map<FileStamp, ContentKey> stamps_;
  std::map<ContentKey, locators::Analysis> analyses_;
  bool changed_ = false;
};

}  // namespace penstock::discovery
