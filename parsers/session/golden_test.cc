// Runs the golden files of all providers and protocols: Markdown that shows a request, its answer, and what the session
// reports. Each is fed byte by byte (that log, with positions, is the golden one), then whole, and split at every byte:
// the outcome must be the same. PENSTOCK_GOLDEN_UPDATE=1 writes the logs anew.
//
//   ```request     start line without version, fields, empty line, body      (content-length is added)
//   ```response    status, fields, empty line, body                          (chunked, one chunk per event, if
//   announced)
//   ```log         c=N, s=N: after how many bytes from client and server
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "parsers/session/session.h"
#include "userspace/model/names.h"

namespace penstock::parsers::session {
namespace {

namespace fs = std::filesystem;

struct Golden {
  std::string to_server;
  std::string to_client;
  std::string log;
  std::string text;        // the file
  std::size_t log_at = 0;  // where the log is in it
};

// Head lines to CRLF, the body as it is.
std::string message(std::string_view block, bool request) {
  const std::size_t blank = block.find("\n\n");
  std::string head(block.substr(0, blank));
  std::string body(blank == std::string_view::npos ? std::string_view{} : block.substr(blank + 2));
  const std::size_t first = head.find('\n');
  std::string start = head.substr(0, first);
  start = request ? start + " HTTP/1.1" : "HTTP/1.1 " + start + " -";
  std::string fields;
  std::istringstream lines(first == std::string::npos ? std::string() : head.substr(first + 1));
  bool chunked = false;
  for (std::string line; std::getline(lines, line);) {
    fields += line + "\r\n";
    chunked = chunked || line == "transfer-encoding: chunked";
  }
  if (!chunked) {
    if (!body.empty() && body.back() == '\n') body.pop_back();
    return fmt::format("{}\r\n{}content-length: {}\r\n\r\n{}", start, fields, body.size(), body);
  }
  std::string chunks;
  for (std::size_t at = 0; at < body.size();) {
    std::size_t end = body.find("\n\n", at);
    end = end == std::string::npos ? body.size() : end + 2;
    chunks += fmt::format("{:x}\r\n{}\r\n", end - at, body.substr(at, end - at));
    at = end;
  }
  return fmt::format("{}\r\n{}\r\n{}0\r\n\r\n", start, fields, chunks);
}

Golden read(const fs::path& path) {
  std::ifstream file(path);
  Golden golden;
  golden.text = std::string(std::istreambuf_iterator<char>(file), {});
  for (std::size_t at = 0; (at = golden.text.find("```", at)) != std::string::npos;) {
    const std::size_t line_end = golden.text.find('\n', at);
    const std::size_t end = golden.text.find("\n```", line_end);
    if (line_end == std::string::npos || end == std::string::npos) break;
    const std::string kind = golden.text.substr(at + 3, line_end - at - 3);
    const std::string block = golden.text.substr(line_end + 1, end > line_end ? end - line_end : 0);
    if (kind == "request") golden.to_server += message(block, true);
    if (kind == "response") golden.to_client += message(block, false);
    if (kind == "log") {
      golden.log = block;
      golden.log_at = line_end + 1;
    }
    at = end + 4;
  }
  return golden;
}

class Recorder final : public ExchangeSink {
 public:
  explicit Recorder(bool positions) : positions_(positions) {}

  std::size_t client = 0, server = 0;
  std::string log;

  void on_request_head(model::Exchange& exchange) override {
    line("head", fmt::format("{} {}", exchange.method, exchange.path));
  }
  void on_request(model::Exchange& exchange, std::uint64_t end_pos) override {
    const model::RequestFacts& facts = exchange.request;
    std::string text = fmt::format("end={} {}", end_pos, what(exchange));
    if (!exchange.request_model.empty()) text += " model=" + exchange.request_model;
    text += fmt::format(" text={}", facts.text_bytes);
    if (facts.media_parts != 0) text += fmt::format(" media={}/{}", facts.media_parts, facts.media_bytes);
    if (facts.max_output_tokens) text += fmt::format(" max={}", *facts.max_output_tokens);
    if (facts.choices) text += fmt::format(" n={}", *facts.choices);
    for (const std::string& tool : facts.offered_tools) text += " offers=" + tool;
    for (const model::CallId& id : facts.tool_results) text += " answers=" + id_text(id);
    line("request", text);
  }
  void on_progress(model::Exchange& exchange) override {
    if (positions_) line("progress", fmt::format("text={}{}", exchange.output_text_bytes, usage(exchange.usage)));
  }
  void on_complete(model::Exchange& exchange) override {
    std::string text = fmt::format("{} status={}", what(exchange), exchange.status);
    if (!exchange.response_model.empty()) text += " model=" + exchange.response_model;
    text += fmt::format("{} usage={}", usage(exchange.usage), model::name(exchange.usage_status));
    if (exchange.finish_reason) text += " finish=" + *exchange.finish_reason;
    for (const model::ToolCall& call : exchange.tool_calls)
      text += fmt::format(" call={}/{}", call.name, id_text(call.id));
    for (const model::Iteration& pass : exchange.iterations)
      text += fmt::format(" pass[{}{}]", pass.model, usage(pass.usage));
    if (exchange.stream) text += " stream";
    if (exchange.error)
      text += fmt::format(" error={}{}{}", exchange.error->status, exchange.error->in_stream ? "/in-stream/" : "/",
                          exchange.error->type);
    text += fmt::format(" text={}", exchange.output_text_bytes);
    line("complete", text);
  }

