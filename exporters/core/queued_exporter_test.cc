#include "exporters/core/queued_exporter.h"

#include <gtest/gtest.h>

#include <future>
#include <set>

namespace penstock::exporters {
namespace {

TEST(QueuedExporter, WritesInOrderAndDropsWhatDoesNotFit) {
  std::promise<void> started, go;
  std::vector<std::string> written;
  bool first = true;
  std::uint64_t dropped = 0;
  {
    QueuedExporter exporter(
        4, [](const model::Exchange& x) { return std::to_string(x.id); },
        [&](const std::vector<std::string>& batch) -> std::size_t {
          if (std::exchange(first, false)) {
            started.set_value();
            go.get_future().wait();
          }
          written.insert(written.end(), batch.begin(), batch.end());
          return 0;
        });
    model::Exchange x;
    exporter.on_exchange(x);
    started.get_future().wait();  // the writer is busy: from here on only the queue takes
    for (x.id = 1; x.id <= 6; ++x.id) exporter.on_exchange(x);
    dropped = exporter.dropped();
    go.set_value();
  }
  EXPECT_EQ(written, (std::vector<std::string>{"0", "1", "2", "3", "4"}));
  EXPECT_EQ(dropped, 2u);
}

TEST(QueuedExporter, CountsWhatTheWriterLost) {
  std::promise<void> done;
  QueuedExporter exporter(
      100, [](const model::Exchange&) { return std::string("x"); },
      [&](const std::vector<std::string>& batch) {
        done.set_value();
        return batch.size();
      });
  exporter.on_exchange({});
  done.get_future().wait();
  while (exporter.dropped() == 0) std::this_thread::yield();
  EXPECT_EQ(exporter.dropped(), 1u);
}

TEST(Registry, NamesAreUniqueAndFactoriesRefuseUnknownSettings) {
  std::set<std::string_view> names;
  for (const ExporterPlugin* plugin : registry()) {
    EXPECT_TRUE(names.insert(plugin->name).second);
    EXPECT_FALSE(plugin->summary.empty());
    auto made = plugin->make({{"no_such_setting", "1"}});
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, base::ErrorCode::kUsage);
  }
  EXPECT_TRUE(names.contains("prometheus"));
  EXPECT_TRUE(names.contains("jsonl"));
}

}  // namespace
}  // namespace penstock::exporters
