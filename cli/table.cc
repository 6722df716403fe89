#include "cli/table.h"

#include <algorithm>

#include "userspace/base/result.h"
#include "userspace/base/utf8.h"

namespace penstock::cli {
namespace {

constexpr std::size_t kGap = 2;

std::string fit(const std::string& text, std::size_t width) {
  if (base::utf8_length(text) <= width) return text;
  return std::string(base::utf8_prefix(text, width - 1)) + "…";
}

}  // namespace

std::string paint(std::string_view text, Tone tone, bool color) {
  const char* code = tone == Tone::kGood   ? "32"
                     : tone == Tone::kWarn ? "33"
                     : tone == Tone::kBad  ? "31"
                     : tone == Tone::kDim  ? "2"
                                           : "";
  if (!color || tone == Tone::kPlain || text.empty()) return std::string(text);
  return "\x1b[" + std::string(code) + "m" + std::string(text) + "\x1b[0m";
}

void Table::row(std::vector<Cell> cells) {
  if (cells.size() != columns_.size()) PN_BUG("a row does not fit its table");
  for (Cell& cell : cells) cell.text = base::printable_utf8(cell.text);  // names come from observed programs
  rows_.push_back(std::move(cells));
}

std::string Table::text(std::size_t width, bool color) const {
  std::vector<std::size_t> widths;
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    std::size_t w = base::utf8_length(columns_[c].title);
    for (const auto& row : rows_) w = std::max(w, base::utf8_length(row[c].text));
    widths.push_back(w);
  }
  std::size_t total = kGap * (widths.size() - 1);
  for (const std::size_t w : widths) total += w;
  while (width != 0 && total > width) {  // one column of the widest shrinkable one at a time
    std::size_t widest = columns_.size();
    for (std::size_t c = 0; c < columns_.size(); ++c)
      if (columns_[c].shrink_to != 0 && widths[c] > columns_[c].shrink_to &&
          (widest == columns_.size() || widths[c] > widths[widest]))
        widest = c;
    if (widest == columns_.size()) break;
    --widths[widest];
    --total;
  }
  std::string out;
  const auto line = [&](auto cell_of) {
    std::string text;
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      const Cell cell = cell_of(c);
      const std::string shown = fit(cell.text, widths[c]);
      const std::string space(widths[c] - base::utf8_length(shown), ' ');
      if (columns_[c].align == Align::kRight) text += space;
      text += paint(shown, cell.tone, color);
      if (c + 1 == columns_.size()) break;
      if (columns_[c].align == Align::kLeft) text += space;
      text.append(kGap, ' ');
    }
    text.erase(text.find_last_not_of(' ') + 1);
    out += text + '\n';
  };
  line([&](std::size_t c) { return Cell(columns_[c].title, Tone::kDim); });
  for (const auto& row : rows_) line([&](std::size_t c) { return row[c]; });
  return out;
}

}  // namespace penstock::cli
