// The frame of the command line: what every subcommand gets and gives back. One thread.
//
// A subcommand is one file with one function add_<name>(CLI::App&, Context&): it declares its options and, when parsed,
// puts what is to be done into Context::run. Output goes to stdout, everything about the work to stderr.
#pragma once

#include <google/protobuf/message.h>
#include <CLI/CLI.hpp>

#include <functional>
#include <string>
#include <vector>

#include "userspace/api/client.h"
#include "userspace/base/result.h"

namespace penstock::cli {

enum class Format { kTable, kJson, kJsonl, kYaml };

struct Context {
  std::string socket;            // PENSTOCK_SOCKET, --socket
  std::string format = "table";  // -o
  std::function<base::Result<int>()> run;

  Format output() const {
    return format == "json"    ? Format::kJson
           : format == "jsonl" ? Format::kJsonl
           : format == "yaml"  ? Format::kYaml
                               : Format::kTable;
  }
};

// Parses, runs, prints errors; returns the exit code. `more` adds the subcommands that need more than this layer has.
int main_with(std::vector<std::string> args, std::string_view version, void (*more)(CLI::App&, Context&) = nullptr);
void build(CLI::App& app, Context& context);

// Declares a subcommand: `examples` is printed below the options.
CLI::App* command(CLI::App& parent, const std::string& name, const std::string& what, const std::string& examples);
void socket_option(CLI::App& app, Context& context);
void output_option(CLI::App& app, Context& context);

// Prints "penstock: what" and "hint: …" to stderr.
void print_error(const base::Error& error);
void print_note(std::string_view text);

// json: the message, pretty; jsonl: `rows` one per line, or the message on one line when `rows` is empty.
void print_message(const Context& context, const google::protobuf::Message& message, const char* rows = nullptr);
// stdout, whole; a closed pipe ends the process quietly.
void write_out(std::string_view text);

// One per file.
void add_run(CLI::App&, Context&);
void add_status(CLI::App&, Context&);
void add_doctor(CLI::App&, Context&);
void add_observe(CLI::App&, Context&);
void add_top(CLI::App&, Context&);
void add_agents(CLI::App&, Context&);
void add_budget(CLI::App&, Context&);
void add_kill(CLI::App&, Context&);
void add_release(CLI::App&, Context&);
void add_held(CLI::App&, Context&);
void add_policy(CLI::App&, Context&);
void add_graph(CLI::App&, Context&);
void add_coverage(CLI::App&, Context&);
void add_prices(CLI::App&, Context&);
void add_completion(CLI::App&, Context&);

}  // namespace penstock::cli
