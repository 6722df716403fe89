// penstock completion bash|zsh|fish: scripts generated from the commands and options themselves.
#include <fmt/format.h>

#include "cli/app.h"

namespace penstock::cli {
namespace {

struct Node {
  std::string path;                                                    // "", "budget", "budget list"
  std::vector<std::pair<std::string, std::string>> commands, options;  // word, what it does
};

void collect(const CLI::App& app, const std::string& path, std::vector<Node>& out) {
  Node node{path, {}, {}};
  std::vector<std::pair<const CLI::App*, std::string>> below;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    node.commands.emplace_back(sub->get_name(), sub->get_description());
    below.emplace_back(sub, path.empty() ? sub->get_name() : path + " " + sub->get_name());
  }
  for (const CLI::Option* option : app.get_options())
    for (const auto& name : option->get_lnames()) node.options.emplace_back("--" + name, option->get_description());
  out.push_back(std::move(node));
  for (const auto& [sub, name] : below) collect(*sub, name, out);
}

std::string words(const Node& node) {
  std::string out;
  for (const auto* list : {&node.commands, &node.options})
    for (const auto& [word, _] : *list) out += (out.empty() ? "" : " ") + word;
  return out;
}

// The path of subcommands typed so far selects the words offered; what follows `run … --` is another command's.
std::string bash(const std::vector<Node>& nodes) {
  std::string cases, commands;
  for (const Node& node : nodes) {
    cases += fmt::format("    '{}') words='{}' ;;\n", node.path, words(node));
    if (!node.path.empty()) commands += fmt::format(" '{}'", node.path);
  }
  return fmt::format(R"(# penstock completion bash > /etc/bash_completion.d/penstock
_penstock() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} path='' word known words='' i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${{COMP_WORDS[i]}}
    if [[ $word == -- && $path == run ]]; then
      COMPREPLY=($(compgen -A command -A file -- "$cur"))
      return
    fi
    for known in{}; do
      if [[ $known == "${{path:+$path }}$word" ]]; then path=$known; fi
    done
  done
  case $path in
{}  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  if [[ -z ${{COMPREPLY[*]}} && $cur != -* ]]; then COMPREPLY=($(compgen -f -- "$cur")); fi
}}
complete -F _penstock penstock
)",
                     commands, cases);
}

std::string shell_quote(std::string_view text) {
  std::string out = "'";
  for (const char c : text) c == '\'' ? out += "\\'" : out += c;
  return out + "'";
}

std::string fish(const std::vector<Node>& nodes) {
  std::string out = "# penstock completion fish > ~/.config/fish/completions/penstock.fish\n";
  for (const Node& node : nodes) {
    std::string when;
    for (std::size_t start = 0; start < node.path.size();) {
      const std::size_t end = std::min(node.path.find(' ', start), node.path.size());
      when += fmt::format("{}__fish_seen_subcommand_from {}", when.empty() ? "" : "; and ",
                          node.path.substr(start, end - start));
      start = end + 1;
    }
    if (when.empty()) when = "__fish_use_subcommand";
    for (const auto& [word, what] : node.commands)
      out += fmt::format("complete -c penstock -n {} -f -a {} -d {}\n", shell_quote(when), word, shell_quote(what));
    for (const auto& [word, what] : node.options)
      out +=
          fmt::format("complete -c penstock -n {} -l {} -d {}\n", shell_quote(when), word.substr(2), shell_quote(what));
  }
  return out;
}

}  // namespace

void add_completion(CLI::App& app, Context& context) {
  auto* sub = command(app, "completion", "a script that completes commands and options in your shell",
                      "  source <(penstock completion bash)\n"
                      "  penstock completion fish > ~/.config/fish/completions/penstock.fish");
  auto shell = std::make_shared<std::string>();
  sub->add_option("shell", *shell, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  sub->callback([&app, &context, shell] {
    context.run = [&app, shell]() -> base::Result<int> {
      std::vector<Node> nodes;
      collect(app, "", nodes);
      if (*shell == "fish")
        write_out(fish(nodes));
      else
        write_out((*shell == "zsh"
                       ? "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n"
                       : "") +
                  bash(nodes));
      return 0;
    };
  });
}

}  // namespace penstock::cli
