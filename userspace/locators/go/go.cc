// Go's crypto/tls, stripped or not, position-independent or not, Go 1.18 on. The runtime cannot do without its function
// table (gopclntab), so every Go program has one:
//
//   u32 magic · u8 0 0 · u8 min instruction 1 · u8 pointer size 8 · u64 functions, files, text start, and the offsets
//   (from the magic) of names, compilation units, files, pc data, functions functions: {u32 entry − text start, u32
//   offset of its record}…, and one more entry for the end; record: {u32 entry, i32 name}
//
// Text start is relocated in position-independent programs and absent in newer ones: then .text, or the start of the
// code, stands for it, checked by the look of the function found there.
#include <array>

#include "userspace/locators/core/code_scan.h"
#include "userspace/locators/core/locator.h"
#include "userspace/locators/core/probe_site.h"

namespace penstock::locators {
namespace {

using namespace std::string_view_literals;

constexpr auto kWriteName = "crypto/tls.(*Conn).Write"sv;
constexpr auto kReadName = "crypto/tls.(*Conn).Read"sv;
constexpr std::array kAnchors{kWriteName, kReadName};
constexpr std::array kMagics{"\xf1\xff\xff\xff\0\0\x01\x08"sv,
                             "\xf0\xff\xff\xff\0\0\x01\x08"sv};  // from 1.20, from 1.18
constexpr std::uint64_t kMaxFunctions = 4'000'000;
constexpr std::size_t kMaxReturns = 48;

struct Header {
  std::uint32_t magic;
  std::uint8_t zero[2], quantum, pointer_bytes;
  std::uint64_t functions, files, text_start, names, units, file_table, pc_data, table;
};
static_assert(sizeof(Header) == 72);

struct Row {
  std::uint32_t entry, record;
};

struct Table {
  std::uint64_t vaddr;
  Header header;
};

std::vector<Table> find_tables(const ElfImage& image) {
  std::vector<Table> out;
  for (const Segment& s : image.segments())
    for (const StringHit& hit : scan_strings(image.file().subspan(s.offset, s.file_bytes), kMagics)) {
      const std::uint64_t at = s.vaddr + hit.offset;
      const auto header = image.read<Header>(at);
      if (!header || at % 8 != 0 || header->functions == 0 || header->functions > kMaxFunctions) continue;
      constexpr std::uint64_t kMaxOffset = 1ull << 32;
      if (header->names >= kMaxOffset || header->table >= kMaxOffset) continue;
      // The whole table must be there, its sentinel included.
      if (image.at(at + header->table, (header->functions + 1) * sizeof(Row)).size() <
          header->functions * sizeof(Row) + 4)
        continue;
      out.push_back({at, *header});
    }
  return out;
}

// Offsets of the function from text start: [first, second).
std::optional<std::pair<std::uint64_t, std::uint64_t>> find_function(const ElfImage& image, const Table& table,
                                                                     std::string_view name) {
  const std::uint64_t names = table.vaddr + table.header.names;
  const std::uint64_t rows_at = table.vaddr + table.header.table;
  const Bytes rows = image.at(rows_at, (table.header.functions + 1) * sizeof(Row));
  for (const std::uint64_t place : image.anchor(name)) {
    if (place < names || image.read<std::uint8_t>(place + name.size()) != std::uint8_t{0}) continue;
    const std::uint64_t wanted = place - names;
    for (std::uint64_t i = 0; i < table.header.functions; ++i) {
      Row row;
      std::memcpy(&row, rows.data() + i * sizeof(Row), sizeof(Row));
      const auto name_offset = image.read<std::int32_t>(rows_at + row.record + 4);
      if (!name_offset || *name_offset < 0 || static_cast<std::uint64_t>(*name_offset) != wanted) continue;
      std::uint32_t end;
      std::memcpy(&end, rows.data() + (i + 1) * sizeof(Row), sizeof(end));
      if (end <= row.entry) return std::nullopt;
      return std::pair<std::uint64_t, std::uint64_t>(row.entry, end);
    }
  }
  return std::nullopt;
}

// The stack check every such function begins with: a compare and a forward jbe within the first few instructions.
// Returns the instruction to probe: the push after the jbe, or the jbe itself; both are emulated.
std::optional<std::uint64_t> entry_site(const ElfImage& image, std::uint64_t function) {
  constexpr int kMaxLook = 4;
  std::uint64_t at = function;
  for (int i = 0; i < kMaxLook; ++i) {
    const auto insn = decode(image.at(at, 15), at);
    if (!insn) return std::nullopt;
    if (insn->flow == Flow::kBranch) {
      if (insn->target <= insn->vaddr || !insn->emulated) return std::nullopt;
      const auto next = decode(image.at(insn->end(), 15), insn->end());
      return next && next->shape == Shape::kPush && next->emulated ? insn->end() : insn->vaddr;
    }
    if (insn->flow != Flow::kNext) return std::nullopt;
    at = insn->end();
  }
  return std::nullopt;
}

std::vector<std::uint64_t> text_starts(const ElfImage& image, const Table& table) {
  std::vector<std::uint64_t> out;
  if (table.header.text_start != 0) out.push_back(table.header.text_start);
  if (const auto s = image.symbol("runtime.text")) out.push_back(s->vaddr);
  if (const Section* text = image.section(".text")) out.push_back(text->vaddr);
  for (const Segment& s : image.segments())
    if (s.executable) {
      out.push_back(s.vaddr);
      out.push_back(s.vaddr + 0x1000 - s.vaddr % 0x1000);
    }
  if (image.position_independent()) {
    // The relocated field itself: its addend is the link-time address.
    const std::uint64_t field = table.vaddr + offsetof(Header, text_start);
    for (const auto& r : image.relative_relocations())
      if (r.where == field) out.insert(out.begin(), r.addend);
  }
  return out;
}

void add(const ElfImage& image, std::uint64_t vaddr, bool cheap, CallShape shape, std::string_view what,
         AttachPlan& plan) {
  if (const auto offset = image.offset_of(vaddr)) plan.sites.push_back({*offset, cheap, 0, shape, std::string(what)});
}

base::Result<std::optional<AttachPlan>> locate(const ElfImage& image) {
  if (image.anchor(kWriteName).empty() || image.anchor(kReadName).empty()) return std::optional<AttachPlan>{};
  for (const Table& table : find_tables(image)) {
    const auto write = find_function(image, table, kWriteName);
    const auto read = find_function(image, table, kReadName);
    if (!write || !read) continue;
    for (const std::uint64_t start : text_starts(image, table)) {
      const auto write_site = entry_site(image, start + write->first);
      const auto read_site = entry_site(image, start + read->first);
      if (!write_site || !read_site || !image.in_code(*write_site) || !image.in_code(*read_site)) continue;
      AttachPlan plan{"go", {}, {}};
      add(image, *write_site, true, CallShape::kGoWrite, kWriteName, plan);
      add(image, *read_site, true, CallShape::kGoRead, kReadName, plan);
      std::size_t returns = 0;
      for (const Instruction& i : disassemble(image, {start + read->first, start + read->second})) {
        if (i.flow != Flow::kReturn || returns == kMaxReturns) continue;
        add(image, i.vaddr, false, CallShape::kGoReadReturn, kReadName, plan);
        ++returns;
      }
      if (returns == 0) continue;
      return std::optional<AttachPlan>(std::move(plan));
    }
  }
  // The names alone may be in a program that only talks about them: without a table it is no Go program.
  return std::optional<AttachPlan>{};
}

}  // namespace

extern const Locator k_go{"go", locate, kAnchors};

}  // namespace penstock::locators
