#include "userspace/identity/program.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <optional>

namespace penstock::identity {
namespace {

using namespace std::string_view_literals;
using Arguments = std::span<const std::string>;

std::string_view basename(std::string_view path) { return path.substr(path.rfind('/') + 1); }

bool one_of(std::string_view s, std::initializer_list<std::string_view> list) {
  return std::find(list.begin(), list.end(), s) != list.end();
}

std::string clean(std::string_view s) {
  std::string out(s.substr(0, kMaxNameBytes));
  // Never half a UTF-8 sequence at the cut.
  if (s.size() > kMaxNameBytes)
    while (!out.empty() && (static_cast<unsigned char>(s[out.size()]) & 0xc0) == 0x80) out.pop_back();
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return out;
}

bool looks_like_version(std::string_view s) {
  return !s.empty() && s[0] >= '0' && s[0] <= '9' && s.find_first_not_of("0123456789.-_") == std::string_view::npos;
}

// "python3.11" and "python3.11-intel64" are "python3", "node-20" is "node", "claude.exe" is "claude".
std::string program_name(std::string_view exe, Arguments argv) {
  std::string_view name = basename(exe);
  if (name.empty() && !argv.empty()) name = basename(argv[0]);
  if (name.ends_with(".exe")) name.remove_suffix(4);
  // Self-updating programs install one file per version: ~/.local/share/claude/versions/2.1.330
  if (looks_like_version(name) && !argv.empty()) name = basename(argv[0]);
  if (name.starts_with('-')) name.remove_prefix(1);  // a login shell
  for (const std::string_view family : {"python3"sv, "python2"sv, "pypy3"sv, "ruby"sv, "perl"sv, "php"sv, "lua"sv})
    if (name.starts_with(family) &&
        name.substr(family.size()).find_first_not_of("0123456789.-") == std::string_view::npos)
      return std::string(family);
  if (name == "nodejs") return "node";
  return std::string(name);
}

// Scripts with names that say nothing get their folder in front.
bool says_nothing(std::string_view file) {
  const std::string_view stem = file.substr(0, file.rfind('.'));
  return one_of(
      stem, {"main", "index", "app", "__main__", "run", "server", "cli", "agent", "start", "mod", "worker", "manage"});
}

// The package a file belongs to: …/node_modules/@scope/pkg/dist/cli.js is "@scope/pkg".
std::optional<std::string> package_of(std::string_view path) {
  constexpr auto kFolder = "/node_modules/"sv;
  const std::size_t at = path.rfind(kFolder);
  if (at == std::string_view::npos) return std::nullopt;
  std::string_view rest = path.substr(at + kFolder.size());
  if (rest.starts_with(".bin/")) return std::string(rest.substr(5));
  std::size_t end = rest.find('/');
  if (rest.starts_with('@') && end != std::string_view::npos) end = rest.find('/', end + 1);
  if (end == std::string_view::npos) return std::nullopt;
  return std::string(rest.substr(0, end));
}

std::string script_name(std::string_view path) {
  if (auto package = package_of(path)) return *package;
  if (path.starts_with('@')) return std::string(path);  // a scoped package
  if (path.starts_with("file://")) path.remove_prefix(7);
  while (path.ends_with('/')) path.remove_suffix(1);
  const std::string_view file = basename(path);
  const std::string_view folder = path.substr(0, path.size() - file.size());
  if (!says_nothing(file) || folder.size() <= 1) return std::string(file);
  const std::string_view parent = basename(folder.substr(0, folder.size() - 1));
  if (parent.empty() || parent == "." || parent == "..") return std::string(file);
  return std::string(parent) + "/" + std::string(file);
}

struct Rules {
  std::initializer_list<std::string_view> with_value;  // options that take the next argument
  std::initializer_list<std::string_view> code;        // options whose value is the program itself
  std::initializer_list<std::string_view> module;      // options whose value names the program
};

// The first argument that is no option, as a script; "-c" and the like for code given on the command line.
std::string script_argument(Arguments arguments, const Rules& rules) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string_view a = arguments[i];
    if (one_of(a, rules.code)) return std::string(a);
    if (one_of(a, rules.module)) return i + 1 < arguments.size() ? script_name(arguments[i + 1]) : std::string();
    if (one_of(a, rules.with_value)) {
      ++i;
      continue;
    }
    if (a == "--") return i + 1 < arguments.size() ? script_name(arguments[i + 1]) : std::string();
    if (a == "-" || !a.starts_with('-')) return script_name(a);
  }
  return {};
}

