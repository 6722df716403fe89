#include "userspace/discovery/proc_maps.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock::discovery {
namespace {

TEST(ProcMaps, KeepsExecutableFileMappingsOnly) {
  bool truncated = true;
  const auto maps = parse_maps(
      "00400000-00452000 r--p 00000000 08:02 173521      /usr/bin/dbus-daemon\n"
      "00452000-00472000 r-xp 00052000 08:02 173521      /usr/bin/dbus-daemon\n"
      "7f0000000000-7f0000001000 r-xp 00000000 00:00 0                          [vdso]\n"
      "7f0000002000-7f0000003000 rwxp 00000000 00:00 0 \n"
      "7f1000000000-7f1000001000 r-xp 00000000 00:01 1044                       /memfd:code (deleted)\n"
      "7f2000000000-7f2000001000 r-xp 00000000 fd:00 77                         /with space/and\\012line\n",
      truncated);
  EXPECT_FALSE(truncated);
  ASSERT_THAT(maps, testing::SizeIs(3));
  EXPECT_EQ(maps[0].begin, 0x452000u);
  EXPECT_EQ(maps[0].end, 0x472000u);
  EXPECT_EQ(maps[0].inode, 173521u);
  EXPECT_EQ(maps[0].path, "/usr/bin/dbus-daemon");
  EXPECT_EQ(maps[1].path, "/memfd:code");
  EXPECT_TRUE(maps[1].deleted);
  EXPECT_EQ(maps[2].path, "/with space/and\nline");
}

TEST(ProcMaps, IgnoresWhatItCannotRead) {
  bool truncated = true;
  EXPECT_THAT(parse_maps("", truncated), testing::IsEmpty());
  EXPECT_THAT(parse_maps("\n\n garbage\nzz-yy r-xp 0 0:0 5 /x\n1-2 r-xp 0 0:0 99999999999999999999 /x\n1 r-xp 0 0:0 5 "
                         "/x\n1-2 r-xp 0 0:0 5\n",
                         truncated),
              testing::IsEmpty());
}

TEST(ProcMaps, StopsAtItsLimitAndSaysSo) {
  std::string text;
  for (std::size_t i = 0; i < kMaxCodeMappings + 1; ++i) text += "1000-2000 r-xp 00000000 08:02 5 /x\n";
  bool truncated = false;
  EXPECT_THAT(parse_maps(text, truncated), testing::SizeIs(kMaxCodeMappings));
  EXPECT_TRUE(truncated);
}

}  // namespace
}  // namespace penstock::discovery
