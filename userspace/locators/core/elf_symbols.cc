// Symbol tables and symbol versions of an ElfImage.
#include <elf.h>

#include <algorithm>

#include "userspace/locators/core/elf_image.h"

namespace penstock::locators {
namespace {

constexpr std::uint64_t kMaxSymbols = 8'000'000;

template <class T>
std::optional<T> load_at(Bytes file, std::uint64_t offset) {
  if (offset > file.size() || file.size() - offset < sizeof(T)) return std::nullopt;
  T out;
  std::memcpy(&out, file.data() + offset, sizeof(T));
  return out;
}

bool is_function(const Elf64_Sym& s) {
  const unsigned type = ELF64_ST_TYPE(s.st_info);
  return type == STT_FUNC || type == STT_GNU_IFUNC;
}

}  // namespace

// DT_HASH says it; DT_GNU_HASH only through its longest chain.
std::uint64_t ElfImage::count_dynamic_symbols(std::uint64_t hash, std::uint64_t gnu_hash) const {
  if (hash != 0)
    if (const auto chains = read<std::uint32_t>(hash + 4)) return std::min<std::uint64_t>(*chains, kMaxSymbols);
  if (gnu_hash == 0) return 0;
  struct Header {
    std::uint32_t buckets, first, bloom_words, shift;
  };
  const auto h = read<Header>(gnu_hash);
  if (!h || h->buckets > kMaxSymbols || h->bloom_words > kMaxSymbols) return 0;
  const std::uint64_t buckets_at = gnu_hash + sizeof(Header) + std::uint64_t{h->bloom_words} * 8;
  std::uint64_t last = 0;
  for (std::uint64_t i = 0; i < h->buckets; ++i) {
    const auto bucket = read<std::uint32_t>(buckets_at + i * 4);
    if (!bucket) return 0;
    last = std::max<std::uint64_t>(last, *bucket);
  }
  if (last < h->first) return h->first;
  const std::uint64_t chains_at = buckets_at + std::uint64_t{h->buckets} * 4;
  for (; last < kMaxSymbols; ++last) {
    const auto link = read<std::uint32_t>(chains_at + (last - h->first) * 4);
    if (!link) return last;
    if ((*link & 1) != 0) return last + 1;
  }
  return kMaxSymbols;
}

std::string_view ElfImage::version_of(std::uint64_t symbol_index) const {
  if (versym_ == 0 || verdef_ == 0) return {};
  const auto raw = load_at<std::uint16_t>(file_, versym_ + symbol_index * 2);
  if (!raw) return {};
  const std::uint16_t wanted = *raw & 0x7fff;
  if (wanted < 2) return {};  // local, or the base version
  std::uint64_t at = verdef_;
  for (std::uint64_t i = 0; i < verdef_count_; ++i) {
    const auto def = load_at<Elf64_Verdef>(file_, at);
    if (!def) return {};
    if (def->vd_ndx == wanted) {
      const auto aux = load_at<Elf64_Verdaux>(file_, at + def->vd_aux);
      if (!aux || aux->vda_name >= dynstr_bytes_) return {};
      return text_at(dynstr_ + aux->vda_name, dynstr_bytes_ - aux->vda_name);
    }
    if (def->vd_next == 0) return {};
    at += def->vd_next;
  }
  return {};
}

std::optional<Symbol> ElfImage::find_symbol(const Table& table, std::uint64_t strings, std::uint64_t strings_bytes,
                                            std::string_view name, bool versioned) const {
  const std::uint64_t count = std::min(table.count, kMaxSymbols);
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto s = load_at<Elf64_Sym>(file_, table.offset + i * sizeof(Elf64_Sym));
    if (!s) break;
    if (s->st_shndx == SHN_UNDEF || s->st_value == 0 || s->st_name >= strings_bytes) continue;
    const std::uint64_t room = strings_bytes - s->st_name;
    // Compare in place: the terminator decides, so no length is measured for the other 100,000 names.
    if (room <= name.size()) continue;
    const std::uint8_t* text = file_.data() + strings + s->st_name;
    if (std::memcmp(text, name.data(), name.size()) != 0 || text[name.size()] != 0) continue;
    if (!is_function(*s) && ELF64_ST_TYPE(s->st_info) != STT_OBJECT) continue;
    return Symbol{{reinterpret_cast<const char*>(text), name.size()},
                  versioned ? version_of(i) : std::string_view{},
                  s->st_value,
                  s->st_size,
                  is_function(*s)};
  }
  return std::nullopt;
}

std::optional<Symbol> ElfImage::dynamic_symbol(std::string_view name) const {
  return find_symbol(dynsym_, dynstr_, dynstr_bytes_, name, true);
}

std::optional<Symbol> ElfImage::symbol(std::string_view name) const {
  if (auto s = dynamic_symbol(name)) return s;
  return find_symbol(symtab_, strtab_, strtab_bytes_, name, false);
}

std::optional<FunctionRange> ElfImage::symbol_range(std::uint64_t vaddr) const {
  const std::uint64_t count = std::min(symtab_.count, kMaxSymbols);
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto s = load_at<Elf64_Sym>(file_, symtab_.offset + i * sizeof(Elf64_Sym));
    if (!s) break;
    if (is_function(*s) && s->st_shndx != SHN_UNDEF && vaddr >= s->st_value && vaddr - s->st_value < s->st_size &&
        s->st_value <= UINT64_MAX - s->st_size)
      return FunctionRange{s->st_value, s->st_value + s->st_size};
  }
  return std::nullopt;
}

}  // namespace penstock::locators
