// The pieces that open_openai chooses from; for the openai_*.cc files only.
#pragma once

#include <memory>
#include <string_view>

#include "parsers/dialects/provider.h"

namespace penstock::parsers::dialects {

// Kind, operation, and the deployment (Azure) or engine (before 2023) where the URL names one: the model asked for
// unless the body says more.
void start_openai(const RequestHead& head, std::string_view operation, model::Exchange& exchange);
// `strict`: refuse a request whose body is not of this API (the host is nobody's).
std::unique_ptr<Decoder> make_chat(std::string_view operation, bool strict);
std::unique_ptr<Decoder> make_responses(std::string_view operation, bool strict);
std::unique_ptr<Decoder> make_input(std::string_view operation, bool strict);  // embeddings, moderations, images, audio
std::unique_ptr<Decoder> make_runs();

}  // namespace penstock::parsers::dialects
