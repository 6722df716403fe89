// Against this very program (it has dynamic and static symbols, .eh_frame, a build-id) and against damaged copies of
// it.
#include "userspace/locators/core/elf_image.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <random>

#include "userspace/base/fd.h"
#include "userspace/locators/core/code_scan.h"
#include "userspace/locators/core/mapped_file.h"
#include "userspace/locators/core/probe_site.h"

// Called through volatile pointers so that they exist as functions of their own.
extern "C" [[gnu::noinline, gnu::used]] const char* penstock_test_anchor_user() {
  return "anchor of the ELF image test";
}
extern "C" [[gnu::noinline, gnu::used]] const char* penstock_test_anchor_caller(int n) {
  const char* s = penstock_test_anchor_user();
  return n == 0 ? s : s + 1;
}

namespace penstock::locators {
namespace {

std::vector<std::uint8_t> self() {
  std::ifstream in("/proc/self/exe", std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class ElfImageTest : public testing::Test {
 protected:
  std::vector<std::uint8_t> bytes_ = self();
  ElfImage image_ = *ElfImage::parse(bytes_);
};

TEST_F(ElfImageTest, TranslatesBetweenOffsetsAndAddresses) {
  for (const Segment& s : image_.segments()) {
    EXPECT_EQ(image_.offset_of(s.vaddr), s.offset);
    EXPECT_EQ(image_.offset_of(s.vaddr + s.file_bytes - 1), s.offset + s.file_bytes - 1);
    EXPECT_TRUE(image_.vaddr_of(s.offset));
  }
  EXPECT_FALSE(image_.offset_of(UINT64_MAX));
  EXPECT_TRUE(image_.at(UINT64_MAX - 3, 16).empty());
  EXPECT_LT(image_.at(image_.segments().back().vaddr, SIZE_MAX).size(), bytes_.size());
}

TEST_F(ElfImageTest, FindsFunctionsBySymbolAndByUnwindTable) {
  const auto s = image_.symbol("penstock_test_anchor_user");
  ASSERT_TRUE(s);
  EXPECT_TRUE(s->function);
  const auto by_unwind = image_.unwind_range(s->vaddr + 1);
  ASSERT_TRUE(by_unwind);
  EXPECT_EQ(by_unwind->begin, s->vaddr);
  EXPECT_EQ(by_unwind->end, s->vaddr + s->bytes);
  const auto by_symbol = image_.symbol_range(s->vaddr + s->bytes - 1);
  ASSERT_TRUE(by_symbol);
  EXPECT_EQ(by_symbol->begin, s->vaddr);
  EXPECT_FALSE(image_.symbol("penstock_test_no_such_function"));
  EXPECT_FALSE(image_.unwind_range(0));
}

TEST_F(ElfImageTest, FindsTheFunctionThatRefersToAString) {
  const std::string_view anchors[] = {"anchor of the ELF image test"};
  image_.index_anchors(anchors);
  const auto user = image_.symbol("penstock_test_anchor_user");
  ASSERT_TRUE(user);
  const auto places = image_.anchor(anchors[0]);
  ASSERT_FALSE(places.empty());
  bool found = false;
  for (const Reference& r : references_to(image_, places)) {
    const auto f = function_around(image_, r.at);
    found = found || (f && f->begin == user->vaddr);
  }
  EXPECT_TRUE(found);
  const auto caller = image_.symbol("penstock_test_anchor_caller");
  ASSERT_TRUE(caller);
  const auto calls = calls_to(image_, std::span(&user->vaddr, 1));
  EXPECT_TRUE(std::any_of(calls.begin(), calls.end(), [&](const Reference& c) {
    return c.at >= caller->vaddr && c.at < caller->vaddr + caller->bytes;
  }));
}

TEST_F(ElfImageTest, KnowsSymbolVersions) {
  std::ifstream in("/lib/x86_64-linux-gnu/libc.so.6", std::ios::binary);
  const std::vector<std::uint8_t> libc(std::istreambuf_iterator<char>(in), {});
  auto image = ElfImage::parse(libc);
  ASSERT_TRUE(image);
  const auto s = image->dynamic_symbol("getpid");
  ASSERT_TRUE(s);
  EXPECT_EQ(s->version, "GLIBC_2.2.5");
  EXPECT_EQ(image->soname(), "libc.so.6");
  EXPECT_TRUE(image->needs("ld-linux"));
  EXPECT_FALSE(image->build_id().empty());
}

TEST_F(ElfImageTest, WorksWithoutSectionHeaders) {
  std::ifstream in("/lib/x86_64-linux-gnu/libc.so.6", std::ios::binary);
  std::vector<std::uint8_t> libc(std::istreambuf_iterator<char>(in), {});
  const auto intact = ElfImage::parse(libc);
  ASSERT_TRUE(intact);
  const auto expected = intact->dynamic_symbol("write");
  std::memset(libc.data() + offsetof(Elf64_Ehdr, e_shoff), 0, 8);
  std::memset(libc.data() + offsetof(Elf64_Ehdr, e_shnum), 0, 2);
  auto bare = ElfImage::parse(libc);
  ASSERT_TRUE(bare);
  EXPECT_TRUE(bare->sections().empty());
  const auto s = bare->dynamic_symbol("write");
  ASSERT_TRUE(s && expected);
  EXPECT_EQ(s->vaddr, expected->vaddr);
}

TEST_F(ElfImageTest, RefusesWhatIsNoImage) {
  EXPECT_FALSE(ElfImage::parse({}));
  const std::vector<std::uint8_t> text = {'#', '!', '/', 'b', 'i', 'n', '/', 's', 'h'};
  EXPECT_FALSE(ElfImage::parse(text));
  auto other_machine = bytes_;
  other_machine[offsetof(Elf64_Ehdr, e_machine)] = EM_AARCH64;
  EXPECT_FALSE(ElfImage::parse(other_machine));
}

TEST_F(ElfImageTest, RefusesSegmentsThatOverlapInTheFile) {
  Elf64_Ehdr header;
  std::memcpy(&header, bytes_.data(), sizeof(header));
  for (std::size_t i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr p{};
    p.p_type = PT_LOAD;
    p.p_filesz = bytes_.size();
    p.p_vaddr = i << 32;
    std::memcpy(bytes_.data() + header.e_phoff + i * sizeof(p), &p, sizeof(p));
  }
  EXPECT_FALSE(ElfImage::parse(bytes_));
}

// Everything a locator may ask of an image; results do not matter, memory errors do (this runs under the sanitizers
// too).
void exercise(std::span<const std::uint8_t> bytes) {
  auto image = ElfImage::parse(bytes);
  if (!image) return;
  const std::string_view anchors[] = {"anchor of the ELF image test"};
  image->index_anchors(anchors);
  static_cast<void>(image->build_id());
  static_cast<void>(image->relative_relocations());
  static_cast<void>(image->symbol("penstock_test_anchor_user"));
  std::vector<std::uint64_t> at;
  for (const Reference& r : references_to(*image, image->anchor(anchors[0]))) at.push_back(r.at);
  for (const Segment& s : image->segments()) at.push_back(s.vaddr + s.file_bytes / 2);
  for (const auto& f : functions_around(*image, at)) {
    if (!f) continue;
    static_cast<void>(disassemble(*image, *f));
    static_cast<void>(choose_site(*image, f->begin, CallShape::kTlsWriteRet));
  }
}

TEST_F(ElfImageTest, SurvivesTruncationAnywhere) {
  std::mt19937 random(3);
  for (std::size_t size = 0; size < 4096; size += 61) exercise(std::span(bytes_).first(size));
  for (int i = 0; i < 40; ++i) exercise(std::span(bytes_).first(random() % bytes_.size()));
}

TEST_F(ElfImageTest, SurvivesDamagedTables) {
  std::mt19937 random(5);
  Elf64_Ehdr header;
  std::memcpy(&header, bytes_.data(), sizeof(header));
  for (int round = 0; round < 120; ++round) {
    auto damaged = bytes_;
    for (int i = 0; i < 4; ++i) {
      // In the headers mostly: that is where offsets and counts are.
      const std::size_t where = round % 3 == 0 ? random() % damaged.size()
                                               : 16 + random() % (header.e_phoff + header.e_phnum * sizeof(Elf64_Phdr));
      damaged[where] = static_cast<std::uint8_t>(random());
    }
    exercise(damaged);
  }
}

}  // namespace
}  // namespace penstock::locators
