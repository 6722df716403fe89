// penstock held: requests that wait in their sockets for a verdict.
#include <fmt/format.h>
#include <unistd.h>

#include <ctime>

#include "cli/app.h"
#include "cli/output.h"
#include "cli/table.h"
#include "userspace/api/selector.h"

namespace penstock::cli {

void add_held(CLI::App& app, Context& context) {
  auto* sub = command(app, "held", "requests that wait for a verdict",
                      "  penstock held\n"
                      "  penstock held agent=crawler -o jsonl\n"
                      "  penstock release exchange=ID          let one go");
  socket_option(*sub, context);
  output_option(*sub, context);
  auto selector = std::make_shared<std::string>();
  sub->add_option("selector", *selector, "only these: agent=, run=, user=, model=, …");
  sub->callback([&context, selector] {
    context.run = [&context, selector]() -> base::Result<int> {
      api::ListHeldRequest request;
      if (!selector->empty()) {
        PN_TRY(*request.mutable_selector(), api::parse_selector(*selector));
      }
      PN_TRY(const auto list, api::Client(context.socket).call<api::HeldList>(request));
      if (context.output() != Format::kTable) return print_message(context, list, "held"), 0;
      const auto now = static_cast<std::int64_t>(std::time(nullptr)) * 1'000'000'000;
      Table table({{"ID", Align::kRight},
                   {"AGENT", Align::kLeft, 10},
                   {"MODEL", Align::kLeft, 8},
                   {"EST COST", Align::kRight},
                   {"WAITS", Align::kRight},
                   {"REASON"},
                   {"RULE", Align::kLeft, 8}});
      for (const auto& h : list.held())
        table.row({std::to_string(h.exchange()),
                   h.agent(),
                   h.has_model() ? h.model() : h.host(),
                   known(h.has_estimated_nano_usd(), h.estimated_nano_usd(), short_usd),
                   duration(static_cast<std::uint64_t>(std::max<std::int64_t>(now - h.since_real_ns(), 0))),
                   {h.reason(), Tone::kWarn},
                   h.has_policy() ? h.policy() + (h.has_rule() ? "/" + h.rule() : "") : kUnknown});
      if (table.empty())
        print_note("nothing is held");
      else
        write_out(table.text(terminal_width(STDOUT_FILENO), color_on(STDOUT_FILENO)));
      return 0;
    };
  });
}

}  // namespace penstock::cli