constexpr auto kPythonValues = {"-W"sv, "-X"sv, "--check-hash-based-pycs"sv};
constexpr auto kNodeValues = {"-r"sv, "--require"sv,    "--import"sv,  "--loader"sv, "--experimental-loader"sv,
                              "-C"sv, "--conditions"sv, "--env-file"sv};
constexpr auto kDenoValues = {"-c"sv, "--config"sv,    "--import-map"sv, "--env-file"sv,
                              "-L"sv, "--log-level"sv, "--cert"sv,       "--location"sv};
constexpr auto kBunValues = {"-r"sv, "--preload"sv, "--cwd"sv,    "--env-file"sv,
                             "-c"sv, "--config"sv,  "--filter"sv, "-F"sv};
constexpr auto kJavaValues = {"-cp"sv,           "-classpath"sv,    "--class-path"sv, "-p"sv,
                              "--module-path"sv, "--add-modules"sv, "--add-opens"sv,  "--add-exports"sv};
constexpr auto kUvValues = {"--with"sv,  "--python"sv, "-p"sv,     "--project"sv,   "--directory"sv, "--env-file"sv,
                            "--extra"sv, "--group"sv,  "--from"sv, "--index-url"sv, "-i"sv};

// After a launcher's subcommand: `uv run x.py`, `npm exec pkg`, `deno run x.ts`, `bun x pkg`.
Arguments after_subcommand(Arguments arguments, std::initializer_list<std::string_view> subcommands) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i].starts_with('-')) continue;
    return one_of(arguments[i], subcommands) ? arguments.subspan(i + 1) : arguments;
  }
  return arguments;
}

std::string without_version(std::string package) {
  const std::size_t at = package.rfind('@');
  if (at != std::string::npos && at != 0) package.resize(at);
  return package;
}

Program node(std::string_view name, Arguments arguments) {
  std::string script = script_argument(arguments, {kNodeValues, {"-e", "--eval", "-p", "--print", "-pe"}, {}});
  // npx and npm exec are node programs themselves; the package they run is what matters.
  if (script == "npm" || script == "npx" || script == "npx-cli.js" || script == "npm-cli.js") {
    std::size_t i = 0;
    while (i < arguments.size() && arguments[i].starts_with('-')) ++i;
    const bool npx = i < arguments.size() && arguments[i].find("npx") != std::string::npos;
    Arguments rest = arguments.subspan(std::min(i + 1, arguments.size()));
    if (!npx) rest = after_subcommand(rest, {"exec", "x", "run", "start"});
    return {npx ? "npx" : "npm",
            without_version(script_argument(rest, {{"-p", "--package", "-w", "--workspace"}, {"-c", "--call"}, {}}))};
  }
  return {std::string(name), std::move(script)};
}

}  // namespace

