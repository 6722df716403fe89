#include "userspace/locators/core/elf_image.h"

#include <elf.h>
#include <fmt/format.h>

#include <algorithm>

namespace penstock::locators {
namespace {

// Limits of what is believed. Real images stay far below.
constexpr std::size_t kMaxSegments = 256;
constexpr std::size_t kMaxSections = 4096;
constexpr std::size_t kMaxDynamic = 4096;
constexpr std::size_t kMaxNeeded = 512;
constexpr std::size_t kMaxNotes = 64;
constexpr std::uint64_t kMaxRelocations = 16'000'000;

base::Error refused(std::string_view why) {
  return {base::ErrorCode::kUnsupported, 0, fmt::format("not an image we can analyse: {}", why), {}};
}

// Copies a struct out of the file: images are not aligned in any way we may trust.
template <class T>
bool load(Bytes file, std::uint64_t offset, T& out) {
  if (offset > file.size() || file.size() - offset < sizeof(T)) return false;
  std::memcpy(&out, file.data() + offset, sizeof(T));
  return true;
}

std::uint64_t clip(std::uint64_t offset, std::uint64_t bytes, std::uint64_t limit) {
  return offset >= limit ? 0 : std::min(bytes, limit - offset);
}

}  // namespace

base::Result<ElfImage> ElfImage::parse(Bytes file) {
  Elf64_Ehdr header;
  if (!load(file, 0, header) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return refused("no ELF header");
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB)
    return refused("not 64-bit little-endian");
  if (header.e_machine != EM_X86_64) return refused("not x86-64");
  if (header.e_type != ET_EXEC && header.e_type != ET_DYN) return refused("neither executable nor shared object");
  if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == 0 || header.e_phnum > kMaxSegments)
    return refused("odd program headers");
  ElfImage image;
  image.file_ = file;
  image.pie_ = header.e_type == ET_DYN;
  std::uint64_t dynamic_offset = 0, dynamic_bytes = 0, unwind_header = 0, total = 0;
  for (std::size_t i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr p;
    if (header.e_phoff > file.size() || !load(file, header.e_phoff + i * sizeof(p), p))
      return refused("program headers outside of the file");
    if (p.p_offset > file.size()) continue;
    const std::uint64_t bytes = clip(p.p_offset, p.p_filesz, file.size());
    switch (p.p_type) {
      case PT_LOAD:
        if (bytes == 0 || p.p_vaddr > UINT64_MAX - bytes) continue;
        total += bytes;
        image.segments_.push_back({p.p_vaddr, p.p_offset, bytes, (p.p_flags & PF_X) != 0, (p.p_flags & PF_W) != 0});
        break;
      case PT_DYNAMIC:
        dynamic_offset = p.p_offset;
        dynamic_bytes = bytes;
        break;
      case PT_GNU_EH_FRAME:
        unwind_header = p.p_vaddr;
        break;
      case PT_NOTE:
        if (image.notes_.size() < kMaxNotes) image.notes_.emplace_back(p.p_offset, bytes);
        break;
      default:
        break;
    }
  }
  if (image.segments_.empty()) return refused("nothing to load");
  // Segments of a real image share at most the page at their seam; otherwise a scan of "all segments" is unbounded.
  if (total > file.size() + image.segments_.size() * 65536) return refused("segments overlap");
  std::sort(image.segments_.begin(), image.segments_.end(),
            [](const Segment& a, const Segment& b) { return a.vaddr < b.vaddr; });
  if (header.e_shnum <= kMaxSections && header.e_shentsize == sizeof(Elf64_Shdr)) image.read_sections();
  if (dynamic_bytes != 0) image.read_dynamic(dynamic_offset, dynamic_bytes);
  if (unwind_header != 0) image.read_unwind_header(unwind_header);
  return image;
}

