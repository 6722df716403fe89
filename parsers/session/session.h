// The session of a connection: from two plaintext byte streams to exchanges. It recognises the transport (HTTP/1, …),
// pairs requests with answers, decodes their contents, chooses provider and dialect through the registries, and reports
// to the sink. One per connection; not thread-safe; no clock, no descriptor, no thread of its own.
#pragma once

#include <memory>

#include "parsers/core/connection_parser.h"

namespace penstock::parsers::session {

// `joined`: observation began inside the connection. `sink` must outlive the parser.
std::unique_ptr<ConnectionParser> make_connection_parser(const Endpoint& endpoint, bool joined, ExchangeSink& sink);

}  // namespace penstock::parsers::session
