#include "parsers/session/call.h"

#include <algorithm>
#include <charconv>

#include "parsers/dialects/by_answer.h"
#include "parsers/dialects/errors.h"
#include "parsers/dialects/facts.h"
#include "parsers/dialects/trace.h"
#include "parsers/dialects/usage.h"

namespace penstock::parsers::session {
namespace {

constexpr std::size_t kMaxFields = 16;  // of a form, kept until its decoder is certain

std::string lower_case(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

// "host", "host:port", "[::1]:port".
void split_authority(std::string_view authority, std::string& host, std::uint16_t& port) {
  std::size_t colon = authority.rfind(':');
  if (colon != std::string_view::npos && authority.find(']', colon) != std::string_view::npos)
    colon = std::string_view::npos;
  if (colon != std::string_view::npos) {
    const std::string_view digits = authority.substr(colon + 1);
    std::uint16_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error == std::errc() && end == digits.data() + digits.size() && value != 0) port = value;
    authority = authority.substr(0, colon);
  }
  if (authority.size() >= 2 && authority.front() == '[' && authority.back() == ']')
    authority = authority.substr(1, authority.size() - 2);
  host = lower_case(authority);
}

bool has_body(std::string_view method) { return method == "POST" || method == "PUT" || method == "PATCH"; }

}  // namespace

void Call::request_head(const wire::http::RequestHead& head, std::uint64_t now_ns) {
  start_ns_ = now_ns;
  head_.method = head.method;
  head_.host = endpoint_.host;
  head_.port = endpoint_.port;
  head_.address = endpoint_.address;
  if (!head.authority.empty()) split_authority(head.authority, head_.host, head_.port);
  if (head_.host.empty()) head_.host = endpoint_.address;
  head_.path = std::string(head.path());
  head_.query = std::string(head.query());
  head_.fields = head.fields;
  // RFC 8441: HTTP/2 asks for a WebSocket by a pseudo field.
  if (head.protocol == "websocket") head_.fields.add("upgrade", "websocket");
  exchange_.method = head_.method;
  exchange_.host = head_.host;
  exchange_.port = head_.port;
  exchange_.path = head_.path;
  dialects::take_traceparent(head_.header("traceparent"), exchange_.trace);
  adopt(selector_.select(head_));
  // A body of an exchange nobody has claimed is read if it could be JSON: agent protocols are known by it.
  const std::string type = wire::http::media_type(head_.header("content-type"));
  const bool json = type.ends_with("json") || type.empty();
  if (has_body(head_.method) && (selection_.decoder != nullptr || json))
    request_body_ = std::make_unique<RequestBody>(head_.fields, static_cast<RequestBody::Sink&>(*this));
  sink_.on_request_head(exchange_);
}

void Call::unseen_request(std::uint64_t now_ns) {
  start_ns_ = now_ns;
  head_.host = endpoint_.host.empty() ? endpoint_.address : endpoint_.host;
  head_.port = endpoint_.port;
  head_.address = endpoint_.address;
  exchange_.host = head_.host;
  exchange_.port = head_.port;
  exchange_.coverage.truncated_start = true;
  if (const Provider* provider = select_host(endpoint_.provider, head_))
    exchange_.provider = std::string(provider->name);
  concluded_ = true;
  sink_.on_request_head(exchange_);
}

void Call::adopt(Selection selection) {
  if (selection.provider != nullptr && !selection.provisional)
    exchange_.provider = std::string(selection.provider->name);
  if (selection.decoder != nullptr && !selection.provisional) selection.decoder->start(head_, exchange_);
  if (selection.protocol != nullptr) protocol_ = selection.protocol;
  selection_ = std::move(selection);
}

void Call::request_body(std::span<const std::uint8_t> bytes) {
  if (concluded_ || !request_body_) return;
  request_body_->feed({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

void Call::on_request_field(std::string_view name, std::string_view value) {
  if (!selection_.decoder) return;
  if (!selection_.provisional) {
    selection_.decoder->request_field(name, value, exchange_);
  } else if (fields_.size() < kMaxFields) {
    fields_.emplace_back(name, value);
  }
}

void Call::on_request_message(std::string_view piece, bool last) {
  if (selection_.decoder && !selection_.provisional) selection_.decoder->request_message(piece, last, exchange_);
}

void Call::request_end(std::uint64_t end_pos, std::uint64_t now_ns) {
  if (concluded_ || finished_) return;
  exchange_.timing.request_sent_ns = since_start(now_ns);
  conclude_request(true, end_pos);
}

void Call::read_so_far() {
  if (concluded_ || finished_ || !request_body_) return;
  const Json body = request_body_->json();
  if (!body.exists()) return;
  // By a decoder of its own: the real one reads the body once, when it is whole.
  Selection selection = selector_.select(head_);
  if (!selection.decoder) selection = select_by_body(head_, body, protocol_);
  if (!selection.decoder) return;
  model::Exchange so_far = exchange_;
  selection.decoder->start(head_, so_far);
  if (!selection.decoder->request(body, so_far)) return;
  exchange_.kind = so_far.kind;
  exchange_.operation = std::move(so_far.operation);
  exchange_.request_model = std::move(so_far.request_model);
  if (selection.provider != nullptr) exchange_.provider = std::string(selection.provider->name);
}

void Call::conclude_request(bool whole, std::uint64_t end_pos) {
  concluded_ = true;
  Json body;
  if (request_body_) {
    request_body_->finish();
    exchange_.request.body_bytes = request_body_->decoded_bytes();
    body = request_body_->json();
  }
  if (selection_.provisional) {
    // What was lost cannot speak against the path.
    selection_.provisional = false;
    model::Exchange tentative = exchange_;
    selection_.decoder->start(head_, tentative);
    for (const auto& [name, value] : fields_) selection_.decoder->request_field(name, value, tentative);
    fields_.clear();
    if (selection_.decoder->request(body, tentative) || request_lossy_ || !whole) {
      exchange_ = std::move(tentative);
      exchange_.provider = std::string(selection_.provider->name);
    } else {
      selection_ = {};
      exchange_.kind = model::Kind::kHttp;
      exchange_.operation.clear();
    }
  } else if (selection_.decoder && body.exists() && !selection_.decoder->request(body, exchange_)) {
    selection_.decoder.reset();
    exchange_.kind = model::Kind::kHttp;
    exchange_.operation.clear();
    exchange_.request_model.clear();
  }
  if (!selection_.decoder && body.exists()) {
    adopt(select_by_body(head_, body, protocol_));
    if (selection_.decoder) selection_.decoder->request(body, exchange_);
  }
  if (selection_.decoder && body.exists()) dialects::read_request_facts(body, exchange_.request);
  request_body_.reset();
  sink_.on_request(exchange_, end_pos);
}

void Call::response_head(const wire::http::ResponseHead& head, std::uint64_t request_pos, std::uint64_t now_ns) {
  if (finished_ || answered_) return;
  answered_ = true;
  if (!concluded_) conclude_request(false, request_pos);
  exchange_.status = head.status;
  exchange_.timing.first_chunk_ns = since_start(now_ns);
  if (exchange_.coverage.truncated_start && head.status < 400)
    response_body_ = std::make_unique<ResponseBody>(head.fields, wire::json::DigestOptions{},
                                                    static_cast<ResponseBody::Sink&>(*this));
  if (!selection_.decoder) return;
  const ResponseHead response{head.status, head.fields};
  if (head.status >= 400) {
    exchange_.error = model::ExchangeError{head.status, false,
                                           std::string(dialects::aws_error_type(head.fields.get("x-amzn-errortype")))};
  } else {
    selection_.decoder->response(response, exchange_);
  }
  response_body_ = std::make_unique<ResponseBody>(head.fields, selection_.decoder->response_options(),
                                                  static_cast<ResponseBody::Sink&>(*this));
}

void Call::response_body(std::span<const std::uint8_t> bytes, std::uint64_t now_ns) {
  if (finished_ || !response_body_ || bytes.empty()) return;
  if (!any_event_) exchange_.timing.first_chunk_ns = since_start(now_ns);
  changed_ = false;
  response_body_->feed({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  exchange_.timing.last_chunk_ns = since_start(now_ns);
  if (changed_) sink_.on_progress(exchange_);
}

void Call::on_event(const Event& event) {
  if (!selection_.decoder) {
    selection_.decoder = dialects::open_by_answer(event);
    if (!selection_.decoder) return;
    selection_.decoder->start(head_, exchange_);
    if (exchange_.provider.empty()) exchange_.provider = "other";
  }
  changed_ = true;
  const bool streamed = event.kind == Event::Kind::kSse || event.kind == Event::Kind::kFrame;
  if (exchange_.status >= 400) {
    if (const std::string type = dialects::error_type(event.json); !type.empty()) exchange_.error->type = type;
    return;
  }
  if (streamed && exchange_.kind == model::Kind::kLlm) exchange_.stream = true;
  if (exchange_.kind == model::Kind::kLlm && ((event.failed && event.kind != Event::Kind::kGrpc) ||
                                              event.name == "error" || dialects::holds_error(event.json)))
    note_error(event, streamed || any_event_);
  any_event_ = true;
  cut_ = cut_ || (event.json.exists() && !event.json.complete());
  selection_.decoder->event(event, exchange_);
}

void Call::note_error(const Event& event, bool in_stream) {
  dialects::note_error(event.json, in_stream, exchange_);
  // An event stream names its exceptions in the frame.
  if (event.kind == Event::Kind::kFrame && exchange_.error->type.empty())
    exchange_.error->type = std::string(event.name);
}

void Call::lost(Direction direction, std::uint64_t bytes) {
  if (finished_) return;
  exchange_.coverage.lost_bytes += bytes;
  if (direction == Direction::kToServer) {
    request_lossy_ = true;
    if (request_body_) request_body_->lost();
  } else {
    response_lossy_ = true;
    if (response_body_) response_body_->lost();
  }
}

void Call::response_end(bool whole, const wire::http::Fields& trailers, std::uint64_t now_ns) {
  if (finished_) return;
  finished_ = true;
  if (!concluded_) conclude_request(false, 0);
  if (response_body_) response_body_->finish(whole && !response_lossy_);
  if (selection_.decoder && exchange_.status < 400) selection_.decoder->end(whole && !response_lossy_, exchange_);
  if (!trailers.get("grpc-status").empty() && trailers.get("grpc-status") != "0" && !exchange_.error)
    exchange_.error =
        model::ExchangeError{exchange_.status, true, "grpc-status " + std::string(trailers.get("grpc-status"))};
  settle_usage(whole && answered_);
  exchange_.timing.total_ns = since_start(now_ns);
  response_body_.reset();
  sink_.on_complete(exchange_);
}

void Call::settle_usage(bool whole) {
  const bool broken = cut_ || response_lossy_ || exchange_.coverage.truncated_start;
  if (!selection_.decoder) {
    // With a provider, and too little of it was seen to say what it was about.
    if ((broken || request_lossy_) && !exchange_.provider.empty())
      exchange_.usage_status = model::UsageStatus::kIncomplete;
    return;
  }
  if (exchange_.kind != model::Kind::kLlm) return;
  const Settled settled = selection_.decoder->settled();
  const bool final = settled == Settled::kYes || (settled == Settled::kAtEnd && whole);
  if (!dialects::nothing_reported(exchange_.usage)) {
    exchange_.usage_status = final && !broken ? model::UsageStatus::kExact : model::UsageStatus::kIncomplete;
  } else if (broken || !(whole || settled == Settled::kYes)) {
    exchange_.usage_status = model::UsageStatus::kIncomplete;
  }
}

}  // namespace penstock::parsers::session
