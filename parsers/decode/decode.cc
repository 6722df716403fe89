#include "parsers/decode/decode.h"

#include <fmt/format.h>

#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <string>

#include "parsers/decode/har.h"
#include "parsers/decode/line.h"
#include "parsers/decode/pncap.h"
#include "parsers/session/session.h"
#include "parsers/session/usage_once.h"
#include "userspace/base/result.h"
#include "userspace/model/names.h"

namespace penstock::parsers::decode {
namespace {

struct Options {
  std::string file;
  std::string output = "table";
  std::string record;
  bool summary = false;
};

// What it came to, by model. An answer that was looked at twice counts once.
class Summary {
 public:
  explicit Summary(const Price& price) : price_(price) {}

  void add(model::Exchange exchange) {
    once_.apply(exchange);
    const std::string& model = exchange.response_model.empty() ? exchange.request_model : exchange.response_model;
    const std::string name = exchange.kind == model::Kind::kLlm
                                 ? exchange.provider + " " + (model.empty() ? "-" : model)
                                 : std::string(model::name(exchange.kind)) + " " + exchange.operation;
    for (Row* row : {&rows_[name], &total_}) {
      ++row->calls;
      row->input += exchange.usage.input_tokens.value_or(0);
      row->cached += exchange.usage.cache_read_tokens.value_or(0);
      row->output += exchange.usage.output_tokens.value_or(0);
      if (exchange.kind != model::Kind::kLlm) continue;
      const bool counted = exchange.usage.input_tokens || exchange.usage.output_tokens;
      const auto cost = price_ && counted ? price_(exchange) : std::nullopt;
      if (cost) {
        row->cost = row->cost.value_or(model::NanoUsd{}) + *cost;
      } else if (counted) {
        ++row->unpriced;
      } else {
        ++row->unknown;
      }
    }
  }

  void print() const {
    fmt::print("\n{:<52} {:>7} {:>11} {:>11} {:>11} {:>14}\n", "SUMMARY", "CALLS", "INPUT", "CACHED", "OUTPUT", "USD");
    for (const auto& [name, row] : rows_) line(name, row);
    line("total", total_);
    if (total_.unpriced != 0) fmt::print("{} calls are not in the price list\n", total_.unpriced);
    if (total_.unknown != 0) fmt::print("{} calls reported no usage\n", total_.unknown);
  }

 private:
  struct Row {
    std::uint64_t calls = 0, input = 0, cached = 0, output = 0, unpriced = 0, unknown = 0;
    std::optional<model::NanoUsd> cost;
  };
  static void line(std::string_view name, const Row& row) {
    fmt::print("{:<52} {:>7} {:>11} {:>11} {:>11} {:>14}\n", name, row.calls, row.input, row.cached, row.output,
               row.cost ? model::format_usd(*row.cost) : "-");
  }

  const Price& price_;
  session::UsageOnce once_;
  std::map<std::string, Row> rows_;
  Row total_;
};

class Printer final : public ExchangeSink {
 public:
  Printer(const Options& options, const Price& price) : options_(options), summary_(price) {}
  void conversation(std::string id) { id_ = std::move(id); }
  void on_request_head(model::Exchange&) override {}
  void on_request(model::Exchange&, std::uint64_t) override {}
  void on_progress(model::Exchange&) override {}

  void on_complete(model::Exchange& exchange) override {
    if (exchange.kind == model::Kind::kHttp) return;
    ++exchanges_;
    if (options_.summary) summary_.add(exchange);
    if (options_.output == "jsonl") {
      fmt::print("{}\n", exchange_line(id_, exchange));
      return;
    }
    if (exchanges_ == 1)
      fmt::print("{:<5} {:<18} {:<18} {:<32} {:>9} {:>9} {:<10} {}\n", "KIND", "PROVIDER", "OPERATION", "MODEL",
                 "INPUT", "OUTPUT", "USAGE", "FINISH");
    const auto count = [](const std::optional<std::uint64_t>& value) {
      return value ? fmt::to_string(*value) : std::string("-");
    };
    const std::string& model = exchange.response_model.empty() ? exchange.request_model : exchange.response_model;
    fmt::print("{:<5} {:<18} {:<18} {:<32} {:>9} {:>9} {:<10} {}\n", model::name(exchange.kind), exchange.provider,
               exchange.operation, model, count(exchange.usage.input_tokens), count(exchange.usage.output_tokens),
               model::name(exchange.usage_status),
               exchange.error ? "error " + exchange.error->type : exchange.finish_reason.value_or("-"));
  }

  void finish() const {
    if (options_.summary && exchanges_ != 0) summary_.print();
  }

 private:
  const Options& options_;
  Summary summary_;
  std::string id_;
  std::size_t exchanges_ = 0;
};

base::Result<std::string> read_all(const std::string& file) {
  std::ifstream input;
  if (file != "-") {
    input.open(file, std::ios::binary);
    if (!input) return base::errno_error(errno, file);
  }
  std::istream& source = file == "-" ? std::cin : input;
  return std::string(std::istreambuf_iterator<char>(source), {});
}

base::Result<> write_all(const std::string& file, const std::string& content) {
  std::ofstream output(file, std::ios::binary);
  output.write(content.data(), static_cast<std::streamsize>(content.size()));
  if (!output.flush()) return base::errno_error(errno, file);
  return {};
}

base::Result<> decode(const Options& options, const Price& price) {
  PN_TRY(const std::string text, read_all(options.file));
  Printer printer(options, price);
  PncapWriter capture;
  std::uint64_t connections = 0;
  base::Result<> result;
  if (is_pncap(text)) {
    if (!options.record.empty())
      return base::Error{base::ErrorCode::kUsage, 0, "--record reads an HTTP archive", "a capture is one already"};
    result = replay_pncap(text, session::make_connection_parser, printer);
  } else {
    result = read_har(text, [&](const HarEntry& entry) {
      printer.conversation(entry.id);
      const Conversation conversation = as_http1(entry);
      if (!options.record.empty()) capture.add(++connections, conversation);
      replay(conversation, *session::make_connection_parser(entry.endpoint, false, printer));
    });
  }
  printer.finish();
  if (result && !options.record.empty()) return write_all(options.record, capture.file());
  return result;
}

}  // namespace

void add_decode(CLI::App& app, int& exit_code, Price price) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "decode",
      "Reads recorded traffic and prints the AI exchanges in it: models, tokens, tool calls, errors.\n"
      "FILE is an HTTP archive (.har), as browsers, proxies and test recorders write it, or a capture (.pncap);\n"
      "- reads standard input. On a terminal a summary follows: tokens and money by model.\n"
      "Nothing is sent, no daemon is needed.");
  command->add_option("FILE", options->file, "the recording")->required();
  command->add_option("-o,--output", options->output, "table, or jsonl: one exchange per line")
      ->check(CLI::IsMember({"table", "jsonl"}));
  command->add_flag("--summary", options->summary, "the summary also when the output is no terminal");
  command->add_option("--record", options->record, "write the traffic of an HTTP archive as a capture to this file");
  command->callback([options, &exit_code, price = std::move(price)] {
    options->summary = options->summary || (options->output == "table" && isatty(STDOUT_FILENO) == 1);
    if (auto result = decode(*options, price); !result) {
      fmt::print(stderr, "penstock: decode {}: {}\n", options->file, result.error().message());
      if (!result.error().hint.empty()) fmt::print(stderr, "hint: {}\n", result.error().hint);
      exit_code = static_cast<int>(result.error().code);
    }
  });
}

}  // namespace penstock::parsers::decode
