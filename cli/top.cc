// penstock top: who spends what, refreshed in place on a terminal, once otherwise.
#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <charconv>

#include "cli/app.h"
#include "cli/output.h"
#include "cli/table.h"
#include "userspace/base/utf8.h"

namespace penstock::cli {
namespace {

struct Options {
  std::string by = "agent", interval = "1";
  std::uint32_t frames = 0;  // 0: until Ctrl-C
};

std::string name_of(const api::TopRow& r, const std::string& by) {
  if (by == "run") return r.run();
  if (by == "model") return r.has_model() ? r.model() : kUnknown;
  return r.agent();
}

std::string frame(const api::TopSnapshot& s, const std::string& by, std::size_t width, std::size_t height, bool color) {
  const std::string lost = losses(s.losses());
  std::string out =
      fmt::format("{}  {} calls, {} in flight, {} held, {}\n", clock_time(s.now_real_ns()),
                  short_count(s.totals().calls()), s.totals().in_flight(), s.totals().held(), cost(s.totals()));
  if (!lost.empty())
    out += paint(width == 0 ? "lost: " + lost : std::string(base::utf8_prefix("lost: " + lost, width)), Tone::kWarn,
                 color) +
           "\n";
  Table table({{by == "model" ? "MODEL"
                : by == "run" ? "RUN"
                              : "AGENT",
                Align::kLeft, 12},
               {by == "model" ? "AGENT" : "MODEL", Align::kLeft, 8},
               {"CALL/M", Align::kRight},
               {"TOK/M", Align::kRight},
               {"$/MIN", Align::kRight},
               {"CALLS", Align::kRight},
               {"COST", Align::kRight},
               {"BUDGET", Align::kRight},
               {"LAST"}});
  std::size_t shown = 0;
  for (const auto& r : s.rows()) {
    if (height != 0 && shown + 4 > height) break;  // heading, losses, titles, and the cursor's line
    ++shown;
    const Tone used = !r.has_budget_used_percent()     ? Tone::kPlain
                      : r.budget_used_percent() >= 100 ? Tone::kBad
                      : r.budget_used_percent() >= 80  ? Tone::kWarn
                                                       : Tone::kGood;
    const std::string last = r.killed() ? "killed" : r.has_last_verdict() ? r.last_verdict() : kUnknown;
    table.row({name_of(r, by),
               by == "model"   ? r.agent()
               : r.has_model() ? r.model()
                               : kUnknown,
               short_count(r.calls_1m()),
               short_count(r.tokens_1m()),
               short_usd(r.cost_1m_nano_usd()),
               short_count(r.totals().calls()),
               cost(r.totals()),
               {r.has_budget_used_percent() ? fmt::format("{}%", r.budget_used_percent()) : kUnknown, used},
               {last, last == "allow" || last == kUnknown ? Tone::kPlain : Tone::kBad}});
  }
  return out + table.text(width, color);
}

base::Result<int> top(const Context& context, const Options& options) {
  unsigned seconds = 0;
  const auto [end, error] =
      std::from_chars(options.interval.data(), options.interval.data() + options.interval.size(), seconds);
  if (error != std::errc() || end != options.interval.data() + options.interval.size() || seconds == 0 ||
      seconds > 3600)
    return base::Error{base::ErrorCode::kUsage, 0, fmt::format("\"{}\" is not a number of seconds", options.interval),
                       "write --interval 2"};
  api::GetTopRequest request;
  request.set_by(options.by);
  const bool tty = ::isatty(STDOUT_FILENO) != 0 && context.output() == Format::kTable;
  const std::uint32_t frames = options.frames != 0 ? options.frames : tty ? 0 : 1;
  api::Client client(context.socket);
  for (std::uint32_t n = 1;; ++n) {
    PN_TRY(const auto snapshot, client.call<api::TopSnapshot>(request));
    if (context.output() != Format::kTable) {
      if (context.output() == Format::kYaml && frames != 1) write_out("---\n");
      print_message(context, snapshot);
    } else {
      winsize size{};
      if (tty) ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
      std::string text =
          frame(snapshot, options.by, terminal_width(STDOUT_FILENO), tty ? size.ws_row : 0, color_on(STDOUT_FILENO));
      if (tty) {  // overwrite the frame before, line by line, then clear what is left of it: no flicker
        std::string cleared = n == 1 ? "\x1b[2J\x1b[H" : "\x1b[H";
        for (const char c : text) c == '\n' ? cleared += "\x1b[K\n" : cleared += c;
        text = cleared + "\x1b[J";
      }
      write_out(text);
    }
    if (frames != 0 && n >= frames) return 0;
    ::poll(nullptr, 0, static_cast<int>(seconds * 1000));
  }
}

}  // namespace

void add_top(CLI::App& app, Context& context) {
  auto* sub = command(app, "top", "who spends what, now",
                      "  penstock top\n"
                      "  penstock top --by model --interval 5\n"
                      "  penstock top -n 1                         one frame; also when the output is no terminal");
  socket_option(*sub, context);
  output_option(*sub, context);
  auto o = std::make_shared<Options>();
  sub->add_option("--by", o->by, "agent, run or model")
      ->check(CLI::IsMember({"agent", "run", "model"}))
      ->type_name("WHAT");
  sub->add_option("-n,--frames", o->frames, "end after this many frames")->type_name("N");
  sub->add_option("--interval", o->interval, "seconds between frames")->type_name("S");
  sub->callback([&context, o] { context.run = [&context, o] { return top(context, *o); }; });
}

}  // namespace penstock::cli
