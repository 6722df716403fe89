#include "parsers/dialects/errors.h"

#include "parsers/dialects/facts.h"

namespace penstock::parsers::dialects {

bool holds_error(Json body) {
  if (body.is_array() && body.size() == 1) return holds_error(body.at(0));
  if (!body.is_object()) return false;
  const Json error = body["error"];
  if (error.is_object()) return true;
  if (error.is_string()) return error.text_bytes() != 0;
  return body["type"].string_or("") == "error";
}

std::string error_type(Json body) {
  if (body.is_array()) body = body.at(0);
  const Json error = body["error"];
  std::string type;
  // {"object":"error","type":…} is the form without an inner object; {"type":"error"} says nothing.
  if (body["type"].string_or("error") != "error") take_string(body["type"], type);
  take_string(body["error_type"], type);
  take_string(body["__type"], type);
  take_string(error["status"], type);
  take_string(error["type"], type);
  return std::string(aws_error_type(type));
}

void note_error(Json body, bool in_stream, model::Exchange& exchange) {
  if (exchange.error) return;
  exchange.error = model::ExchangeError{exchange.status, in_stream, error_type(body)};
}

std::string_view aws_error_type(std::string_view text) {
  text = text.substr(0, text.find(':'));
  const std::size_t hash = text.rfind('#');
  return hash == std::string_view::npos ? text : text.substr(hash + 1);
}

}  // namespace penstock::parsers::dialects
