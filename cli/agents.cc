// penstock agents: who was seen, with what they used.
#include <fmt/format.h>
#include <unistd.h>

#include "cli/app.h"
#include "cli/output.h"
#include "cli/table.h"
#include "userspace/api/selector.h"

namespace penstock::cli {

void add_agents(CLI::App& app, Context& context) {
  auto* sub = command(app, "agents", "the agents seen, with their models and spend",
                      "  penstock agents\n"
                      "  penstock agents user=ada\n"
                      "  penstock agents -o jsonl | jq -r .agent");
  socket_option(*sub, context);
  output_option(*sub, context);
  auto selector = std::make_shared<std::string>();
  sub->add_option("selector", *selector, "only these: agent=, user=, exe=, unit=, namespace=, …");
  sub->callback([&context, selector] {
    context.run = [&context, selector]() -> base::Result<int> {
      api::ListAgentsRequest request;
      if (!selector->empty()) {
        PN_TRY(*request.mutable_selector(), api::parse_selector(*selector));
      }
      PN_TRY(const auto list, api::Client(context.socket).call<api::AgentList>(request));
      if (context.output() != Format::kTable) return print_message(context, list, "agents"), 0;
      Table table({{"AGENT", Align::kLeft, 12},
                   {"RUNS", Align::kRight},
                   {"MODELS", Align::kLeft, 8},
                   {"CALLS", Align::kRight},
                   {"IN", Align::kRight},
                   {"OUT", Align::kRight},
                   {"COST", Align::kRight},
                   {"MODE"}});
      for (const auto& a : list.agents()) {
        std::string models;
        for (const auto& m : a.models()) models += (models.empty() ? "" : ",") + m;
        table.row({a.agent(), std::to_string(a.runs_size()), models.empty() ? kUnknown : models,
                   short_count(a.totals().calls()), tokens_in(a.totals()), tokens_out(a.totals()), cost(a.totals()),
                   a.killed() ? Cell("killed", Tone::kBad) : Cell(a.mode())});
      }
      if (table.empty())
        print_note("no agent has been seen yet");
      else
        write_out(table.text(terminal_width(STDOUT_FILENO), color_on(STDOUT_FILENO)));
      return 0;
    };
  });
}

}  // namespace penstock::cli
