// Result<T>: a value or an Error, spelled like std::expected so that it can become its alias.
// Errors are for the *environment* (a missing file, a refused system call). A bug is PN_BUG; hostile bytes are a
// ParseState and a counter. No exception crosses our functions. Thread-safe as any value type.
#pragma once

#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace penstock::base {

// Exit codes of both binaries (documented in docs/CLI.md and `penstock --help`).
enum class ErrorCode : int {
  kFailure = 1,      // the request could not be carried out
  kUsage = 2,        // bad arguments, bad policy or configuration file
  kPrivilege = 3,    // not root, a capability is missing
  kUnsupported = 4,  // the kernel or the machine lacks something (BTF, cgroup2, bpffs)
  kUnavailable = 5,  // the daemon does not answer, a port is taken
  kNotFound = 6,     // an unknown selector, budget, exchange
};

struct Error {
  ErrorCode code = ErrorCode::kFailure;
  int errno_ = 0;    // 0 when no system call failed
  std::string what;  // one line, no trailing period
  std::string hint;  // what the user can do about it; may be empty

  // Prefixes `what` with where it happened: Error.at("attach openssl pid=12").
  Error at(std::string_view where) && {
    what = std::string(where) + ": " + what;
    return std::move(*this);
  }
  // "what (strerror)"; the hint is printed by main on a line of its own.
  std::string message() const;
};

// Makes an Error from errno-style failures.
Error errno_error(int err, std::string_view what, std::string_view hint = {});

struct Unit {};

template <class T = Unit>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  Result() requires std::is_same_v<T, Unit> : state_(std::in_place_index<0>) {}
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit like std::expected
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT
  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }
  T& value() & {
    check();
    return *std::get_if<0>(&state_);
  }
  const T& value() const& {
    check();
    return *std::get_if<0>(&state_);
  }
  T&& value() && {
    check();
    return std::move(*std::get_if<0>(&state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  Error& error() & { return *std::get_if<1>(&state_); }
  const Error& error() const& { return *std::get_if<1>(&state_); }
  Error&& error() && { return std::move(*std::get_if<1>(&state_)); }

 private:
  void check() const {
    if (!has_value()) std::abort();
  }
  std::variant<T, Error> state_;
};

[[noreturn]] void bug(const char* file, int line, std::string_view what);

}  // namespace penstock::base

// A broken invariant of ours: says where and aborts.
#define PN_BUG(what) ::penstock::base::bug(__FILE__, __LINE__, (what))

#define PN_TRY_CONCAT2(a, b) a##b
#define PN_TRY_CONCAT(a, b) PN_TRY_CONCAT2(a, b)
// PN_TRY(auto x, expr): x = value, or return the error. PN_CHECK(expr): the same for Result<Unit>.
#define PN_TRY(decl, expr) PN_TRY_IMPL(decl, expr, PN_TRY_CONCAT(pn_try_, __LINE__))
#define PN_TRY_IMPL(decl, expr, tmp)       \
  auto tmp = (expr);                       \
  if (!tmp) return std::move(tmp).error(); \
  decl = std::move(tmp).value()
#define PN_CHECK(expr) PN_CHECK_IMPL(expr, PN_TRY_CONCAT(pn_check_, __LINE__))
#define PN_CHECK_IMPL(expr, tmp)             \
  do {                                       \
    auto tmp = (expr);                       \
    if (!tmp) return std::move(tmp).error(); \
  } while (0)
