// penstock status: what the daemon is doing, at a glance.
#include <fmt/format.h>
#include <unistd.h>

#include <ctime>

#include "cli/app.h"
#include "cli/output.h"
#include "cli/table.h"

namespace penstock::cli {
namespace {

std::string text(const api::Status& s, bool color) {
  std::string out;
  const auto line = [&](std::string_view label, std::string_view value, Tone tone = Tone::kPlain) {
    out += fmt::format("{:<12}{}\n", label, paint(value, tone, color));
  };
  const auto now = static_cast<std::int64_t>(std::time(nullptr)) * 1'000'000'000;
  line("daemon",
       fmt::format("penstockd {}, pid {}{}, up {}", s.version(), s.pid(),
                   s.ephemeral() ? " (started by `penstock run`)" : "",
                   duration(static_cast<std::uint64_t>(std::max<std::int64_t>(now - s.started_real_ns(), 0)))));
  line("ready", s.ready() ? "yes" : "no", s.ready() ? Tone::kGood : Tone::kBad);
  line("gate", s.gate(), s.gate() == "off" ? Tone::kWarn : Tone::kGood);
  for (const auto& what : s.degraded()) line("degraded", what, Tone::kWarn);
  line("kernel", fmt::format("{} (wire {})", s.kernel(), s.wire_version()));
  line("socket", s.socket());
  if (s.has_metrics_address()) line("metrics", fmt::format("http://{}/metrics", s.metrics_address()));
  if (s.has_state_dir()) line("state", s.state_dir());
  line("watching", fmt::format("{} agents, {} runs, {} connections, {} probed images", s.agents(), s.runs(),
                               long_count(s.connections()), s.attached_images()));
  line("policies", fmt::format("{}, {} kill switches in force", s.policies(), s.kills()),
       s.kills() > 0 ? Tone::kWarn : Tone::kPlain);
  const api::Totals& t = s.totals();
  line("calls", fmt::format("{} ended ({} errors), {} in flight, {} held", long_count(t.calls()),
                            long_count(t.errors()), long_count(t.in_flight()), long_count(t.held())));
  line("tokens", fmt::format("{} in ({} cached), {} out", tokens_in(t), tokens_cached(t), tokens_out(t)));
  line("cost", cost(t));
  const std::string lost = losses(s.losses());
  line("lost", lost.empty() ? "nothing" : lost, lost.empty() ? Tone::kPlain : Tone::kWarn);
  return out;
}

}  // namespace

void add_status(CLI::App& app, Context& context) {
  auto* sub = command(app, "status", "what the daemon is doing",
                      "  penstock status\n"
                      "  penstock status --counters            every counter, losses included\n"
                      "  penstock status -o json | jq .totals");
  socket_option(*sub, context);
  output_option(*sub, context);
  auto counters = std::make_shared<bool>(false);
  sub->add_flag("--counters", *counters, "list all counters instead");
  sub->callback([&context, counters] {
    context.run = [&context, counters]() -> base::Result<int> {
      api::Client client(context.socket);
      if (*counters) {
        PN_TRY(const auto list, client.call<api::CounterList>(api::ListCountersRequest()));
        if (context.output() != Format::kTable) return print_message(context, list, "counters"), 0;
        Table table({{"COUNTER", Align::kLeft, 20}, {"LABELS", Align::kLeft, 12}, {"VALUE", Align::kRight}});
        for (const auto& c : list.counters()) {
          std::map<std::string, std::string> labels(c.labels().begin(), c.labels().end());
          std::string joined;
          for (const auto& [k, v] : labels) joined += fmt::format("{}{}={}", joined.empty() ? "" : " ", k, v);
          table.row({c.name(), joined, long_count(c.value())});
        }
        return write_out(table.text(terminal_width(STDOUT_FILENO), color_on(STDOUT_FILENO))), 0;
      }
      PN_TRY(const auto status, client.call<api::Status>(api::GetStatusRequest()));
      if (context.output() == Format::kTable)
        write_out(text(status, color_on(STDOUT_FILENO)));
      else
        print_message(context, status);
      return 0;
    };
  });
}

}  // namespace penstock::cli
