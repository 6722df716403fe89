// penstock kill, penstock release.
#include <fmt/format.h>
#include <unistd.h>

#include "cli/app.h"
#include "cli/output.h"
#include "cli/table.h"
#include "userspace/api/selector.h"

namespace penstock::cli {
namespace {

constexpr char kSelectors[] =
    "agent=, run=, user=, exe=, cgroup=, unit=, namespace=, pod=, container=, model=, provider=, pid=, or all";

base::Result<int> list_kills(const Context& context) {
  PN_TRY(const auto list, api::Client(context.socket).call<api::KillList>(api::ListKillsRequest()));
  if (context.output() != Format::kTable) return print_message(context, list, "kills"), 0;
  Table table(
      {{"SELECTOR", Align::kLeft, 16}, {"SINCE"}, {"BY", Align::kLeft, 6}, {"FROZEN"}, {"REASON", Align::kLeft, 10}});
  for (const auto& k : list.kills())
    table.row({{api::format_selector(k.selector()), Tone::kBad},
               clock_time(k.since_real_ns()),
               k.has_by() ? k.by() : kUnknown,
               k.freeze() ? "yes" : "no",
               k.reason()});
  if (table.empty())
    print_note("no kill switch is in force");
  else
    write_out(table.text(terminal_width(STDOUT_FILENO), color_on(STDOUT_FILENO)));
  return 0;
}

}  // namespace

void add_kill(CLI::App& app, Context& context) {
  auto* sub = command(app, "kill", "end an agent's AI connections and refuse new ones, until `release`",
                      "  penstock kill agent=crawler --reason \"loops\"\n"
                      "  penstock kill model=gpt-5-pro             a model, whoever calls it\n"
                      "  penstock kill run=build/4711-88 --sigkill  and end its processes\n"
                      "  penstock kill all                          everything, at once\n"
                      "  penstock kill --list                       switches in force");
  socket_option(*sub, context);
  output_option(*sub, context);
  struct Options {
    std::string selector, reason = "ordered on the command line";
    bool freeze = false, sigkill = false, list = false;
  };
  auto o = std::make_shared<Options>();
  auto* selector = sub->add_option("selector", o->selector, kSelectors);
  sub->add_option("--reason", o->reason, "why; goes to the audit log")->type_name("TEXT");
  sub->add_flag("--freeze", o->freeze, "stop its processes where they are (cgroup freezer)");
  sub->add_flag("--sigkill", o->sigkill, "end its processes");
  sub->add_flag("--list", o->list, "list the switches in force")->excludes(selector);
  sub->callback([&context, o] {
    context.run = [&context, o]() -> base::Result<int> {
      if (o->list) return list_kills(context);
      if (o->selector.empty())
        return base::Error{base::ErrorCode::kUsage, 0, "kill what?", std::string("give ") + kSelectors};
      api::KillRequest request;
      PN_TRY(*request.mutable_selector(), api::parse_selector(o->selector));
      if (request.selector().target_case() == api::Selector::kExchange)
        return base::Error{base::ErrorCode::kUsage, 0, "one exchange cannot be killed", "kill its run= or its agent="};
      request.set_reason(o->reason);
      request.set_freeze(o->freeze);
      request.set_sigkill(o->sigkill);
      PN_TRY(const auto done, api::Client(context.socket).call<api::KillResponse>(request));
      if (context.output() != Format::kTable) return print_message(context, done), 0;
      write_out(
          fmt::format("killed {}: {} connections ended, {} held requests refused, {} scopes, {} processes\n"
                      "undo with: penstock release {}\n",
                      o->selector, done.connections_destroyed(), done.held_refused(), done.scopes(), done.processes(),
                      o->selector));
      return 0;
    };
  });
}

void add_release(CLI::App& app, Context& context) {
  auto* sub = command(app, "release", "lift kill switches, or let held requests go",
                      "  penstock release agent=crawler\n"
                      "  penstock release exchange=4711 --reason approved   one held request (`penstock held`)\n"
                      "  penstock release all");
  socket_option(*sub, context);
  output_option(*sub, context);
  auto selector = std::make_shared<std::string>(),
       reason = std::make_shared<std::string>("ordered on the command line");
  sub->add_option("selector", *selector, "what `kill --list` or `held` shows, or all")->required();
  sub->add_option("--reason", *reason, "why; goes to the audit log")->type_name("TEXT");
  sub->callback([&context, selector, reason] {
    context.run = [&context, selector, reason]() -> base::Result<int> {
      api::ReleaseRequest request;
      PN_TRY(*request.mutable_selector(), api::parse_selector(*selector));
      request.set_reason(*reason);
      PN_TRY(const auto done, api::Client(context.socket).call<api::ReleaseResponse>(request));
      if (context.output() != Format::kTable) return print_message(context, done), 0;
      write_out(fmt::format("released {}: {} kill switches lifted, {} held requests let go\n", *selector,
                            done.kills_lifted(), done.held_released()));
      return 0;
    };
  });
}

}  // namespace penstock::cli
