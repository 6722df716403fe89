// OpenSSL 1.1.1 and 3.x, shared or linked in, stripped or not.
//
// SSL_write, SSL_write_ex (and _ex2) all go through ssl_write_internal, the reads through ssl_read_internal. OpenSSL 3
// passes a function's own name to ERR_set_debug, so the functions that refer to the string "ssl_write_internal" are
// either that function (then it is the only site: one cheap probe covers every public call) or the public functions it
// was inlined into (then all of them are sites). One level per image, never both: the same bytes would be seen twice.
// 1.1.1 has no such strings: there the callee that only SSL_write and SSL_write_ex share is taken, or these two
// themselves.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "userspace/locators/core/code_scan.h"
#include "userspace/locators/core/locator.h"
#include "userspace/locators/core/probe_site.h"

namespace penstock::locators {
namespace {

using namespace std::string_view_literals;

constexpr auto kWriteInternal = "ssl_write_internal"sv;
constexpr auto kReadInternal = "ssl_read_internal"sv;
constexpr auto kMemoryBio = "memory buffer"sv;
constexpr std::array kAnchors{kWriteInternal, kReadInternal, kMemoryBio};
constexpr std::size_t kMaxSitesPerDirection = 4;

struct Direction {
  std::string_view internal;  // the shared function
  std::string_view plain;     // int f(ssl, buf, int)
  std::string_view ex;        // int f(ssl, buf, size_t, size_t*)
  std::string_view ex2;       // int f(ssl, buf, size_t, uint64_t flags, size_t*); writes from 3.3 on
  std::string_view opposite;  // the plain function of the other direction
  CallShape plain_shape;
  CallShape out_shape;
};
constexpr Direction kWrite{kWriteInternal,         "SSL_write", "SSL_write_ex",
                           "SSL_write_ex2",        "SSL_read",  CallShape::kTlsWriteRet,
                           CallShape::kTlsWriteOut};
constexpr Direction kRead{kReadInternal,         "SSL_read", "SSL_read_ex", "", "SSL_write", CallShape::kTlsReadRet,
                          CallShape::kTlsReadOut};

bool identifier_char(std::uint8_t c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

// Places where the string stands as a whole: terminated, and not the end of a longer name.
std::vector<std::uint64_t> whole_strings(const ElfImage& image, std::string_view text,
                                         std::span<const std::uint64_t> places) {
  std::vector<std::uint64_t> out;
  for (const std::uint64_t at : places) {
    const auto after = image.read<std::uint8_t>(at + text.size());
    const auto before = image.read<std::uint8_t>(at - 1);
    if (after == std::uint8_t{0} && (!before || !identifier_char(*before))) out.push_back(at);
  }
  return out;
}

std::vector<FunctionRange> functions_referring_to(const ElfImage& image, std::span<const std::uint64_t> strings) {
  std::vector<std::uint64_t> at;
  for (const Reference& r : references_to(image, strings)) at.push_back(r.at);
  std::vector<FunctionRange> out;
  for (const auto& f : functions_around(image, at))
    if (f && std::none_of(out.begin(), out.end(), [&](const FunctionRange& o) { return o.begin == f->begin; }))
      out.push_back(*f);
  return out;
}

bool starts_like_a_stub(const ElfImage& image, std::uint64_t function) {
  std::uint64_t at = function;
  for (int i = 0; i < 2; ++i) {
    const auto insn = decode(image.at(at, 15), at);
    if (!insn) return true;
    if (insn->flow == Flow::kJumpAway) return true;  // a PLT entry
    if (insn->shape != Shape::kEndbr) return false;
    at = insn->end();
  }
  return false;
}

std::vector<std::uint64_t> callees(const ElfImage& image, const Symbol& symbol) {
  FunctionRange range{symbol.vaddr, symbol.vaddr + std::min<std::uint64_t>(symbol.bytes, kMaxFunctionBytes)};
  if (const auto exact = image.unwind_range(symbol.vaddr)) range = *exact;
  std::vector<std::uint64_t> out;
  for (const Instruction& i : disassemble(image, range)) {
    const bool leaves =
        i.flow == Flow::kCall || (i.flow == Flow::kJump && (i.target < range.begin || i.target >= range.end));
    if (leaves && image.in_code(i.target) && !starts_like_a_stub(image, i.target)) out.push_back(i.target);
  }
  return out;
}

// From 3.3 on the internal write (and SSL_write_ex2) takes flags before `written`, five arguments in all. The function
// tells: it reads the fifth register before it sets it.
bool takes_flags(const ElfImage& image, std::uint64_t function) {
  constexpr std::uint64_t kLook = 512;
  for (const Instruction& i : disassemble(image, {function, function + kLook})) {
    if ((i.read & (1u << kR8)) != 0) return true;
    if ((i.written & (1u << kR8)) != 0) return false;
    if (i.flow == Flow::kCall || i.flow == Flow::kCallAway || i.flow == Flow::kReturn || i.flow == Flow::kTrap)
      return false;
  }
  return false;
}

CallShape out_shape(const ElfImage& image, const Direction& d, std::uint64_t function) {
  if (d.out_shape == CallShape::kTlsWriteOut && takes_flags(image, function)) return CallShape::kTlsWriteFlagsOut;
  return d.out_shape;
}

// Which public function an inlined copy is; by its symbol, or by the name it passes to ERR_set_debug.
bool is_plain(const ElfImage& image, const Direction& d, const FunctionRange& f,
              const std::vector<FunctionRange>& naming_plain) {
  if (const auto s = image.symbol(d.plain)) return s->vaddr == f.begin;
  return std::any_of(naming_plain.begin(), naming_plain.end(),
                     [&](const FunctionRange& o) { return o.begin == f.begin; });
}

// For people.
std::string_view name_of(const ElfImage& image, const Direction& d, std::uint64_t function) {
  for (const std::string_view candidate : {d.ex, d.ex2}) {
    const auto s = image.symbol(candidate);
    if (s && s->vaddr == function) return candidate;
  }
  return d.internal;
}

std::vector<FunctionRange> functions_naming(const ElfImage& image, std::string_view name) {
  const std::string needle = std::string(name) + '\0';
  const std::string_view needles[] = {needle};
  std::vector<std::uint64_t> at;
  for (const Segment& s : image.segments())
    for (const StringHit& hit : scan_strings(image.file().subspan(s.offset, s.file_bytes), needles))
      at.push_back(s.vaddr + hit.offset);
  return functions_referring_to(image, whole_strings(image, name, at));
}

void add_site(const ElfImage& image, std::uint64_t function, CallShape shape, std::string_view what, AttachPlan& plan) {
  if (auto site = probe_site(image, function, shape, std::string(what), true)) plan.sites.push_back(std::move(*site));
}

// True when sites were added.
bool by_name_strings(const ElfImage& image, const Direction& d, AttachPlan& plan) {
  const auto strings = whole_strings(image, d.internal, image.anchor(d.internal));
  if (strings.empty()) return false;
  const std::vector<FunctionRange> functions = join_fragments(image, functions_referring_to(image, strings));
  if (functions.empty() || functions.size() > kMaxSitesPerDirection) return false;
  const auto plain = image.symbol(d.plain);
  const auto ex = image.symbol(d.ex);
  const bool is_public = (plain && plain->vaddr == functions[0].begin) || (ex && ex->vaddr == functions[0].begin);
  if (functions.size() == 1 && !is_public) {
    add_site(image, functions[0].begin, out_shape(image, d, functions[0].begin), d.internal, plan);
    return !plan.sites.empty();
  }
  // Inlined. A copy that another one calls is inside it, and would repeat its bytes.
  std::vector<std::uint64_t> begins;
  for (const FunctionRange& f : functions) begins.push_back(f.begin);
  const auto calls = calls_to(image, begins);
  const auto naming_plain = plain ? std::vector<FunctionRange>{} : functions_naming(image, d.plain);
  for (const FunctionRange& f : functions) {
    const bool nested = std::any_of(calls.begin(), calls.end(), [&](const Reference& c) {
      return c.target == f.begin && std::any_of(functions.begin(), functions.end(), [&](const FunctionRange& o) {
               return o.begin != f.begin && c.at >= o.begin && c.at < o.end;
             });
    });
    if (nested) continue;
    const bool p = is_plain(image, d, f, naming_plain);
    add_site(image, f.begin, p ? d.plain_shape : out_shape(image, d, f.begin), p ? d.plain : name_of(image, d, f.begin),
             plan);
  }
  return !plan.sites.empty();
}

bool by_exports(const ElfImage& image, const Direction& d, AttachPlan& plan) {
  const auto plain = image.dynamic_symbol(d.plain);
  const auto ex = image.dynamic_symbol(d.ex);  // BoringSSL has none: it is not ours
  if (!plain || !ex || !plain->function || !ex->function) return false;
  // What both call and the other direction does not: the rest is handshakes, errors and asynchronous jobs.
  const auto other = image.dynamic_symbol(d.opposite);
  if (!other || !other->function) return false;
  const auto b = callees(image, *ex), elsewhere = callees(image, *other);
  const auto has = [](const std::vector<std::uint64_t>& v, std::uint64_t x) {
    return std::find(v.begin(), v.end(), x) != v.end();
  };
  std::set<std::uint64_t> shared;
  for (const std::uint64_t callee : callees(image, *plain))
    if (has(b, callee) && !has(elsewhere, callee)) shared.insert(callee);
  if (shared.size() == 1) {
    add_site(image, *shared.begin(), out_shape(image, d, *shared.begin()), d.internal, plan);
    return !plan.sites.empty();
  }
  add_site(image, plain->vaddr, d.plain_shape, d.plain, plan);
  add_site(image, ex->vaddr, d.out_shape, d.ex, plan);
  return !plan.sites.empty();
}

// The write of OpenSSL's memory BIO, whose sends follow later; other BIOs send by themselves and need no probe. No
// symbol: BIO_METHOD {int type; char* name; bwrite; bwrite_old; …} (include/internal/bio.h) of the name "memory buffer"
// points to it.
std::optional<std::uint64_t> memory_bio_write(const ElfImage& image) {
  const std::vector<std::uint64_t> names = whole_strings(image, kMemoryBio, image.anchor(kMemoryBio));
  const std::vector<ElfImage::Relocation> words = image.relative_relocations();
  for (const ElfImage::Relocation& name : words) {
    if (std::find(names.begin(), names.end(), name.addend) == names.end()) continue;
    const auto write =
        std::lower_bound(words.begin(), words.end(), name.where + 16,
                         [](const ElfImage::Relocation& r, std::uint64_t where) { return r.where < where; });
    if (write != words.end() && write->where == name.where + 16 && image.in_code(write->addend)) return write->addend;
  }
  return std::nullopt;
}

// Where the library's records can be seen on their way out; at the least BIO_write, by which all of them leave.
void add_record_site(const ElfImage& image, std::optional<std::uint64_t> memory_write, AttachPlan& plan) {
  const auto any = image.dynamic_symbol("BIO_write");
  if (!memory_write && (!any || !any->function)) return;
  const std::string_view what = memory_write ? "mem_write" : "BIO_write";
  if (auto site = probe_site(image, memory_write.value_or(any ? any->vaddr : 0), CallShape::kTlsRecord,
                             std::string(what), false))
    plan.sites.push_back(std::move(*site));
}

base::Result<std::optional<AttachPlan>> locate(const ElfImage& image) {
  AttachPlan plan{"openssl", {}, {}};
  // Alone it is libcrypto's part of libssl.
  const bool libcrypto = image.soname().starts_with("libcrypto.so");
  add_record_site(image, libcrypto ? memory_bio_write(image) : std::nullopt, plan);
  if (libcrypto && !plan.sites.empty()) return std::optional<AttachPlan>(std::move(plan));
  const std::size_t helpers = plan.sites.size();
  for (const Direction& d : {kWrite, kRead}) {
    AttachPlan part;
    const bool named = by_name_strings(image, d, part);
    if (!named && !by_exports(image, d, part)) {
      const bool inside = !image.anchor(d.internal).empty() || plan.sites.size() > helpers;
      if (!inside) return std::optional<AttachPlan>{};
      return base::Error{
          base::ErrorCode::kUnsupported, 0, fmt::format("OpenSSL is inside, {} was not found", d.internal), {}};
    }
    if (part.sites.size() > 1)
      plan.note += fmt::format("{}{} is inlined into {} functions", plan.note.empty() ? "" : "; ", d.internal,
                               part.sites.size());
    plan.sites.insert(plan.sites.end(), part.sites.begin(), part.sites.end());
  }
  // Where it is exported: a context allocated later at the same address is then never taken for this one.
  if (const auto free = image.dynamic_symbol("SSL_free"); free && free->function) {
    if (auto site = probe_site(image, free->vaddr, CallShape::kTlsFree, "SSL_free", false))
      plan.sites.push_back(std::move(*site));
  }
  return std::optional<AttachPlan>(std::move(plan));
}

}  // namespace

extern const Locator k_openssl{"openssl", locate, kAnchors};

}  // namespace penstock::locators
