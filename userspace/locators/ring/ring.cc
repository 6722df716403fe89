// ring below rustls. There are no strings and no exported names; what cannot be optimised away are the `Algorithm`
// statics that rustls reaches its ciphers through:
//
//   0.17  {init, seal, open, key length 16 or 32, id}
//   0.16  {init, seal, open, key length, longest input 0xfffffffe0 or 0x3fffffffc0, id}
//
// AES-128 and AES-256 share seal and open but not init, and stand within 4 KiB of each other; that pair is the anchor,
// and ChaCha20 nearby (id 2) belongs to it. The pointers are in place, or are relative relocations in
// position-independent images.
#include <array>
#include <set>

#include "userspace/locators/core/elf_image.h"
#include "userspace/locators/core/locator.h"
#include "userspace/locators/core/probe_site.h"

namespace penstock::locators {
namespace {

using namespace std::string_view_literals;

constexpr std::uint64_t kPairDistance = 4096;
constexpr std::uint64_t kFamilyDistance = 65536;
constexpr std::size_t kMaxCandidates = 4096;
constexpr std::uint64_t kAesInputLimit = 0xfffffffe0, kChaChaInputLimit = 0x3fffffffc0;
// Its assembly carries the name of its author, as that of OpenSSL and its children does: without it nothing is looked
// at.
constexpr std::array kAnchors{"CRYPTOGAMS by <appro@openssl.org>"sv};

struct Algorithm {
  std::uint64_t at, init, seal, open, key_bytes, id;
  bool old_layout;
};

std::optional<Algorithm> algorithm(const ElfImage& image, std::uint64_t at, std::uint64_t init, std::uint64_t seal,
                                   std::uint64_t open) {
  if (seal == open || !image.in_code(init) || !image.in_code(seal) || !image.in_code(open)) return std::nullopt;
  const auto key = image.read<std::uint64_t>(at + 24);
  const auto fourth = image.read<std::uint64_t>(at + 32);
  if (!key || !fourth || (*key != 16 && *key != 32)) return std::nullopt;
  // The id is one byte; what follows it in its word is padding, zero in statics.
  if (*fourth <= 3) return Algorithm{at, init, seal, open, *key, *fourth, false};
  if (*fourth != kAesInputLimit && *fourth != kChaChaInputLimit) return std::nullopt;
  const auto id = image.read<std::uint8_t>(at + 40);
  if (!id || *id > 3) return std::nullopt;
  return Algorithm{at, init, seal, open, *key, *id, true};
}

std::vector<Algorithm> candidates(const ElfImage& image) {
  std::vector<Algorithm> out;
  const auto consider = [&](std::uint64_t at, std::uint64_t init, std::uint64_t seal, std::uint64_t open) {
    if (out.size() == kMaxCandidates) return;
    if (const auto a = algorithm(image, at, init, seal, open)) out.push_back(*a);
  };
  if (image.position_independent()) {
    const auto relocations = image.relative_relocations();
    for (std::size_t i = 0; i + 2 < relocations.size(); ++i)
      if (relocations[i + 1].where == relocations[i].where + 8 && relocations[i + 2].where == relocations[i].where + 16)
        consider(relocations[i].where, relocations[i].addend, relocations[i + 1].addend, relocations[i + 2].addend);
    return out;
  }
  for (const Segment& s : image.segments()) {
    if (s.executable) continue;
    const Bytes bytes = image.file().subspan(s.offset, s.file_bytes);
    for (std::size_t p = (8 - s.vaddr % 8) % 8; p + 48 <= bytes.size(); p += 8) {
      std::array<std::uint64_t, 4> w;
      std::memcpy(w.data(), bytes.data() + p, sizeof(w));
      if (w[3] == 16 || w[3] == 32) consider(s.vaddr + p, w[0], w[1], w[2]);
    }
  }
  return out;
}

std::uint64_t distance(std::uint64_t a, std::uint64_t b) { return a > b ? a - b : b - a; }

base::Result<std::optional<AttachPlan>> locate(const ElfImage& image) {
  if (image.anchor(kAnchors[0]).empty()) return std::optional<AttachPlan>{};
  const std::vector<Algorithm> all = candidates(image);
  std::set<std::uint64_t> seals, opens;
  for (const Algorithm& a : all) {
    if (a.key_bytes != 16 || a.id != 0) continue;
    for (const Algorithm& b : all) {
      const bool pair = b.key_bytes == 32 && b.id == 1 && b.seal == a.seal && b.open == a.open && b.init != a.init &&
                        b.old_layout == a.old_layout && distance(a.at, b.at) < kPairDistance;
      if (!pair) continue;
      seals.insert(a.seal);
      opens.insert(a.open);
      for (const Algorithm& c : all)
        if (c.key_bytes == 32 && c.id == 2 && c.old_layout == a.old_layout && distance(a.at, c.at) < kFamilyDistance) {
          seals.insert(c.seal);
          opens.insert(c.open);
        }
    }
  }
  if (seals.empty()) return std::optional<AttachPlan>{};
  AttachPlan plan{"ring", {}, "records at the AEAD boundary; arguments are found at run time"};
  for (const std::uint64_t f : seals)
    if (auto site = probe_site(image, f, CallShape::kRingSeal, "aead::Algorithm::seal", true))
      plan.sites.push_back(std::move(*site));
  for (const std::uint64_t f : opens)
    if (auto site = probe_site(image, f, CallShape::kRingOpen, "aead::Algorithm::open", true))
      plan.sites.push_back(std::move(*site));
  return std::optional<AttachPlan>(std::move(plan));
}

}  // namespace

extern const Locator k_ring{"ring", locate, kAnchors};

}  // namespace penstock::locators
