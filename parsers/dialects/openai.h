// OpenAI's APIs, and everyone who speaks them: chat completions, Responses, completions, embeddings, images, audio,
// moderations, assistants' runs. Providers choose by path; what is special about one of them is an option.
#pragma once

#include <memory>

#include "parsers/dialects/provider.h"

namespace penstock::parsers::dialects {

// By the end of the path; nullptr: none of these APIs. `strict_shape`: the host is nobody's, so only inference APIs
// whose body proves them are taken.
std::unique_ptr<Decoder> open_openai(const RequestHead& head);
std::unique_ptr<Decoder> open_openai_shaped(const RequestHead& head);

std::unique_ptr<Decoder> make_chat_completions();
std::unique_ptr<Decoder> make_responses(std::string_view operation = "chat");
std::unique_ptr<Decoder> make_embeddings();

// Realtime and Responses over a WebSocket; nullptr for other paths.
std::unique_ptr<Conversation> converse_openai(const RequestHead& head);

}  // namespace penstock::parsers::dialects
