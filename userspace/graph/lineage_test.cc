#include "userspace/graph/lineage.h"

#include <gtest/gtest.h>

namespace penstock::graph {
namespace {

model::Exchange asking(std::uint64_t id, model::CallId call, std::string run = "r") {
  model::Exchange e;
  e.id = id;
  e.kind = model::Kind::kLlm;
  e.subject.run = std::move(run);
  e.tool_calls.push_back({std::move(call), "search"});
  return e;
}

model::Exchange carrying(std::uint64_t id, std::vector<model::CallId> results, std::string run = "r") {
  model::Exchange e;
  e.id = id;
  e.kind = model::Kind::kLlm;
  e.subject.run = std::move(run);
  e.request.tool_results = std::move(results);
  return e;
}

using Ids = std::vector<model::CallId>;

TEST(Lineage, AResultContinuesTheExchangeThatAskedForIt) {
  Lineage lineage;
  lineage.answered(asking(1, std::string("call_a")));
  lineage.answered(asking(2, std::string("call_b")));
  EXPECT_EQ(lineage.parent(carrying(3, Ids{std::string("call_a")})), 1u);
  // Earlier results are carried along.
  EXPECT_EQ(lineage.parent(carrying(3, Ids{std::string("call_a"), std::string("call_b")})), 2u);
  EXPECT_EQ(lineage.parent(carrying(3, Ids{std::string("call_c")})), std::nullopt);
  EXPECT_EQ(lineage.parent(carrying(3, Ids{})), std::nullopt);
}

TEST(Lineage, IdsAreOfOneRunAndOneType) {
  Lineage lineage;
  lineage.answered(asking(1, std::string("1")));
  lineage.answered(asking(2, std::int64_t{7}));
  EXPECT_EQ(lineage.parent(carrying(3, Ids{std::int64_t{1}})), std::nullopt);
  EXPECT_EQ(lineage.parent(carrying(3, Ids{std::int64_t{7}})), 2u);
  EXPECT_EQ(lineage.parent(carrying(3, Ids{std::string("1")}, "other")), std::nullopt);
  EXPECT_EQ(lineage.parent(carrying(3, Ids{std::monostate{}})), std::nullopt);
  lineage.answered(asking(4, std::string(1000, 'x')));
  EXPECT_EQ(lineage.parent(carrying(5, Ids{std::string(1000, 'x')})), std::nullopt);
}

TEST(Lineage, MemoryIsBounded) {
  Lineage lineage(2);
  for (std::uint64_t i = 1; i <= 5; ++i) lineage.answered(asking(i, "call_" + std::to_string(i)));
  EXPECT_EQ(lineage.forgotten(), 3u);
  EXPECT_EQ(lineage.parent(carrying(9, Ids{std::string("call_1")})), std::nullopt);
  EXPECT_EQ(lineage.parent(carrying(9, Ids{std::string("call_5")})), 5u);
}

}  // namespace
}  // namespace penstock::graph
