// Errors as the providers spell them. The type is error.type, else Google's error.status, else AWS' x-amzn-errortype or
// __type; codes are no types.
#pragma once

#include "parsers/dialects/provider.h"

namespace penstock::parsers::dialects {

// The error an answer's JSON holds: an object or text under "error", or a body of {"type":"error"}. False: none.
bool holds_error(Json body);
// The type of the error in `body`; empty when it has none.
std::string error_type(Json body);
// Notes an error of an answer whose status says success. The first one stays.
void note_error(Json body, bool in_stream, model::Exchange& exchange);
// "ThrottlingException:http://…" and "com.amazon.coral.service#ThrottlingException" are ThrottlingException.
std::string_view aws_error_type(std::string_view text);

}  // namespace penstock::parsers::dialects
