// penstockd: options, exit codes, one line and a hint for everything that stops it. docs/CLI.md has the table of codes.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "userspace/api/message_json.h"
#include "userspace/api/yaml.h"
#include "userspace/daemon/control_api.h"
#include "userspace/daemon/daemon.h"
#include "userspace/daemon/version.h"

namespace {

using penstock::base::Error;
using penstock::base::ErrorCode;
using penstock::base::Result;
namespace daemon = penstock::daemon;
namespace api = penstock::api;

constexpr char kConfigFile[] = "/etc/penstock/config.yaml";

volatile std::sig_atomic_t g_stop = 0;
volatile std::sig_atomic_t g_reload = 0;

int fail(const Error& error) {
  fmt::print(stderr, "penstockd: {}\n", error.message());
  if (!error.hint.empty()) fmt::print(stderr, "hint: {}\n", error.hint);
  return static_cast<int>(error.code);
}

void catch_signals() {
  struct sigaction action {};
  action.sa_handler = [](int number) {
    if (number == SIGHUP) {
      g_reload = g_reload + 1;
    } else {
      g_stop = 1;
    }
  };
  // No SA_RESTART: a sleeping loop must notice at once.
  ::sigaction(SIGTERM, &action, nullptr);
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGHUP, &action, nullptr);
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &ignore, nullptr);
}

// Prompts and keys pass through this process: no core file, no peeking by others of the same user.
void harden() {
  ::prctl(PR_SET_DUMPABLE, 0);
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  // One descriptor for each probe on older kernels, and one for each observed API client.
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
}

// What an ephemeral daemon does not leave behind: state in memory, pins under a name of its own, no TCP listener.
void make_ephemeral(daemon::CommandLine& command_line) {
  if (!command_line.bpffs_dir) command_line.bpffs_dir = fmt::format("/sys/fs/bpf/penstock-run-{}", ::getpid());
  if (!command_line.listen) command_line.listen = "";
}

Result<daemon::Settings> settings_of(const daemon::CommandLine& command_line) {
  PN_TRY(daemon::Settings settings, daemon::load_settings(command_line));
  return settings;
}

// The file that is meant when none is named.
std::string default_config_file() {
  const char* named = std::getenv("PENSTOCK_CONFIG");
  if (named != nullptr && *named != '\0') return named;
  return ::access(kConfigFile, F_OK) == 0 ? kConfigFile : "";
}

Result<int> check_config(const daemon::CommandLine& command_line) {
  PN_TRY(const daemon::Settings settings, settings_of(command_line));
  PN_TRY(const auto store, daemon::PolicyStore::open(daemon::policy_settings(settings.config, {}), 0));
  PN_TRY([[maybe_unused]] const auto book, penstock::ledger::PriceBook::load(daemon::price_options(settings.config)));
  fmt::print("configuration is valid: {} policies\n", store.set().policies_size());
  return 0;
}

Result<int> check_policy(const std::string& file) {
  PN_TRY(const std::string text, api::read_text_file(file));
  daemon::PolicyStore::Settings settings;
  settings.support = daemon::policy_support();
  PN_TRY(const daemon::PolicyStore none, daemon::PolicyStore::open(std::move(settings), 0));
  const api::PolicyReport report = none.check(text, file);
  fmt::print("{}\n", api::to_json(report));
  return report.valid() ? 0 : static_cast<int>(ErrorCode::kUsage);
}

Result<int> serve(const daemon::CommandLine& command_line) {
  PN_TRY(daemon::Settings settings, settings_of(command_line));
  if (::geteuid() != 0) {
    return Error{ErrorCode::kPrivilege, EPERM, "loading programs into the kernel needs root",
                 "run it as root (sudo penstockd …); penstock doctor tells which capabilities suffice"};
  }
  harden();
  catch_signals();
  PN_TRY(const auto running, daemon::Daemon::start(std::move(settings)));
  PN_CHECK(running->run(g_stop, g_reload));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Penstock's daemon: sees, accounts, holds, cuts and kills the traffic of AI agents on this host."};
  app.name("penstockd");
  // Said twice, the last one counts: wrappers append to what they were given.
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  daemon::CommandLine command_line;
  bool check = false, print = false, doctor = false;
  std::string policy_file;
  const auto text = [&app](const char* name, std::optional<std::string>& to, const char* type, const char* what) {
    app.add_option_function<std::string>(
           name, [&to](const std::string& value) { to = value; }, what)
        ->type_name(type)
        ->take_last();
  };
  app.add_option("--config", command_line.config_file,
                 "configuration file; default: PENSTOCK_CONFIG, else /etc/penstock/config.yaml where it exists")
      ->type_name("FILE");
  text("--state-dir", command_line.state_dir, "DIR", "where budgets, kill switches and applied policies are kept");
  text("--bpffs-dir", command_line.bpffs_dir, "DIR", "where programs and maps are pinned; on a bpffs");
  text("--socket", command_line.socket, "PATH", "unix socket of the control API");
  text("--listen", command_line.listen, "ADDR:PORT", "address of /metrics, /healthz and /readyz; empty: none");
  app.add_option_function<std::uint64_t>(
         "--ring-bytes", [&](const std::uint64_t& v) { command_line.ring_bytes = v; },
         "size of each event ring; a power of two")
      ->type_name("N");
  app.add_flag("--ephemeral", command_line.ephemeral,
               "keep nothing: state in memory, pins removed at the end; ends with its standard input and the last run");
  app.add_flag("--check-config", check, "check configuration, policies and prices, and end");
  app.add_flag("--print-config", print, "print the configuration in force, defaults included, and end");
  app.add_flag("--doctor", doctor, "print what works on this machine as JSON, and end");
  app.add_option("--check-policy", policy_file, "check a policy file, print a report as JSON, and end")
      ->type_name("FILE");
  app.set_version_flag("--version", std::string("penstockd ") + daemon::kVersion);
  app.footer(
      "Signals: SIGHUP reloads configuration, policies and prices (all or nothing); SIGTERM ends it; enforcement "
      "stays.\n"
      "Exit codes: 0 done · 1 failure · 2 bad arguments, configuration or policy · 3 not permitted · 4 not supported\n"
      "here · 5 the socket, port or state is in use");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& e) {
    return app.exit(e);
  } catch (const CLI::CallForVersion& e) {
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    return fail(Error{ErrorCode::kUsage, 0, e.what(), "penstockd --help"});
  }
  if (command_line.config_file.empty()) command_line.config_file = default_config_file();
  if (command_line.ephemeral) make_ephemeral(command_line);
  Result<int> code = 0;
  if (check) {
    code = check_config(command_line);
  } else if (print) {
    auto settings = settings_of(command_line);
    if (!settings) return fail(settings.error());
    fmt::print("{}", api::write_yaml(settings->config, false));
  } else if (doctor) {
    const auto settings = settings_of(command_line);
    if (!settings) return fail(settings.error());
    fmt::print("{}\n", api::to_json(daemon::examine(settings->config.bpffs_dir(), settings->config.state_dir())));
  } else if (!policy_file.empty()) {
    code = check_policy(policy_file);
  } else {
    code = serve(command_line);
  }
  if (!code) return fail(code.error());
  return *code;
}
