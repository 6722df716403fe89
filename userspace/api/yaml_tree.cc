#include "userspace/api/yaml_tree.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <optional>
#include <sstream>

#include "userspace/base/utf8.h"

namespace penstock::api {
namespace {

Position position(const YAML::Mark& mark) {
  return mark.is_null() ? Position{} : Position{mark.line + 1, mark.column + 1};
}

// Leaves yaml-cpp from inside one of its callbacks. Thrown and caught in this file only.
struct Stop {
  Position at;
  std::string message;
  std::string hint;
};

class TreeBuilder final : public YAML::EventHandler {
 public:
  TreeBuilder(std::string_view text, YamlTrees& out, const YamlOptions& options)
      : text_(text), out_(out), options_(options) {}

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (out_.documents.size() >= options_.max_documents)
      throw Stop{position(mark), fmt::format("more than {} documents", options_.max_documents), ""};
    root_.reset();
  }
  void OnDocumentEnd() override {
    if (root_ && root_->kind != YamlNode::Kind::kNull) out_.documents.push_back(std::move(*root_));
    root_.reset();
  }
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { leaf(YamlNode::Kind::kNull, mark, "", anchor); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    throw Stop{position(mark), "aliases are not supported", "write the value out"};
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    // yaml-cpp gives plain scalars the tag "?" and quoted ones "!".
    YamlNode& node = leaf(YamlNode::Kind::kScalar, mark, tag == "!" || tag == "?" ? "" : tag, anchor);
    node.scalar = value;
    node.plain = tag != "!";
    if (!node.plain) check_closed(mark);
    if (node.plain && (value == "~" || value == "null")) node.kind = YamlNode::Kind::kNull;
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(leaf(YamlNode::Kind::kList, mark, tag == "?" ? "" : tag, anchor));
  }
  void OnSequenceEnd() override { open_.pop_back(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(leaf(YamlNode::Kind::kMap, mark, tag == "?" ? "" : tag, anchor));
  }
  void OnMapEnd() override { open_.pop_back(); }
  void OnAnchor(const YAML::Mark& mark, const std::string&) override {
    throw Stop{position(mark), "anchors are not supported", "write the value out where it is used"};
  }

 private:
  YamlNode& leaf(YamlNode::Kind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    const Position at = position(mark);
    if (anchor != YAML::NullAnchor) throw Stop{at, "anchors are not supported", "write the value out where it is used"};
    if (!tag.empty()) throw Stop{at, "tags are not supported", "remove the `!` or `!!` word"};
    if (++nodes_ > options_.max_nodes) throw Stop{at, fmt::format("more than {} values", options_.max_nodes), ""};
    YamlNode* node;
    if (open_.empty()) {
      node = &root_.emplace();
    } else {
      node = &open_.back()->items.emplace_back();
    }
    node->kind = kind;
    node->at = at;
    return *node;
  }
  // yaml-cpp 0.7 takes the end of the text for the end of an open quotation.
  void check_closed(const YAML::Mark& mark) const {
    std::size_t at = static_cast<std::size_t>(mark.pos);
    if (at >= text_.size() || (text_[at] != '"' && text_[at] != '\'')) return;  // a block scalar
    const char quote = text_[at];
    for (++at; at < text_.size(); ++at) {
      if (quote == '"' && text_[at] == '\\') {
        ++at;
      } else if (text_[at] == quote) {
        if (quote == '"' || at + 1 >= text_.size() || text_[at + 1] != quote) return;
        ++at;  // '' inside '…'
      }
    }
    throw Stop{position(mark), "the quoted text has no end", std::string("close it with ") + quote};
  }
  // The pointer stays valid: the list it lives in grows only after this node is closed.
  void open(YamlNode& node) {
    if (open_.size() >= options_.max_depth)
      throw Stop{node.at, fmt::format("nested more than {} levels deep", options_.max_depth), ""};
    open_.push_back(&node);
  }

  std::string_view text_;
  YamlTrees& out_;
  const YamlOptions& options_;
  std::size_t nodes_ = 0;
  std::optional<YamlNode> root_;
  std::vector<YamlNode*> open_;
};

// yaml-cpp guesses at UTF-16 and UTF-32 and lets control characters through: only plain UTF-8 text gets that far.
std::optional<Position> first_bad_byte(std::string_view text) {
  Position at{1, 1};
  while (!text.empty()) {
    const auto c = static_cast<unsigned char>(text.front());
    const std::size_t length = base::utf8_sequence(text);
    if (length == 0 || (c < 0x20 && c != '\n' && c != '\r' && c != '\t') || c == 0x7F) return at;
    text.remove_prefix(length);
    at = c == '\n' ? Position{at.line + 1, 1}
                   : Position{at.line, at.column + static_cast<int>(length)};  // bytes, as yaml-cpp counts
  }
  return std::nullopt;
}

}  // namespace

YamlTrees parse_trees(std::string_view text, const std::string& file, const YamlOptions& options) {
  YamlTrees out;
  const auto fail = [&](Position at, std::string message, std::string hint) {
    out.diagnostics.push_back({Severity::kError, file, at, std::move(message), std::move(hint)});
  };
  if (text.size() > options.max_bytes) {
    fail({}, fmt::format("larger than {} bytes", options.max_bytes), "split it into several files");
    return out;
  }
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // byte order mark
  if (auto bad = first_bad_byte(text)) {
    fail(*bad, "not UTF-8 text", "save the file as UTF-8 without control characters");
    return out;
  }
  try {
    std::istringstream in{std::string(text)};
    YAML::Parser parser(in);
    TreeBuilder builder(text, out, options);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const Stop& stop) {
    fail(stop.at, stop.message, stop.hint);
  } catch (const YAML::Exception& e) {
    fail(position(e.mark), e.msg, "the text is no valid YAML here");
  }
  return out;
}

}  // namespace penstock::api