void ElfImage::read_sections() {
  Elf64_Ehdr header;
  if (!load(file_, 0, header)) return;
  const auto section_at = [&](std::uint64_t index, Elf64_Shdr& out) {
    return header.e_shoff != 0 && header.e_shoff <= file_.size() &&
           load(file_, header.e_shoff + index * sizeof(out), out);
  };
  Elf64_Shdr names{};
  if (!section_at(header.e_shstrndx, names)) return;
  for (std::uint64_t i = 1; i < header.e_shnum; ++i) {
    Elf64_Shdr s;
    if (!section_at(i, s)) return;
    const std::uint64_t bytes = s.sh_type == SHT_NOBITS ? 0 : clip(s.sh_offset, s.sh_size, file_.size());
    std::string_view name;
    if (s.sh_name < names.sh_size && names.sh_offset <= file_.size())
      name = text_at(names.sh_offset + s.sh_name, names.sh_size - s.sh_name);
    sections_.push_back({name, s.sh_addr, s.sh_offset, bytes, s.sh_type});
    if (s.sh_type != SHT_SYMTAB && s.sh_type != SHT_DYNSYM) continue;
    if (s.sh_type == SHT_DYNSYM) {
      dynsym_ = {s.sh_offset, bytes / sizeof(Elf64_Sym)};
    } else if (Elf64_Shdr strings; s.sh_link < header.e_shnum && section_at(s.sh_link, strings)) {
      symtab_ = {s.sh_offset, bytes / sizeof(Elf64_Sym)};
      strtab_ = strings.sh_offset;
      strtab_bytes_ = clip(strings.sh_offset, strings.sh_size, file_.size());
    }
  }
}

void ElfImage::read_dynamic(std::uint64_t offset, std::uint64_t bytes) {
  std::uint64_t symbols = 0, strings = 0, strings_bytes = 0, hash = 0, gnu_hash = 0, versym = 0, verdef = 0, rela = 0,
                rela_bytes = 0;
  std::uint64_t soname = UINT64_MAX;
  std::vector<std::uint64_t> needed;
  const std::uint64_t count = std::min<std::uint64_t>(bytes / sizeof(Elf64_Dyn), kMaxDynamic);
  for (std::uint64_t i = 0; i < count; ++i) {
    Elf64_Dyn d;
    if (!load(file_, offset + i * sizeof(d), d) || d.d_tag == DT_NULL) break;
    const std::uint64_t value = d.d_un.d_val;
    switch (d.d_tag) {
      case DT_SYMTAB:
        symbols = value;
        break;
      case DT_STRTAB:
        strings = value;
        break;
      case DT_STRSZ:
        strings_bytes = value;
        break;
      case DT_HASH:
        hash = value;
        break;
      case DT_GNU_HASH:
        gnu_hash = value;
        break;
      case DT_VERSYM:
        versym = value;
        break;
      case DT_VERDEF:
        verdef = value;
        break;
      case DT_VERDEFNUM:
        verdef_count_ = std::min<std::uint64_t>(value, 1024);
        break;
      case DT_RELA:
        rela = value;
        break;
      case DT_RELASZ:
        rela_bytes = value;
        break;
      case DT_SONAME:
        soname = value;
        break;
      case DT_NEEDED:
        if (needed.size() < kMaxNeeded) needed.push_back(value);
        break;
      default:
        break;
    }
  }
  const auto strings_offset = offset_of(strings);
  if (!strings_offset) return;
  dynstr_ = *strings_offset;
  dynstr_bytes_ = clip(dynstr_, strings_bytes, file_.size());
  if (soname < dynstr_bytes_) soname_ = text_at(dynstr_ + soname, dynstr_bytes_ - soname);
  for (const std::uint64_t n : needed)
    if (n < dynstr_bytes_) needed_.push_back(text_at(dynstr_ + n, dynstr_bytes_ - n));
  versym_ = offset_of(versym).value_or(0);
  verdef_ = offset_of(verdef).value_or(0);
  if (const auto at_rela = offset_of(rela); at_rela && rela != 0) {
    rela_ = *at_rela;
    rela_count_ = std::min(clip(rela_, rela_bytes, file_.size()) / sizeof(Elf64_Rela), kMaxRelocations);
  }
  if (const auto at_symbols = offset_of(symbols); at_symbols && dynsym_.count == 0 && symbols != 0) {
    const std::uint64_t wanted = count_dynamic_symbols(hash, gnu_hash);
    dynsym_ = {*at_symbols, clip(*at_symbols, wanted * sizeof(Elf64_Sym), file_.size()) / sizeof(Elf64_Sym)};
  }
}

const Section* ElfImage::section(std::string_view name) const {
  for (const Section& s : sections_)
    if (s.name == name) return &s;
  return nullptr;
}

std::optional<std::uint64_t> ElfImage::offset_of(std::uint64_t vaddr) const {
  for (const Segment& s : segments_)
    if (vaddr >= s.vaddr && vaddr - s.vaddr < s.file_bytes) return s.offset + (vaddr - s.vaddr);
  return std::nullopt;
}

std::optional<std::uint64_t> ElfImage::vaddr_of(std::uint64_t offset) const {
  for (const Segment& s : segments_)
    if (offset >= s.offset && offset - s.offset < s.file_bytes) return s.vaddr + (offset - s.offset);
  return std::nullopt;
}

