#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>
#include <string>

#include "parsers/decode/decode.h"
#include "parsers/protocols/registry.h"
#include "parsers/providers/registry.h"
#include "userspace/api/message_json.h"

namespace penstock::parsers::decode {
namespace {

std::string json_array(std::span<const std::string_view> texts) {
  std::string out = "[";
  for (std::string_view text : texts) {
    if (out.size() > 1) out += ',';
    api::append_json_string(out, text);
  }
  return out + "]";
}

// The page of the documentation: it is printed and not kept, so that a new folder changes no file.
void print_page() {
  fmt::print(
      "# Providers and agent protocols\n\nWhat this build understands, and by what it is recognised.\n\n| name | kind "
      "| hosts | port |\n|---|---|---|---|\n");
  for (const Provider* provider : providers::registry())
    fmt::print("| `{}` | llm | {} | {} |\n", provider->name,
               provider->hosts.empty() ? "known by shape" : fmt::format("`{}`", fmt::join(provider->hosts, "` `")),
               provider->port == 0 ? "" : fmt::to_string(provider->port));
  for (const AgentProtocol* protocol : protocols::registry())
    fmt::print("| `{}` | protocol | known by shape | |\n", protocol->name);
}

void print_providers(const std::string& output) {
  if (output == "markdown") {
    print_page();
    return;
  }
  if (output == "table") fmt::print("{:<22} {:<9} {}\n", "PROVIDER", "KIND", "HOSTS");
  for (const Provider* provider : providers::registry()) {
    if (output == "jsonl") {
      fmt::print("{{\"name\":\"{}\",\"kind\":\"llm\",\"hosts\":{},\"port\":{}}}\n", provider->name,
                 json_array(provider->hosts), provider->port == 0 ? "null" : fmt::to_string(provider->port));
      continue;
    }
    std::string where = fmt::format("{}", fmt::join(provider->hosts, " "));
    if (provider->port != 0) where += fmt::format("{}port {}", where.empty() ? "" : " ", provider->port);
    fmt::print("{:<22} {:<9} {}\n", provider->name, "llm", where.empty() ? "known by shape" : where);
  }
  for (const AgentProtocol* protocol : protocols::registry()) {
    if (output == "jsonl") {
      fmt::print("{{\"name\":\"{}\",\"kind\":\"{}\",\"hosts\":[],\"port\":null}}\n", protocol->name, protocol->name);
    } else {
      fmt::print("{:<22} {:<9} {}\n", protocol->name, "protocol", "known by shape");
    }
  }
}

}  // namespace

void add_providers(CLI::App& app, int&) {
  auto output = std::make_shared<std::string>("table");
  CLI::App* command = app.add_subcommand(
      "providers", "Lists the providers and agent protocols that are understood, and how each is recognised.");
  command->add_option("-o,--output", *output, "table, jsonl, or markdown: a page of documentation")
      ->check(CLI::IsMember({"table", "jsonl", "markdown"}));
  command->callback([output] { print_providers(*output); });
}

}  // namespace penstock::parsers::decode
