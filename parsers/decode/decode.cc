#include "parsers/decode/decode.h"

#include <fmt/format.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>

#include "parsers/decode/har.h"
#include "parsers/decode/line.h"
#include "parsers/session/session.h"
#include "userspace/base/result.h"
#include "userspace/model/names.h"

namespace penstock::parsers::decode {
namespace {

struct Options {
  std::string file;
  std::string output = "table";
};

class Printer final : public ExchangeSink {
 public:
  explicit Printer(const Options& options) : options_(options) {}
  void conversation(std::string id) { id_ = std::move(id); }
  void on_request_head(model::Exchange&) override {}
  void on_request(model::Exchange&, std::uint64_t) override {}
  void on_progress(model::Exchange&) override {}

  void on_complete(model::Exchange& exchange) override {
    if (exchange.kind == model::Kind::kHttp) return;
    ++exchanges_;
    if (options_.output == "jsonl") {
      fmt::print("{}\n", exchange_line(id_, exchange));
      return;
    }
    if (exchanges_ == 1)
      fmt::print("{:<5} {:<18} {:<18} {:<32} {:>9} {:>9} {:<10} {}\n", "KIND", "PROVIDER", "OPERATION", "MODEL", "INPUT", "OUTPUT",
                 "USAGE", "FINISH");
    const auto count = [](const std::optional<std::uint64_t>& value) { return value ? fmt::to_string(*value) : std::string("-"); };
    const std::string& model = exchange.response_model.empty() ? exchange.request_model : exchange.response_model;
    fmt::print("{:<5} {:<18} {:<18} {:<32} {:>9} {:>9} {:<10} {}\n", model::name(exchange.kind), exchange.provider, exchange.operation,
               model, count(exchange.usage.input_tokens), count(exchange.usage.output_tokens), model::name(exchange.usage_status),
               exchange.error ? "error " + exchange.error->type : exchange.finish_reason.value_or("-"));
  }

 private:
  const Options& options_;
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

base::Result<> decode(const Options& options) {
  PN_TRY(const std::string text, read_all(options.file));
  Printer printer(options);
  return read_har(text, [&](const HarEntry& entry) {
    printer.conversation(entry.id);
    replay(as_http1(entry), *session::make_connection_parser(entry.endpoint, false, printer));
  });
}

}  // namespace

void add_decode(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "decode", "Reads recorded traffic and prints the AI exchanges in it: models, tokens, tool calls, errors.\n"
                "FILE is an HTTP archive (.har), as browsers, proxies and test recorders write it; - reads standard input.\n"
                "Nothing is sent, no daemon is needed.");
  command->add_option("FILE", options->file, "the recording")->required();
  command->add_option("-o,--output", options->output, "table, or jsonl: one exchange per line")
      ->check(CLI::IsMember({"table", "jsonl"}));
  command->callback([options, &exit_code] {
    if (auto result = decode(*options); !result) {
      fmt::print(stderr, "penstock: decode {}: {}\n", options->file, result.error().message());
      if (!result.error().hint.empty()) fmt::print(stderr, "hint: {}\n", result.error().hint);
      exit_code = static_cast<int>(result.error().code);
    }
  });
}

}  // namespace penstock::parsers::decode