Program describe_program(std::string_view exe, std::span<const std::string> argv) {
  Program out;
  out.name = program_name(exe, argv);
  const Arguments arguments = argv.empty() ? argv : argv.subspan(1);
  const std::string& n = out.name;
  if (argv.size() == 1 && argv[0].find(' ') != std::string::npos) {
    // The process rewrote its title; npm says what it runs ("npm exec @scope/pkg"), others say anything.
    constexpr auto kNpmExec = "npm exec "sv;
    if (n == "node" && argv[0].starts_with(kNpmExec))
      out = {"npx", without_version(script_name(std::string_view(argv[0]).substr(
                        kNpmExec.size(), argv[0].find(' ', kNpmExec.size()) - kNpmExec.size())))};
  } else if (n == "python3" || n == "python2" || n == "python" || n == "pypy3") {
    out.script = script_argument(arguments, {kPythonValues, {"-c"}, {"-m"}});
  } else if (n == "node") {
    out = node(n, arguments);
  } else if (n == "deno") {
    out.script = without_version(script_argument(
        after_subcommand(arguments, {"run", "serve", "task", "x", "test", "bench"}), {kDenoValues, {"eval"}, {}}));
  } else if (n == "bun" || n == "bunx") {
    out.script = without_version(
        script_argument(after_subcommand(arguments, {"run", "x", "test"}), {kBunValues, {"-e", "--eval", "-p"}, {}}));
  } else if (n == "uv" || n == "uvx") {
    out.script = without_version(
        script_argument(after_subcommand(n == "uv" ? after_subcommand(arguments, {"tool"}) : arguments, {"run"}),
                        {kUvValues, {"-c"}, {"-m", "--module"}}));
  } else if (n == "java") {
    out.script = script_argument(arguments, {kJavaValues, {}, {"-jar", "-m", "--module"}});
  } else if (n == "ruby" || n == "perl" || n == "php" || n == "lua") {
    out.script = script_argument(arguments, {{"-I", "-r", "-d", "-l"}, {"-e", "-E"}, {"-f"}});
  } else if (one_of(n, {"sh", "bash", "dash", "zsh", "fish", "ksh", "busybox"})) {
    out.script = script_argument(
        arguments, {{"-o", "-O", "--rcfile", "--init-file"}, {"-c", "-lc", "-ic", "-ec", "-xc", "-euc", "-exc"}, {}});
  }
  // Code on the command line has no name of its own.
  if (out.script.starts_with('-')) out.script.clear();
  out.name = clean(out.name);
  out.script = clean(out.script);
  return out;
}

std::string to_string(const Program& p) { return p.script.empty() ? p.name : p.name + ":" + p.script; }

bool is_interactive_shell(std::string_view exe, std::span<const std::string> argv) {
  const std::string name = program_name(exe, argv);
  if (!one_of(name, {"sh", "bash", "dash", "zsh", "fish", "ksh", "nu", "pwsh", "tcsh", "csh"})) return false;
  const Arguments arguments = argv.empty() ? argv : argv.subspan(1);
  return std::all_of(arguments.begin(), arguments.end(), [](const std::string& a) {
    return a.starts_with('-') && (a.starts_with("--") || a.find('c') == std::string::npos);
  });
}

bool is_session_boundary(std::string_view exe, std::string_view comm) {
  std::string_view name = basename(exe);
  if (name.empty()) name = comm;
  if (name.starts_with("containerd-shim") || name.starts_with("conmon") || name.starts_with("sshd") ||
      name.starts_with("gnome-terminal"))
    return true;
  return one_of(name, {"systemd",
                       "init",
                       "login",
                       "su",
                       "sudo",
                       "doas",
                       "runuser",
                       "cron",
                       "crond",
                       "atd",
                       "anacron",
                       "tmux",
                       "tmux: server",
                       "screen",
                       "SCREEN",
                       "konsole",
                       "xterm",
                       "alacritty",
                       "kitty",
                       "wezterm-gui",
                       "xfce4-terminal",
                       "runc",
                       "crun",
                       "docker-init",
                       "dockerd",
                       "containerd",
                       "tini",
                       "dumb-init",
                       "catatonit",
                       "supervisord",
                       "s6-svscan",
                       "runsv",
                       "openrc",
                       "code",
                       "cursor",
                       "agetty",
                       "gdm-session-worker",
                       "kubelet",
                       "crio",
                       "podman",
                       "penstockd",
                       "penstock"});
}

}  // namespace penstock::identity
