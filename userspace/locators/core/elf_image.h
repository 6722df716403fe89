// A bounded, read-only view of an x86-64 ELF image. The bytes are hostile: every offset, count and string is checked
// against the file, tables have limits, and a segment list that would make us read the file many times over is refused.
// Works with program headers alone; section headers add names when they are there.
// Used by one thread at a time; the bytes must outlive it.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "userspace/base/result.h"
#include "userspace/locators/core/string_scan.h"

namespace penstock::locators {

using Bytes = std::span<const std::uint8_t>;

struct Segment {  // PT_LOAD, clipped to the file
  std::uint64_t vaddr = 0;
  std::uint64_t offset = 0;
  std::uint64_t file_bytes = 0;
  bool executable = false;
  bool writable = false;
};

struct Section {
  std::string_view name;
  std::uint64_t vaddr = 0;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::uint32_t type = 0;
};

struct Symbol {
  std::string_view name;
  std::string_view version;  // of the definition, e.g. "OPENSSL_3.0.0"; empty when unversioned
  std::uint64_t vaddr = 0;
  std::uint64_t bytes = 0;
  bool function = false;
};

struct Reference {
  std::uint64_t at = 0;  // address of the referring instruction
  std::uint64_t target = 0;
};

struct FunctionRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;  // exclusive
};

class ElfImage {
 public:
  // An error when it is not a little-endian 64-bit x86-64 executable or shared object.
  static base::Result<ElfImage> parse(Bytes file);

  Bytes file() const { return file_; }
  bool position_independent() const { return pie_; }
  std::span<const Segment> segments() const { return segments_; }
  std::span<const Section> sections() const { return sections_; }
  const Section* section(std::string_view name) const;

  // Between file offsets and link-time addresses; nullopt outside of the loaded part.
  std::optional<std::uint64_t> offset_of(std::uint64_t vaddr) const;
  std::optional<std::uint64_t> vaddr_of(std::uint64_t offset) const;
  // Up to `max` bytes at an address, as many as its segment has in the file; empty outside.
  Bytes at(std::uint64_t vaddr, std::size_t max) const;
  template <class T>
  std::optional<T> read(std::uint64_t vaddr) const {
    const Bytes b = at(vaddr, sizeof(T));
    if (b.size() < sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, b.data(), sizeof(T));
    return value;
  }
  bool in_code(std::uint64_t vaddr) const;

  // Defined symbols. `dynamic_symbol` looks in .dynsym only; `symbol` also in .symtab when it was not stripped.
  std::optional<Symbol> dynamic_symbol(std::string_view name) const;
  std::optional<Symbol> symbol(std::string_view name) const;
  // The function symbol of .symtab that covers an address.
  std::optional<FunctionRange> symbol_range(std::uint64_t vaddr) const;
  // The function that covers an address according to .eh_frame.
  std::optional<FunctionRange> unwind_range(std::uint64_t vaddr) const;
  bool has_unwind_table() const { return unwind_count_ != 0; }

  // Word at `vaddr` after the loader's relative relocations: what a pointer in .data.rel.ro points to.
  // Only valid after load_relocations() (bounded; once).
  struct Relocation {
    std::uint64_t where;
    std::uint64_t addend;
  };
  // Relative relocations sorted by address; empty for non-PIE images or without DT_RELA.
  std::vector<Relocation> relative_relocations() const;

  std::string build_id() const;                        // lower-case hex, or empty
  std::string_view soname() const { return soname_; }  // or empty
  bool needs(std::string_view library_prefix) const;   // a DT_NEEDED entry begins with it

  // Anchor strings are searched for once for all locators; see analyze() in analysis.h.
  void index_anchors(std::span<const std::string_view> anchors);
  // Addresses where a declared anchor begins, at most kMaxAnchorHits. Undeclared: none.
  std::vector<std::uint64_t> anchor(std::string_view text) const;
  // Addresses of all anchors found, and of the strings they end: what references_to() collects in one pass for
  // everybody.
  std::vector<std::uint64_t> anchor_targets() const;
  // References to anchor_targets(), kept by references_to() on first use; empty before.
  const std::optional<std::vector<Reference>>& anchor_references() const { return anchor_references_; }
  void keep_anchor_references(std::vector<Reference> r) const { anchor_references_ = std::move(r); }
  // Start of the NUL-terminated string around `vaddr` (for anchors that are the end of a path).
  std::uint64_t string_begin(std::uint64_t vaddr) const;

 private:
  struct Table {
    std::uint64_t offset = 0;
    std::uint64_t count = 0;
  };
  void read_sections();
  void read_dynamic(std::uint64_t offset, std::uint64_t bytes);
  void read_unwind_header(std::uint64_t vaddr);
  std::uint64_t count_dynamic_symbols(std::uint64_t hash, std::uint64_t gnu_hash) const;
  std::string_view text_at(std::uint64_t offset, std::uint64_t limit) const;
  std::optional<Symbol> find_symbol(const Table&, std::uint64_t strings, std::uint64_t strings_bytes, std::string_view,
                                    bool versioned) const;
  std::string_view version_of(std::uint64_t symbol_index) const;

  Bytes file_;
  bool pie_ = false;
  std::vector<Segment> segments_;
  std::vector<Section> sections_;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> notes_;  // file offset, bytes
  Table dynsym_;
  std::uint64_t dynstr_ = 0, dynstr_bytes_ = 0;
  std::uint64_t versym_ = 0, verdef_ = 0, verdef_count_ = 0;  // file offsets; 0 = absent
  Table symtab_;
  std::uint64_t strtab_ = 0, strtab_bytes_ = 0;
  std::uint64_t rela_ = 0, rela_count_ = 0;
  std::string_view soname_;
  std::vector<std::string_view> needed_;
  std::uint64_t unwind_vaddr_ = 0, unwind_table_ = 0, unwind_count_ = 0;
  std::vector<StringHit> anchors_;
  std::vector<std::string> anchor_names_;
  mutable std::optional<std::vector<Reference>> anchor_references_;  // a memo
};

}  // namespace penstock::locators
