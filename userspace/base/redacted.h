// Redacted<T> carries content of observed traffic (prompts, answers, keys). It has no stream operator and formats as
// its size only: the type system is the privacy policy. `reveal()` is for parsers and in-memory decisions, and is
// greppable.
#pragma once

#include <fmt/format.h>

#include <utility>

namespace penstock::base {

template <class T>
class Redacted {
 public:
  Redacted() = default;
  explicit Redacted(T content) : content_(std::move(content)) {}
  const T& reveal() const { return content_; }
  std::size_t size() const { return content_.size(); }

 private:
  T content_;
};

}  // namespace penstock::base

template <class T>
struct fmt::formatter<penstock::base::Redacted<T>> : fmt::formatter<std::string_view> {
  auto format(const penstock::base::Redacted<T>& r, format_context& ctx) const {
    return fmt::format_to(ctx.out(), "<{} bytes>", r.size());
  }
};
