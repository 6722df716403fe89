#include "cli/app.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "userspace/api/message_json.h"
#include "userspace/api/server.h"
#include "userspace/api/yaml_json.h"

namespace penstock::cli {
namespace {

constexpr char kFooter[] = R"(Start here:
  penstock doctor                                    what works on this machine
  penstock run --max-usd 2 -- python agent.py        a limit for one program
  penstock observe -f                                every call as it ends
  penstock top                                       who spends what, now
  penstock kill agent=crawler --reason "runaway"     stop an agent; `release` undoes it

Exit codes: 0 done · 1 could not be carried out · 2 bad arguments, policy or file · 3 a privilege is missing ·
4 the machine lacks something · 5 no daemon answers · 6 no such thing. `run` passes the exit code of its command.
Environment: PENSTOCK_SOCKET (control socket), NO_COLOR.)";

// CLI11 hands what follows "--" to the parent of a subcommand without positionals. `run` takes everything from its
// first positional on as the command, so a "--" before that one is only noise: it is taken out.
void drop_separator(const CLI::App& app, std::vector<std::string>& args) {
  if (args.empty() || args.front() != "run") return;
  const CLI::App* run = app.get_subcommand("run");
  for (std::size_t i = 1; i < args.size() && args[i].starts_with('-'); ++i) {
    if (args[i] == "--") {
      args.erase(args.begin() + static_cast<std::ptrdiff_t>(i));
      return;
    }
    if (args[i].find('=') != std::string::npos) continue;
    const CLI::Option* option = run->get_option_no_throw(args[i]);
    if (option != nullptr && option->get_items_expected_max() > 0) ++i;
  }
}

}  // namespace

CLI::App* command(CLI::App& parent, const std::string& name, const std::string& what, const std::string& examples) {
  CLI::App* sub = parent.add_subcommand(name, what);
  if (!examples.empty()) sub->footer("Examples:\n" + examples);
  return sub;
}

void socket_option(CLI::App& app, Context& context) {
  app.add_option("--socket", context.socket, "control socket of the daemon")->type_name("PATH");
}

void output_option(CLI::App& app, Context& context) {
  app.add_option("-o,--output", context.format, "table, json, jsonl (one object per line) or yaml")
      ->check(CLI::IsMember({"table", "json", "jsonl", "yaml"}))
      ->type_name("FORMAT");
}

void print_error(const base::Error& error) {
  std::fputs(fmt::format("penstock: {}\n", error.message()).c_str(), stderr);
  if (!error.hint.empty()) std::fputs(fmt::format("hint: {}\n", error.hint).c_str(), stderr);
}

void print_note(std::string_view text) { std::fputs(fmt::format("penstock: {}\n", text).c_str(), stderr); }

void write_out(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) return;
  if (errno != EPIPE) print_error(base::errno_error(errno, "cannot write the output"));
  std::_Exit(static_cast<int>(base::ErrorCode::kFailure));
}

void print_message(const Context& context, const google::protobuf::Message& message, const char* rows) {
  if (context.output() == Format::kJson) return write_out(api::to_json(message, api::JsonStyle::kPretty) + "\n");
  if (context.output() == Format::kYaml) return write_out(api::yaml_of_json(api::to_json(message)));
  const auto* field = rows == nullptr ? nullptr : message.GetDescriptor()->FindFieldByName(rows);
  if (field == nullptr) return write_out(api::to_json(message) + "\n");
  std::string out;
  for (int i = 0; i < message.GetReflection()->FieldSize(message, field); ++i)
    out += api::to_json(message.GetReflection()->GetRepeatedMessage(message, field, i)) + "\n";
  write_out(out);
}

void build(CLI::App& app, Context& context) {
  app.description("Penstock meters and governs what AI agents send: to models, tools and other agents.");
  app.footer(kFooter);
  app.require_subcommand(1);
  app.set_help_flag("-h,--help", "what there is, with examples");
  const char* socket = std::getenv("PENSTOCK_SOCKET");
  context.socket = socket != nullptr && *socket != '\0' ? socket : api::kDefaultSocket;
  socket_option(app, context);  // before the command as well as after it
  add_run(app, context);
  add_status(app, context);
  add_doctor(app, context);
  add_observe(app, context);
  add_top(app, context);
  add_agents(app, context);
  add_budget(app, context);
  add_kill(app, context);
  add_release(app, context);
  add_held(app, context);
  add_policy(app, context);
  add_graph(app, context);
  add_coverage(app, context);
  add_prices(app, context);
  add_completion(app, context);
}

int main_with(std::vector<std::string> args, std::string_view version, void (*more)(CLI::App&, Context&)) {
  Context context;
  CLI::App app;
  app.name("penstock");
  app.set_version_flag("-V,--version", std::string("penstock ") + std::string(version));
  build(app, context);
  if (more != nullptr) more(app, context);
  drop_separator(app, args);
  std::reverse(args.begin(), args.end());
  try {  // CLI11 reports by exception; this is the one place that meets them
    app.parse(std::move(args));
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);  // --help, --version
    std::string path = "penstock";
    for (const CLI::App* sub = &app; !sub->get_subcommands().empty();) {
      sub = sub->get_subcommands().front();
      path += " " + sub->get_name();
    }
    print_error({base::ErrorCode::kUsage, 0, e.what(), fmt::format("`{} --help` has examples", path)});
    return static_cast<int>(base::ErrorCode::kUsage);
  }
  auto done = context.run();
  if (done) return *done;
  print_error(done.error());
  return static_cast<int>(done.error().code);
}

}  // namespace penstock::cli
