// penstock policy check|apply|list|remove.
#include <fmt/format.h>
#include <unistd.h>

#include "cli/app.h"
#include "cli/daemon_process.h"
#include "cli/output.h"
#include "cli/policy_file.h"
#include "cli/table.h"
#include "userspace/api/message_json.h"
#include "userspace/api/yaml.h"

namespace penstock::cli {

base::Result<std::string> read_file(const std::string& path) {
  return api::read_text_file(path == "-" ? "/dev/stdin" : path);
}

namespace {

// file:line:column: what compilers print, so that editors jump there.
void print_diagnostics(const api::PolicyReport& report) {
  for (const auto& d : report.diagnostics()) {
    std::string where = d.file();
    if (d.line() != 0) where += fmt::format(":{}", d.line());
    if (d.line() != 0 && d.column() != 0) where += fmt::format(":{}", d.column());
    std::fputs(fmt::format("{}: {}: {}\n", where, d.severity(), d.message()).c_str(), stderr);
  }
}

template <class List>
void print_policies(const List& list) {
  Table table({{"POLICY", Align::kLeft, 12},
               {"MODE"},
               {"MATCH", Align::kLeft, 12},
               {"BUDGETS", Align::kRight},
               {"RULES", Align::kRight},
               {"AGENTS", Align::kRight},
               {"FILE", Align::kLeft, 10},
               {""}});
  for (const auto& p : list.policies())
    table.row({p.name(),
               p.mode(),
               p.match().empty() ? "everyone" : p.match(),
               std::to_string(p.budgets()),
               std::to_string(p.rules()),
               known(p.has_subjects(), p.subjects(), [](auto n) { return std::to_string(n); }),
               p.has_file() ? p.file() : kUnknown,
               {p.change(), p.change() == "removed"     ? Tone::kBad
                            : p.change() == "unchanged" ? Tone::kDim
                                                        : Tone::kGood}});
  if (table.empty())
    print_note("no policy is in force");
  else
    write_out(table.text(terminal_width(STDOUT_FILENO), color_on(STDOUT_FILENO)));
}

base::Result<int> finish(const Context& context, const api::PolicyReport& report) {
  if (context.output() != Format::kTable) {
    print_message(context, report);
  } else {
    print_diagnostics(report);
    if (report.valid()) print_policies(report);
  }
  return report.valid() ? 0 : static_cast<int>(base::ErrorCode::kUsage);
}

// Without a daemon penstockd reads the file itself: checking is for editors and CI as well.
base::Result<api::PolicyReport> check(const Context& context, const std::string& path) {
  api::CheckPolicyRequest request;
  PN_TRY(*request.mutable_source(), read_file(path));
  request.set_file(path == "-" ? "stdin" : path);
  auto answer = api::Client(context.socket).call<api::PolicyReport>(request);
  if (answer || path == "-") return answer;
  if (answer.error().code != base::ErrorCode::kUnavailable && answer.error().code != base::ErrorCode::kPrivilege)
    return answer;
  int exit_code = 0;
  PN_TRY(const std::string json, daemon_output({"--check-policy", path}, &exit_code));
  api::PolicyReport report;
  PN_CHECK(api::from_json(json, report));
  return report;
}

}  // namespace

void add_policy(CLI::App& app, Context& context) {
  auto* sub = command(app, "policy", "who may call what, and for how much",
                      "  penstock policy check team.yaml\n"
                      "  penstock policy apply team.yaml\n"
                      "  penstock policy list");
  sub->require_subcommand(1);
  auto path = std::make_shared<std::string>(), name = std::make_shared<std::string>();

  auto* checked = command(*sub, "check", "read a policy file and say what is wrong with it; needs no daemon",
                          "  penstock policy check team.yaml\n"
                          "  cat *.yaml | penstock policy check -\n"
                          "Exit code 2 if it is not valid.");
  socket_option(*checked, context);
  output_option(*checked, context);
  checked->add_option("file", *path, "YAML, one or more documents; - reads standard input")
      ->required()
      ->type_name("FILE");
  checked->callback([&context, path] {
    context.run = [&context, path]() -> base::Result<int> {
      PN_TRY(const auto report, check(context, *path));
      return finish(context, report);
    };
  });

  auto* applied = command(*sub, "apply", "put the policies of a file in force, all or none",
                          "  penstock policy apply team.yaml\n"
                          "Policies of other names stay; see `policy remove`.");
  socket_option(*applied, context);
  output_option(*applied, context);
  applied->add_option("file", *path, "YAML, one or more documents; - reads standard input")
      ->required()
      ->type_name("FILE");
  applied->callback([&context, path] {
    context.run = [&context, path]() -> base::Result<int> {
      api::ApplyPolicyRequest request;
      PN_TRY(*request.mutable_source(), read_file(*path));
      request.set_file(*path == "-" ? "stdin" : *path);
      PN_TRY(const auto report, api::Client(context.socket).call<api::PolicyReport>(request));
      return finish(context, report);
    };
  });

  auto* listed =
      command(*sub, "list", "the policies in force", "  penstock policy list\n  penstock policy list -o json");
  socket_option(*listed, context);
  output_option(*listed, context);
  listed->callback([&context] {
    context.run = [&context]() -> base::Result<int> {
      PN_TRY(const auto list, api::Client(context.socket).call<api::PolicyList>(api::ListPoliciesRequest()));
      if (context.output() != Format::kTable) return print_message(context, list, "policies"), 0;
      return print_policies(list), 0;
    };
  });

  auto* removed = command(*sub, "remove", "take a policy out of force", "  penstock policy remove research-team");
  socket_option(*removed, context);
  output_option(*removed, context);
  removed->add_option("name", *name, "name of the policy")->required();
  removed->callback([&context, name] {
    context.run = [&context, name]() -> base::Result<int> {
      api::RemovePolicyRequest request;
      request.set_name(*name);
      PN_TRY(const auto list, api::Client(context.socket).call<api::PolicyList>(request));
      if (context.output() != Format::kTable) return print_message(context, list, "policies"), 0;
      return print_policies(list), 0;
    };
  });
}

}  // namespace penstock::cli
