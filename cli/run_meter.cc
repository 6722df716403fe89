#include "cli/run_meter.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "cli/output.h"
#include "userspace/base/utf8.h"

namespace penstock::cli {
namespace {

void put(const std::string& text) {
  [[maybe_unused]] const ssize_t n = ::write(STDERR_FILENO, text.data(), text.size());
}

// A program that took the terminal out of line mode draws all of it itself.
bool raw() {
  termios settings{};
  return ::tcgetattr(STDERR_FILENO, &settings) != 0 || (settings.c_lflag & ICANON) == 0;
}

}  // namespace

std::string meter_text(const api::RunSummary& run) {
  const api::Totals& t = run.totals();
  std::string out = fmt::format("penstock  {} calls", short_count(t.calls()));
  if (t.in_flight() > 0) out += fmt::format(" +{}", t.in_flight());
  out += fmt::format(" · {} in · {} out · {}", tokens_in(t), tokens_out(t), cost(t));
  for (const auto& b : run.budgets()) {
    if (b.has_nano_usd())
      out += fmt::format(" of {}", short_usd(b.nano_usd().limit()));
    else if (b.has_tokens())
      out += fmt::format(" · {} of {} tokens", percent(b.tokens().spent(), b.tokens().limit()),
                         short_count(static_cast<std::uint64_t>(b.tokens().limit())));
    else if (b.has_requests())
      out += fmt::format(" · {}/{} requests", b.requests().spent(), b.requests().limit());
  }
  if (t.held() > 0) out += fmt::format(" · {} HELD", t.held());
  if (run.has_last_refusal()) out += " · refused: " + base::printable_utf8(run.last_refusal());
  return out;
}

Meter::Meter(bool wanted) : wanted_(wanted && ::isatty(STDERR_FILENO) != 0) {
  const char* term = std::getenv("TERM");
  if (term == nullptr || std::strcmp(term, "dumb") == 0) wanted_ = false;
}

bool Meter::show() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row < 5 || size.ws_col < 20) return false;
  rows_ = size.ws_row;
  put(
      fmt::format("\n\x1b"
                  "7\x1b[1;{}r\x1b"
                  "8\x1b[1A",
                  rows_ - 1));
  return true;
}

void Meter::draw(const api::RunSummary& run) {
  if (!wanted_) return;
  if (raw()) return hide();
  if (rows_ == 0 && !show()) return;
  const std::size_t width = terminal_width(STDERR_FILENO);
  const std::string text = meter_text(run);
  put(
      fmt::format("\x1b"
                  "7\x1b[{};1H\x1b[2K\x1b[7m{}\x1b[0m\x1b"
                  "8",
                  rows_, width > 1 ? base::utf8_prefix(text, width - 1) : text));
}

void Meter::hide() {
  if (rows_ == 0) return;
  put(
      fmt::format("\x1b"
                  "7\x1b[r\x1b[{};1H\x1b[2K\x1b"
                  "8",
                  rows_));
  rows_ = 0;
}

}  // namespace penstock::cli
