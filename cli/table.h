// Tables for people: columns sized by their content, shrunk to the terminal where there is one. Not thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace penstock::cli {

enum class Align { kLeft, kRight };
enum class Tone { kPlain, kGood, kWarn, kBad, kDim };

struct Cell {
  Cell(std::string t, Tone c = Tone::kPlain) : text(std::move(t)), tone(c) {}  // NOLINT: cells are written as texts
  Cell(const char* t) : text(t) {}                                             // NOLINT
  std::string text;
  Tone tone = Tone::kPlain;
};

struct Column {
  std::string title;
  Align align = Align::kLeft;
  std::size_t shrink_to = 0;  // may be cut down to this many columns (with "…"); 0: never
};

class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void row(std::vector<Cell> cells);
  bool empty() const { return rows_.empty(); }
  // `width` 0: as wide as the content.
  std::string text(std::size_t width, bool color) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

std::string paint(std::string_view text, Tone tone, bool color);

}  // namespace penstock::cli
