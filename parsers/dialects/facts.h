// What a request asks for, read from its JSON body without knowing the API: models copy each other's field names. Known
// before the verdict, so it must never say less than what will be billed.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "parsers/dialects/provider.h"
#include "userspace/model/exchange.h"

namespace penstock::parsers::dialects {

// Bounds of the lists kept per exchange; what is beyond is not kept.
inline constexpr std::size_t kMaxNames = 512;

// Sizes of text and media, maximum of output tokens, choices, tools offered and tool results carried.
void read_request_facts(Json body, model::RequestFacts& facts);

void add_tool_call(model::Exchange& exchange, model::CallId id, std::string_view name);
void add_tool_result(model::RequestFacts& facts, model::CallId id);
// The id of a call as the API gives it; absent when null, missing or empty.
model::CallId call_id(Json value);
// How much text a model wrote for `value`: a string, or JSON that the API hands on parsed (the arguments of a call).
std::uint64_t generated_bytes(Json value);
// A string that has ended: of a document that was cut, a partial name would be a wrong one.
std::optional<std::string_view> string_of(Json value);
// Overwrites `into` with a non-empty string that has ended.
void take_string(Json value, std::string& into);

}  // namespace penstock::parsers::dialects
