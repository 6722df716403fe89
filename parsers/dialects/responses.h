// The object and the events of OpenAI's Responses API, which come over HTTP, server-sent events and WebSockets alike.
#pragma once

#include <string>
#include <vector>

#include "parsers/dialects/provider.h"
#include "userspace/model/exchange.h"

namespace penstock::parsers::dialects {

// Accumulates one response into an exchange.
class ResponseReader {
 public:
  // A response object: the document of a plain answer, or the `response` of an event. `last`: the terminal event's.
  void object(Json response, bool last, model::Exchange& exchange);
  // A streaming event by its `type`. True when it was terminal.
  bool event(Json event, model::Exchange& exchange);

 private:
  void item(Json item, model::Exchange& exchange);
};

// What the request of a response asks for beyond the common facts.
void read_response_request(Json body, model::Exchange& exchange);

}  // namespace penstock::parsers::dialects
