// One HTTP request and its answer, assembled into one exchange: decoders are chosen, bodies are decoded and split,
// facts and usage written, and the sink told. Knows nothing of framing (HTTP/1, HTTP/2) nor of other calls. Not
// thread-safe.
//
//   event                | before the answer's head    | after it            | after the answer's end
//   ---------------------+-----------------------------+---------------------+------------------------
//   request body, end    | read, facts                 | ignored             | ignored
//   answer's head        | request concluded as it is  | (cannot come)       | (cannot come)
//   answer's body        | (cannot come)               | read, progress      | ignored
//   answer's end, cancel | completed                   | completed           | ignored
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "parsers/dialects/provider.h"
#include "parsers/session/request_body.h"
#include "parsers/session/response_body.h"
#include "parsers/session/select.h"
#include "parsers/wire/http/message.h"

namespace penstock::parsers::session {

class Call final : public ResponseBody::Sink, public RequestBody::Sink {
 public:
  // `protocol`: the agent protocol that the connection has carried so far, read and written by its calls.
  Call(const Endpoint& endpoint, Selector& selector, const AgentProtocol*& protocol, ExchangeSink& sink)
      : endpoint_(endpoint), selector_(selector), protocol_(protocol), sink_(sink) {}

  void request_head(const wire::http::RequestHead& head, std::uint64_t now_ns);
  // The answer to a request that was not seen: nothing is judged, and what is understood of it is incomplete.
  void unseen_request(std::uint64_t now_ns);
  void request_body(std::span<const std::uint8_t> bytes);
  // `end_pos` is one past the request's last byte.
  // What the request says so far; nothing once it has ended.
  void read_so_far();
  void request_end(std::uint64_t end_pos, std::uint64_t now_ns);
  // The answer begins; `request_pos`: how far the request had come if its end was not seen.
  void response_head(const wire::http::ResponseHead& head, std::uint64_t request_pos, std::uint64_t now_ns);
  void response_body(std::span<const std::uint8_t> bytes, std::uint64_t now_ns);
  // `whole`: the answer was transported to its end.
  void response_end(bool whole, const wire::http::Fields& trailers, std::uint64_t now_ns);
  void lost(Direction direction, std::uint64_t bytes);

  bool request_concluded() const { return concluded_; }
  bool finished() const { return finished_; }
  model::Exchange& exchange() { return exchange_; }
  const RequestHead& head() const { return head_; }

 private:
  void on_request_field(std::string_view name, std::string_view value) override;
  void on_request_message(std::string_view piece, bool last) override;
  void on_event(const Event& event) override;

  void conclude_request(bool whole, std::uint64_t end_pos);
  void adopt(Selection selection);
  void note_error(const Event& event, bool in_stream);
  void settle_usage(bool whole);
  std::uint64_t since_start(std::uint64_t now_ns) const { return now_ns > start_ns_ ? now_ns - start_ns_ : 0; }

  const Endpoint& endpoint_;
  Selector& selector_;
  const AgentProtocol*& protocol_;
  ExchangeSink& sink_;
  RequestHead head_;
  Selection selection_;
  model::Exchange exchange_;
  std::unique_ptr<RequestBody> request_body_;
  std::vector<std::pair<std::string, std::string>> fields_;  // of a form, until its decoder is certain; the first few
  std::unique_ptr<ResponseBody> response_body_;
  std::uint64_t start_ns_ = 0;
  bool request_lossy_ = false;
  bool response_lossy_ = false;
  bool concluded_ = false;
  bool answered_ = false;
  bool finished_ = false;
  bool changed_ = false;  // since the last on_progress
  bool any_event_ = false;
  bool cut_ = false;  // the document of the answer ended before it was whole
};

}  // namespace penstock::parsers::session
