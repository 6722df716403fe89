// penstock observe: exchanges, one line each, as they end.
#include <fmt/format.h>
#include <unistd.h>

#include "cli/app.h"
#include "cli/output.h"
#include "cli/table.h"
#include "userspace/api/message_json.h"
#include "userspace/api/selector.h"
#include "userspace/base/utf8.h"

namespace penstock::cli {
namespace {

struct Options {
  std::string selector, kind, last;
  bool follow = false;
};

std::string padded(std::string_view text, std::size_t width, Align align = Align::kLeft) {
  std::string shown = base::printable_utf8(text);
  if (base::utf8_length(shown) > width) shown = std::string(base::utf8_prefix(shown, width - 1)) + "…";
  const std::string space(width - base::utf8_length(shown), ' ');
  return align == Align::kLeft ? shown + space : space + shown;
}

// A stream has no last row to size its columns by: they are fixed, and fit into 80 columns. Wider terminals give the
// names more room.
class Lines {
 public:
  explicit Lines(std::size_t width, bool color) : color_(color) {
    const std::size_t spare = width > 80 ? std::min<std::size_t>(width - 80, 60) : 0;
    agent_ = 14 + spare / 2;
    model_ = 17 + spare - spare / 2;
  }
  std::string header() const {
    return paint(fmt::format("{:<8}  {}  {}  {:>5}  {:>5}  {:>8}  {:>6}  {}", "TIME", padded("AGENT", agent_),
                             padded("MODEL", model_), "IN", "OUT", "COST", "TOOK", "VERDICT"),
                 Tone::kDim, color_) +
           "\n";
  }
  std::string line(const api::Exchange& x) const {
    const std::string what = x.has_response_model()  ? x.response_model()
                             : x.has_request_model() ? x.request_model()
                             : x.has_operation()     ? x.operation()
                                                     : x.path();
    const auto& u = x.usage();
    const std::string mark = x.usage_status() == "estimated" ? "~" : x.usage_status() == "incomplete" ? ">" : "";
    const bool refused =
        x.verdict().action() == "deny" || x.verdict().action() == "kill" || x.verdict().action() == "cut";
    std::string verdict = x.verdict().action();
    if (x.has_error() && verdict == "allow") verdict = x.status() != 0 ? fmt::format("HTTP {}", x.status()) : "error";
    if (refused && x.verdict().has_reason()) verdict += " " + x.verdict().reason();
    if (x.verdict().mode() == "observe" && x.verdict().action() != "allow") verdict = "would " + verdict;
    const Tone tone = refused ? Tone::kBad : verdict == "allow" ? Tone::kGood : Tone::kWarn;
    return fmt::format(
        "{:<8}  {}  {}  {}  {}  {}  {}  {}\n", clock_time(x.timing().start_real_ns()), padded(x.agent(), agent_),
        padded(what, model_),
        padded(mark + known(u.has_input_tokens(), u.input_tokens(), short_count), 5, Align::kRight),
        padded(mark + known(u.has_output_tokens(), u.output_tokens(), short_count), 5, Align::kRight),
        padded(known(x.has_cost_nano_usd(), x.cost_nano_usd(), short_usd), 8, Align::kRight),
        padded(known(x.timing().has_total_ns(), x.timing().total_ns(), short_duration), 6, Align::kRight),
        paint(base::printable_utf8(verdict), tone, color_));
  }

 private:
  static std::string short_duration(std::uint64_t ns) {
    const std::uint64_t ms = ns / 1'000'000;
    return ms < 1000      ? fmt::format("{}ms", ms)
           : ms < 100'000 ? fmt::format("{}.{}s", ms / 1000, ms % 1000 / 100)
                          : fmt::format("{}s", ms / 1000);
  }
  std::size_t agent_ = 0, model_ = 0;
  bool color_;
};

// {"dropped":n}: what this client read too slowly to get.
bool dropped(std::string_view line) {
  if (!line.starts_with("{\"dropped\":")) return false;
  std::string_view n = line.substr(11);
  n.remove_suffix(1);
  print_note(fmt::format("{} exchanges were dropped: the output was read too slowly", n));
  return true;
}

base::Result<int> observe(const Context& context, const Options& options) {
  api::ObserveRequest request;
  if (!options.selector.empty()) {
    PN_TRY(*request.mutable_selector(), api::parse_selector(options.selector));
  }
  if (!options.kind.empty()) request.set_kind(options.kind);
  request.set_follow(options.follow);
  if (!options.last.empty()) {
    PN_TRY(const auto n, parse_number(options.last));
    request.set_last(static_cast<std::uint32_t>(std::min<std::uint64_t>(n, 1'000'000)));
  }
  api::Client client(context.socket);
  const Lines lines(terminal_width(STDOUT_FILENO), color_on(STDOUT_FILENO));
  if (context.output() == Format::kTable) write_out(lines.header());
  std::optional<base::Error> failure;
  PN_CHECK(client.stream(request, [&](std::string_view line) {
    if (dropped(line)) return true;
    if (context.output() == Format::kJsonl) {
      write_out(std::string(line) + "\n");
      return true;
    }
    api::Exchange exchange;
    if (auto read = api::from_json(line, exchange); !read) {
      failure = std::move(read).error();
      return false;
    }
    if (context.output() == Format::kYaml) write_out("---\n");
    if (context.output() == Format::kTable) {
      write_out(lines.line(exchange));
    } else {
      print_message(context, exchange);
    }
    return true;
  }));
  if (failure) return std::move(*failure);
  return 0;
}

}  // namespace

void add_observe(CLI::App& app, Context& context) {
  auto* sub = command(app, "observe", "calls to models, tools and agents, one line each as they end",
                      "  penstock observe                          what the daemon remembers\n"
                      "  penstock observe -f agent=crawler         from now on, until Ctrl-C\n"
                      "  penstock observe -f --kind llm -o jsonl | jq 'select(.cost_nano_usd > 1e7)'\n"
                      "In the table ~ marks an estimate, > a lower bound, – what is unknown.");
  socket_option(*sub, context);
  output_option(*sub, context);
  auto o = std::make_shared<Options>();
  sub->add_option("selector", o->selector, "only these: agent=, run=, user=, model=, provider=, …");
  sub->add_flag("-f,--follow", o->follow, "go on with exchanges that end from now on");
  sub->add_option("--last", o->last, "begin with the last N from memory")->type_name("N");
  sub->add_option("--kind", o->kind, "llm, mcp, a2a or http")
      ->type_name("KIND")
      ->check(CLI::IsMember({"llm", "mcp", "a2a", "http"}));
  sub->callback([&context, o] { context.run = [&context, o] { return observe(context, *o); }; });
}

}  // namespace penstock::cli