 private:
  static std::string id_text(const model::CallId& id) {
    if (const auto* text = std::get_if<std::string>(&id)) return *text;
    if (const auto* number = std::get_if<std::int64_t>(&id)) return fmt::to_string(*number);
    return "-";
  }
  static std::string what(const model::Exchange& exchange) {
    std::string text(model::name(exchange.kind));
    if (!exchange.provider.empty()) text += " " + exchange.provider;
    if (!exchange.operation.empty()) text += " " + exchange.operation;
    return text;
  }
  static std::string usage(const model::Usage& usage) {
    std::string text;
    const auto add = [&text](std::string_view name, const std::optional<std::uint64_t>& value) {
      if (value) text += fmt::format(" {}={}", name, *value);
    };
    add("in", usage.input_tokens);
    add("out", usage.output_tokens);
    add("cache_read", usage.cache_read_tokens);
    add("cache_write", usage.cache_write_tokens);
    add("cache_write_1h", usage.cache_write_1h_tokens);
    add("reasoning", usage.reasoning_tokens);
    add("audio_in", usage.audio_input_tokens);
    add("audio_out", usage.audio_output_tokens);
    add("total", usage.reported_total_tokens);
    add("searches", usage.web_search_requests);
    return text;
  }
  void line(std::string_view event, std::string_view text) {
    if (positions_) log += fmt::format("c={:<5} s={:<5} ", client, server);
    log += fmt::format("{:<8} {}\n", event, text);
  }

  bool positions_;
};

// Feeds both directions, the client's first, cut at the given positions.
std::string run(const Golden& golden, bool positions, std::vector<std::size_t> client_cuts,
                std::vector<std::size_t> server_cuts) {
  Recorder recorder(positions);
  const Endpoint endpoint{.host = "", .port = 443, .address = "203.0.113.7", .provider = ""};
  const auto parser = make_connection_parser(endpoint, false, recorder);
  std::uint64_t now_ns = 0;
  const auto feed = [&](Direction direction, const std::string& stream, std::vector<std::size_t>& cuts,
                        std::size_t& position) {
    cuts.push_back(stream.size());
    std::size_t at = 0;
    for (const std::size_t cut : cuts) {
      position = cut;
      parser->feed(direction, at, {reinterpret_cast<const std::uint8_t*>(stream.data()) + at, cut - at}, ++now_ns);
      at = cut;
    }
  };
  feed(Direction::kToServer, golden.to_server, client_cuts, recorder.client);
  feed(Direction::kToClient, golden.to_client, server_cuts, recorder.server);
  parser->close(++now_ns);
  return recorder.log;
}

std::vector<std::size_t> every_byte(std::size_t size) {
  std::vector<std::size_t> cuts;
  for (std::size_t i = 1; i < size; ++i) cuts.push_back(i);
  return cuts;
}

std::vector<fs::path> golden_files() {
  std::vector<fs::path> files;
  for (const char* root : {"parsers/providers", "parsers/protocols", "parsers/session"})
    for (const auto& entry : fs::recursive_directory_iterator(fs::path(PENSTOCK_SOURCE_DIR) / root))
      if (entry.path().extension() == ".md" && entry.path().parent_path().filename() == "golden")
        files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

std::string name_of(const fs::path& path) {
  std::string name = path.parent_path().parent_path().filename().string() + "_" + path.stem().string();
  std::replace_if(
      name.begin(), name.end(), [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
  return name;
}

class GoldenTest : public testing::TestWithParam<fs::path> {};

TEST_P(GoldenTest, SameHoweverItArrives) {
  Golden golden = read(GetParam());
  ASSERT_FALSE(golden.to_server.empty()) << "no ```request block";
  const std::string log = run(golden, true, every_byte(golden.to_server.size()), every_byte(golden.to_client.size()));
  if (std::getenv("PENSTOCK_GOLDEN_UPDATE") != nullptr && golden.log_at != 0) {
    golden.text.replace(golden.log_at, golden.log.size(), log);
    std::ofstream(GetParam()) << golden.text;
  } else {
    EXPECT_EQ(golden.log, log);
  }
  const std::string whole = run(golden, false, {}, {});
  EXPECT_EQ(whole, run(golden, false, every_byte(golden.to_server.size()), every_byte(golden.to_client.size())));
  for (std::size_t cut = 1; cut < golden.to_server.size(); ++cut)
    ASSERT_EQ(whole, run(golden, false, {cut}, {})) << "request cut at " << cut;
  for (std::size_t cut = 1; cut < golden.to_client.size(); ++cut)
    ASSERT_EQ(whole, run(golden, false, {}, {cut})) << "answer cut at " << cut;
}

INSTANTIATE_TEST_SUITE_P(Files, GoldenTest, testing::ValuesIn(golden_files()),
                         [](const auto& file) { return name_of(file.param); });

}  // namespace
}  // namespace penstock::parsers::session