Bytes ElfImage::at(std::uint64_t vaddr, std::size_t max) const {
  for (const Segment& s : segments_)
    if (vaddr >= s.vaddr && vaddr - s.vaddr < s.file_bytes)
      return file_.subspan(s.offset + (vaddr - s.vaddr),
                           std::min<std::uint64_t>(max, s.file_bytes - (vaddr - s.vaddr)));
  return {};
}

bool ElfImage::in_code(std::uint64_t vaddr) const {
  for (const Segment& s : segments_)
    if (s.executable && vaddr >= s.vaddr && vaddr - s.vaddr < s.file_bytes) return true;
  return false;
}

std::string_view ElfImage::text_at(std::uint64_t offset, std::uint64_t limit) const {
  constexpr std::uint64_t kMaxName = 4096;
  if (offset >= file_.size()) return {};
  const std::uint64_t most = std::min({limit, file_.size() - offset, kMaxName});
  const char* begin = reinterpret_cast<const char*>(file_.data() + offset);
  return {begin, strnlen(begin, most)};
}

std::vector<ElfImage::Relocation> ElfImage::relative_relocations() const {
  std::vector<Relocation> out;
  out.reserve(rela_count_);
  for (std::uint64_t i = 0; i < rela_count_; ++i) {
    Elf64_Rela r;
    if (!load(file_, rela_ + i * sizeof(r), r)) break;
    if (ELF64_R_TYPE(r.r_info) == R_X86_64_RELATIVE)
      out.push_back({r.r_offset, static_cast<std::uint64_t>(r.r_addend)});
  }
  std::sort(out.begin(), out.end(), [](const Relocation& a, const Relocation& b) { return a.where < b.where; });
  return out;
}

std::string ElfImage::build_id() const {
  for (const auto& [begin, bytes] : notes_) {
    std::uint64_t at = begin;
    // A note is at least its header, so this ends after bytes/12 steps.
    while (at - begin + sizeof(Elf64_Nhdr) <= bytes) {
      Elf64_Nhdr note;
      if (!load(file_, at, note)) break;
      const std::uint64_t name_bytes = (static_cast<std::uint64_t>(note.n_namesz) + 3) & ~3ull;
      const std::uint64_t data_bytes = (static_cast<std::uint64_t>(note.n_descsz) + 3) & ~3ull;
      const std::uint64_t data = at + sizeof(note) + name_bytes;
      if (data + note.n_descsz > begin + bytes) break;
      if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
          std::memcmp(file_.data() + at + sizeof(note), "GNU", 4) == 0 && note.n_descsz >= 8 && note.n_descsz <= 64) {
        std::string hex;
        for (std::uint64_t i = 0; i < note.n_descsz; ++i) hex += fmt::format("{:02x}", file_[data + i]);
        return hex;
      }
      at = data + data_bytes;
    }
  }
  return {};
}

bool ElfImage::needs(std::string_view library_prefix) const {
  return std::any_of(needed_.begin(), needed_.end(), [&](std::string_view n) { return n.starts_with(library_prefix); });
}

void ElfImage::index_anchors(std::span<const std::string_view> anchors) {
  anchor_names_.assign(anchors.begin(), anchors.end());
  anchors_.clear();
  anchor_references_.reset();
  for (const Segment& s : segments_)
    for (StringHit hit : scan_strings(file_.subspan(s.offset, s.file_bytes), anchors)) {
      hit.offset += s.vaddr;
      anchors_.push_back(hit);
    }
}

std::vector<std::uint64_t> ElfImage::anchor(std::string_view text) const {
  std::vector<std::uint64_t> out;
  for (const StringHit& hit : anchors_)
    if (anchor_names_[hit.which] == text && out.size() < kMaxAnchorHits) out.push_back(hit.offset);
  return out;
}

std::vector<std::uint64_t> ElfImage::anchor_targets() const {
  std::vector<std::uint64_t> out;
  for (const StringHit& hit : anchors_) {
    out.push_back(hit.offset);
    out.push_back(string_begin(hit.offset));
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

std::uint64_t ElfImage::string_begin(std::uint64_t vaddr) const {
  constexpr std::uint64_t kMaxPath = 1024;
  const auto offset = offset_of(vaddr);
  if (!offset) return vaddr;
  std::uint64_t back = 0;
  while (back < kMaxPath && back < *offset && file_[*offset - back - 1] != 0) ++back;
  return at(vaddr - back, 1).empty() ? vaddr : vaddr - back;
}

}  // namespace penstock::locators
