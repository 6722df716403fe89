#include "parsers/decode/har.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <vector>

#include "parsers/dialects/base64.h"
#include "parsers/wire/http/message.h"
#include "parsers/wire/json/digest.h"

namespace penstock::parsers::decode {
namespace {

namespace json = wire::json;

bool token(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

std::string on_one_line(std::string_view value) {
  std::string out(value);
  std::replace_if(
      out.begin(), out.end(), [](char c) { return c == '\r' || c == '\n' || c == '\0'; }, ' ');
  return out;
}

struct Url {
  std::string authority;
  std::string host;
  std::uint16_t port = 0;
  std::string target;
};

Url split_url(std::string_view url) {
  Url out;
  const std::size_t scheme_end = url.find("://");
  const std::string_view scheme = scheme_end == std::string_view::npos ? std::string_view{} : url.substr(0, scheme_end);
  if (scheme_end != std::string_view::npos) url.remove_prefix(scheme_end + 3);
  const std::size_t path = std::min(url.find_first_of("/?#"), url.size());
  out.authority = std::string(url.substr(0, path));
  if (const std::size_t at = out.authority.rfind('@'); at != std::string::npos) out.authority.erase(0, at + 1);
  std::string_view target = url.substr(path);
  target = target.substr(0, target.find('#'));
  if (target.empty() || target.front() != '/') out.target.push_back('/');
  // Recorders put placeholders with spaces and controls into URLs: they would end the request line.
  for (const char c : target) {
    if (static_cast<unsigned char>(c) <= ' ' || c == 0x7f) {
      out.target += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    } else {
      out.target += c;
    }
  }
  out.host = out.authority;
  out.port = scheme == "http" || scheme == "ws" ? 80 : 443;
  if (const std::size_t colon = out.host.rfind(':');
      colon != std::string::npos && out.host.find(']', colon) == std::string::npos) {
    const std::string digits = out.host.substr(colon + 1);
    std::from_chars(digits.data(), digits.data() + digits.size(), out.port);
    out.host.erase(colon);
  }
  for (char& c : out.host)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

// The header fields, without those that describe a framing that is not there any more.
std::vector<HarEntry::Field> fields_of(json::Value headers, bool request) {
  std::vector<HarEntry::Field> out;
  for (json::Value header : headers.items()) {
    const std::string_view name = header["name"].string_or("");
    if (!token(name)) continue;  // HTTP/2 pseudo fields, and nonsense
    bool drop = false;
    for (std::string_view framing : {"content-length", "transfer-encoding", "connection", "expect"})
      drop = drop || wire::http::equals_ignoring_case(name, framing);
    if (request && wire::http::equals_ignoring_case(name, "host")) drop = true;
    if (!drop) out.push_back({std::string(name), on_one_line(header["value"].string_or(""))});
  }
  return out;
}

bool has_field(const std::vector<HarEntry::Field>& fields, std::string_view name) {
  return std::any_of(fields.begin(), fields.end(), [name](const HarEntry::Field& field) {
    return wire::http::equals_ignoring_case(field.name, name);
  });
}

std::string text_of(json::Value text, json::Value encoding) {
  const std::string_view raw = text.string_or("");
  return encoding.string_or("") == "base64" ? dialects::base64_decode(raw) : std::string(raw);
}

// One unfragmented frame (RFC 6455 §5.2); the client's is masked, with a key of zeros.
std::string frame(bool client, std::uint8_t opcode, std::string_view payload) {
  std::string out;
  const auto byte = [&out](std::uint64_t value) { out.push_back(static_cast<char>(value & 0xff)); };
  byte(0x80u | opcode);
  const std::uint8_t mask = client ? 0x80 : 0;
  if (payload.size() < 126) {
    byte(mask | payload.size());
  } else if (payload.size() <= 0xffff) {
    byte(mask | 126u);
    byte(payload.size() >> 8);
    byte(payload.size());
  } else {
    byte(mask | 127u);
    for (int shift = 56; shift >= 0; shift -= 8) byte(static_cast<std::uint64_t>(payload.size()) >> shift);
  }
  if (client) out.append(4, '\0');
  out.append(payload);
  return out;
}

HarEntry read_entry(json::Value entry, std::size_t position) {
  HarEntry out;
  const json::Value request = entry["request"];
  const json::Value response = entry["response"];
  out.id = std::string(entry["_id"].string_or(""));
  if (out.id.empty()) out.id = std::to_string(position);
  const Url url = split_url(request["url"].string_or(""));
  out.endpoint.host = url.host;
  out.endpoint.port = url.port;
  out.method = std::string(request["method"].string_or("GET"));
  out.authority = url.authority;
  out.target = url.target;
  out.request_fields = fields_of(request["headers"], true);
  out.request_body = text_of(request["postData"]["text"], request["postData"]["_encoding"]);
  out.request_recorded = entry["_request_fidelity"].string_or("") != "synthesised";
  out.web_socket = entry["_webSocketMessages"].is_array();
  const std::uint64_t status = out.web_socket ? 101 : response["status"].as_uint().value_or(0);
  out.status = status >= 100 && status <= 999 ? static_cast<std::uint32_t>(status) : 0;
  out.response_fields = fields_of(response["headers"], false);
  out.content = text_of(response["content"]["text"], response["content"]["encoding"]);
  for (json::Value message : entry["_webSocketMessages"].items()) {
    const auto opcode = static_cast<std::uint8_t>(message["opcode"].as_uint().value_or(1) & 0xf);
    const std::string_view data = message["data"].string_or("");
    // As Chrome writes it: binary payloads are base64.
    out.messages.push_back({message["type"].string_or("") == "send", opcode,
                            opcode == 2 ? dialects::base64_decode(data) : std::string(data)});
  }
  return out;
}

std::string head_of(std::string start, const std::vector<HarEntry::Field>& fields, bool web_socket) {
  std::string head = std::move(start) + "\r\n";
  for (const HarEntry::Field& field : fields) head += fmt::format("{}: {}\r\n", field.name, field.value);
  if (web_socket && !has_field(fields, "upgrade")) head += "upgrade: websocket\r\n";
  if (web_socket) head += "connection: upgrade\r\n";
  return head;
}

}  // namespace

void Conversation::append(Direction direction, std::string_view bytes) {
  std::string& stream = direction == Direction::kToServer ? to_server : to_client;
  stream.append(bytes);
  steps.push_back({direction, stream.size()});
}

Conversation as_http1(const HarEntry& entry) {
  Conversation out;
  out.endpoint = entry.endpoint;
  std::string request = head_of(fmt::format("{} {} HTTP/1.1\r\nhost: {}", entry.method, entry.target, entry.authority),
                                entry.request_fields, entry.web_socket);
  if (!entry.request_body.empty()) request += fmt::format("content-length: {}\r\n", entry.request_body.size());
  out.append(Direction::kToServer, request + "\r\n" + entry.request_body);
  if (entry.status == 0) return out;
  std::string answer = head_of(fmt::format("HTTP/1.1 {} -", entry.status), entry.response_fields, entry.web_socket);
  if (entry.bodiless()) {
    out.append(Direction::kToClient, answer + "\r\n");
  } else {
    answer += fmt::format("content-length: {}\r\n\r\n", entry.content.size());
    out.append(Direction::kToClient, answer + entry.content);
  }
  for (const HarEntry::Message& message : entry.messages)
    out.append(message.client ? Direction::kToServer : Direction::kToClient,
               frame(message.client, message.opcode, message.payload));
  return out;
}

base::Result<> read_har(std::string_view text, const std::function<void(const HarEntry&)>& visit) {
  if (text.size() > std::numeric_limits<std::uint32_t>::max())
    return base::Error{base::ErrorCode::kFailure, 0, "the file is larger than 4 GiB", "split it by entries"};
  json::Digest document({.string_bytes = std::numeric_limits<std::size_t>::max(),
                         .nodes = std::numeric_limits<std::uint32_t>::max() - 1,
                         .text_bytes = std::numeric_limits<std::uint32_t>::max()});
  document.feed(text);
  if (document.finish() != ParseState::kDone || !document["log"]["entries"].is_array())
    return base::Error{base::ErrorCode::kUsage, 0, "not a HAR document", "expected a JSON object with log.entries"};
  std::size_t position = 0;
  for (json::Value entry : document["log"]["entries"].items()) visit(read_entry(entry, position++));
  return {};
}

void replay(const Conversation& conversation, ConnectionParser& parser, std::size_t piece) {
  std::size_t done[2] = {0, 0};
  std::uint64_t now_ns = 1;
  for (const Conversation::Step& step : conversation.steps) {
    const bool client = step.direction == Direction::kToServer;
    const std::string& stream = client ? conversation.to_server : conversation.to_client;
    std::size_t& at = done[client ? 0 : 1];
    while (at < step.end) {
      const std::size_t size = std::min(step.end - at, piece == 0 ? step.end : piece);
      parser.feed(step.direction, at, {reinterpret_cast<const std::uint8_t*>(stream.data()) + at, size}, now_ns++);
      at += size;
    }
  }
  parser.close(now_ns);
}

}  // namespace penstock::parsers::decode
