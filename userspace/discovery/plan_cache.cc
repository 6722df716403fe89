#include "userspace/discovery/plan_cache.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cstring>
#include <memory>
#include <vector>

#include "userspace/base/atomic_file.h"
#include "userspace/base/fd.h"

namespace penstock::discovery {
namespace {

constexpr std::string_view kMagic = "PNPLANS\n";
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kMaxItems = 64;  // plans, sites and misses of one analysis
constexpr std::size_t kMaxText = 4096;

class Writer {
 public:
  template <class T>
  void number(T v) {
    const auto* p = reinterpret_cast<const std::uint8_t*>(&v);  // the file stays on this machine: its byte order
    out_.insert(out_.end(), p, p + sizeof(T));
  }
  void bytes(std::span<const std::uint8_t> b) { out_.insert(out_.end(), b.begin(), b.end()); }
  void text(std::string_view s) {
    s = s.substr(0, kMaxText);
    number(static_cast<std::uint16_t>(s.size()));
    bytes({reinterpret_cast<const std::uint8_t*>(s.data()), s.size()});
  }
  std::vector<std::uint8_t>& data() { return out_; }

 private:
  std::vector<std::uint8_t> out_;
};

// Every read is checked; after the first failure all further ones give zeroes and ok() is false.
class Reader {
 public:
  explicit Reader(std::span<const std::uint8_t> in) : in_(in) {}
  template <class T>
  T number() {
    T v{};
    const auto b = bytes(sizeof(T));
    if (b.size() == sizeof(T)) std::memcpy(&v, b.data(), sizeof(T));
    return v;
  }
  std::span<const std::uint8_t> bytes(std::size_t n) {
    if (n > in_.size()) {
      ok_ = false;
      in_ = {};
      return {};
    }
    const auto out = in_.first(n);
    in_ = in_.subspan(n);
    return out;
  }
  std::string text() {
    const auto n = number<std::uint16_t>();
    const auto b = bytes(std::min<std::size_t>(n, kMaxText));
    return {b.begin(), b.end()};
  }
  std::size_t count() {
    const auto n = number<std::uint8_t>();
    if (n > kMaxItems) ok_ = false;
    return ok_ ? n : 0;
  }
  bool ok() const { return ok_; }
  bool empty() const { return in_.empty(); }

 private:
  std::span<const std::uint8_t> in_;
  bool ok_ = true;
};

void write_stamp(Writer& w, const FileStamp& s) {
  w.number(s.device);
  w.number(s.inode);
  w.number(s.size);
  w.number(s.modified_ns);
  w.number(s.changed_ns);
}

FileStamp read_stamp(Reader& r) {
  FileStamp s;
  s.device = r.number<std::uint64_t>();
  s.inode = r.number<std::uint64_t>();
  s.size = r.number<std::uint64_t>();
  s.modified_ns = r.number<std::int64_t>();
  s.changed_ns = r.number<std::int64_t>();
  return s;
}

void write_analysis(Writer& w, const locators::Analysis& a) {
  w.number(static_cast<std::uint8_t>(std::min(a.plans.size(), kMaxItems)));
  for (std::size_t i = 0; i < std::min(a.plans.size(), kMaxItems); ++i) {
    const locators::AttachPlan& plan = a.plans[i];
    w.text(plan.runtime);
    w.text(plan.note);
    w.number(static_cast<std::uint8_t>(std::min(plan.sites.size(), kMaxItems)));
    for (std::size_t k = 0; k < std::min(plan.sites.size(), kMaxItems); ++k) {
      const locators::ProbeSite& site = plan.sites[k];
      w.number(site.entry_offset);
      w.number(site.return_offset);
      w.number(static_cast<std::uint8_t>(site.cheap ? 1 : 0));
      w.number(static_cast<std::uint8_t>(site.shape));
      w.text(site.what);
    }
  }
  w.number(static_cast<std::uint8_t>(std::min(a.misses.size(), kMaxItems)));
  for (std::size_t i = 0; i < std::min(a.misses.size(), kMaxItems); ++i) {
    w.text(a.misses[i].runtime);
    w.text(a.misses[i].reason);
  }
}

locators::Analysis read_analysis(Reader& r) {
  locators::Analysis a;
  a.plans.resize(r.count());
  for (locators::AttachPlan& plan : a.plans) {
    plan.runtime = r.text();
    plan.note = r.text();
    plan.sites.resize(r.count());
    for (locators::ProbeSite& site : plan.sites) {
      site.entry_offset = r.number<std::uint64_t>();
      site.return_offset = r.number<std::uint64_t>();
      site.cheap = r.number<std::uint8_t>() == 1;
      site.shape = static_cast<locators::CallShape>(r.number<std::uint8_t>());
      site.what = r.text();
    }
  }
  a.misses.resize(r.count());
  for (auto& miss : a.misses) {
    miss.runtime = r.text();
    miss.reason = r.text();
  }
  return a;
}

std::int64_t nanoseconds(const timespec& t) { return static_cast<std::int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec; }

std::uint32_t crc(std::span<const std::uint8_t> b) {
  return static_cast<std::uint32_t>(crc32(0, b.data(), static_cast<uInt>(b.size())));
}

}  // namespace

FileStamp stamp_of(const struct stat& st) {
  return {st.st_dev, st.st_ino, static_cast<std::uint64_t>(st.st_size), nanoseconds(st.st_mtim),
          nanoseconds(st.st_ctim)};
}

PlanCache::PlanCache(std::string path, std::string build) : path_(std::move(path)), build_(std::move(build)) {
  if (RAND_bytes(key_.data(), static_cast<int>(key_.size())) != 1) PN_BUG("no random bytes");
}

void PlanCache::load() {
  if (path_.empty()) return;
  const base::Fd fd(open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat st {};
  // Somebody else's file, or one that others can read or write, is no cache of ours.
  if (!fd || fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077) != 0)
    return;
  if (st.st_size <= 0 || static_cast<std::size_t>(st.st_size) > kMaxFileBytes) return;
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(st.st_size));
  const ssize_t n = pread(fd.get(), bytes.data(), bytes.size(), 0);
  if (n != static_cast<ssize_t>(bytes.size())) return;
  const std::lock_guard lock(mutex_);
  if (load_bytes(bytes)) return;
  stamps_.clear();
  analyses_.clear();
}

