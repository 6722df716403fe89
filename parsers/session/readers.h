// The formats an answer can have, each turning bytes into events.
#pragma once

#include <memory>

#include "parsers/session/response_body.h"

namespace penstock::parsers::session {

std::unique_ptr<ResponseBody::Reader> make_json_reader(wire::json::DigestOptions options, ResponseBody::Sink& sink);
std::unique_ptr<ResponseBody::Reader> make_sse_reader(wire::json::DigestOptions options, ResponseBody::Sink& sink);
std::unique_ptr<ResponseBody::Reader> make_frame_reader(wire::json::DigestOptions options, ResponseBody::Sink& sink);
std::unique_ptr<ResponseBody::Reader> make_grpc_reader(std::string_view encoding, ResponseBody::Sink& sink);
std::unique_ptr<ResponseBody::Reader> make_opaque_reader();

}  // namespace penstock::parsers::session
