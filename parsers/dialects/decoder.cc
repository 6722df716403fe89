#include "parsers/dialects/facts.h"
#include "parsers/dialects/provider.h"

namespace penstock::parsers {
bool RequestHead::upgrade_to_websocket() const { return fields.has_token("upgrade", "websocket"); }

bool Decoder::request(Json body, model::Exchange& exchange) {
  dialects::take_string(body["model"], exchange.request_model);
  if (body["stream"].as_bool() == true) exchange.stream = true;
  return true;
}

void Decoder::request_field(std::string_view name, std::string_view value, model::Exchange& exchange) {
  if (name == "model") exchange.request_model = std::string(value);
  if (name == "stream" && (value == "true" || value == "True" || value == "1")) exchange.stream = true;
}

void Decoder::request_message(std::string_view, bool, model::Exchange&) {}
void Decoder::response(const ResponseHead&, model::Exchange&) {}
void Decoder::end(bool, model::Exchange&) {}

}  // namespace penstock::parsers
