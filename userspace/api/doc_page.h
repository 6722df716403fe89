// For tests of reference pages: the examples of a Markdown page, and its generated part. A page cannot go stale
// unnoticed.
#pragma once

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::api {

class DocPage {
 public:
  explicit DocPage(std::string path) : path_(std::move(path)) {
    std::ifstream in(path_);
    text_.assign(std::istreambuf_iterator<char>(in), {});
  }
  const std::string& text() const { return text_; }

  // The contents of all ```yaml blocks, in order.
  std::vector<std::string> yaml_blocks() const {
    constexpr std::string_view kBegin = "\n```yaml\n";
    constexpr std::string_view kEnd = "\n```\n";
    std::vector<std::string> blocks;
    for (std::size_t at = text_.find(kBegin); at != std::string::npos; at = text_.find(kBegin, at)) {
      at += kBegin.size();
      const std::size_t end = text_.find(kEnd, at);
      blocks.push_back(text_.substr(at, end == std::string::npos ? end : end + 1 - at));
    }
    return blocks;
  }

  // What stands between the schema marks. With PENSTOCK_WRITE_DOCS in the environment it is replaced by `expected`
  // first.
  std::string generated(const std::string& expected) {
    constexpr std::string_view kBegin = "<!-- schema:begin -->\n";
    constexpr std::string_view kEnd = "<!-- schema:end -->";
    const std::size_t begin = text_.find(kBegin);
    const std::size_t end = text_.find(kEnd);
    if (begin == std::string::npos || end == std::string::npos) return "the page has no schema marks";
    const std::size_t from = begin + kBegin.size();
    if (std::getenv("PENSTOCK_WRITE_DOCS") == nullptr) return text_.substr(from, end - from);
    text_.replace(from, end - from, expected);
    std::ofstream(path_) << text_;
    return expected;
  }

 private:
  std::string path_;
  std::string text_;
};

}  // namespace penstock::api