bool PlanCache::load_bytes(std::span<const std::uint8_t> file) {
  Reader r(file);
  const auto magic = r.bytes(kMagic.size());
  if (!r.ok() || std::memcmp(magic.data(), kMagic.data(), kMagic.size()) != 0) return false;
  if (r.number<std::uint32_t>() != kVersion || r.text() != build_) return false;
  const auto key = r.bytes(key_.size());
  if (!r.ok()) return false;
  std::copy(key.begin(), key.end(), key_.begin());
  while (!r.empty()) {
    const auto size = r.number<std::uint32_t>();
    const auto sum = r.number<std::uint32_t>();
    const auto payload = r.bytes(size);
    if (!r.ok() || crc(payload) != sum) break;
    Reader record(payload);
    const FileStamp stamp = read_stamp(record);
    ContentKey content;
    content.size = record.number<std::uint64_t>();
    const auto hash = record.bytes(content.hash.size());
    locators::Analysis analysis = read_analysis(record);
    if (!record.ok()) break;
    std::copy(hash.begin(), hash.end(), content.hash.begin());
    insert(stamp, content, std::move(analysis));
  }
  return true;
}

base::Result<> PlanCache::save() {
  Writer w;
  {
    const std::lock_guard lock(mutex_);
    if (path_.empty() || !changed_) return {};
    changed_ = false;
    w.bytes({reinterpret_cast<const std::uint8_t*>(kMagic.data()), kMagic.size()});
    w.number(kVersion);
    w.text(build_);
    w.bytes(key_);
    for (const auto& [stamp, content] : stamps_) {
      const auto found = analyses_.find(content);
      if (found == analyses_.end()) continue;
      Writer record;
      write_stamp(record, stamp);
      record.number(content.size);
      record.bytes(content.hash);
      write_analysis(record, found->second);
      w.number(static_cast<std::uint32_t>(record.data().size()));
      w.number(crc(record.data()));
      w.bytes(record.data());
    }
  }
  return base::write_file_atomically(path_, {reinterpret_cast<const char*>(w.data().data()), w.data().size()});
}

ContentKey PlanCache::content_key(std::span<const std::uint8_t> bytes) const {
  const std::unique_ptr<EVP_MAC, decltype(&EVP_MAC_free)> mac(EVP_MAC_fetch(nullptr, "POLY1305", nullptr),
                                                              EVP_MAC_free);
  if (!mac) PN_BUG("libcrypto has no POLY1305");
  const std::unique_ptr<EVP_MAC_CTX, decltype(&EVP_MAC_CTX_free)> context(EVP_MAC_CTX_new(mac.get()), EVP_MAC_CTX_free);
  std::array<std::uint8_t, 32> key;
  {
    const std::lock_guard lock(mutex_);
    key = key_;
  }
  ContentKey out;
  out.size = bytes.size();
  std::size_t written = 0;
  if (EVP_MAC_init(context.get(), key.data(), key.size(), nullptr) != 1 ||
      EVP_MAC_update(context.get(), bytes.data(), bytes.size()) != 1 ||
      EVP_MAC_final(context.get(), out.hash.data(), &written, out.hash.size()) != 1 || written != out.hash.size())
    PN_BUG("POLY1305 failed");
  return out;
}

std::optional<locators::Analysis> PlanCache::find(const FileStamp& stamp) const {
  const std::lock_guard lock(mutex_);
  const auto content = stamps_.find(stamp);
  if (content == stamps_.end()) return std::nullopt;
  const auto analysis = analyses_.find(content->second);
  if (analysis == analyses_.end()) return std::nullopt;
  return analysis->second;
}

std::optional<locators::Analysis> PlanCache::find(const ContentKey& content) const {
  const std::lock_guard lock(mutex_);
  const auto analysis = analyses_.find(content);
  if (analysis == analyses_.end()) return std::nullopt;
  return analysis->second;
}

void PlanCache::put(const FileStamp& stamp, const ContentKey& content, const locators::Analysis& analysis) {
  const std::lock_guard lock(mutex_);
  changed_ = true;
  insert(stamp, content, analysis);
}

void PlanCache::insert(const FileStamp& stamp, const ContentKey& content, locators::Analysis analysis) {
  if (stamps_.size() >= kMaxEntries) stamps_.clear();
  if (analyses_.size() >= kMaxEntries) {
    analyses_.clear();
    stamps_.clear();
  }
  stamps_.insert_or_assign(stamp, content);
  analyses_.insert_or_assign(content, std::move(analysis));
}

std::size_t PlanCache::size() const {
  const std::lock_guard lock(mutex_);
  return stamps_.size();
}

}  // namespace penstock::discovery
