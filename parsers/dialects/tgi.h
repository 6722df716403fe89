// Hugging Face's Text Generation Inference: /generate and /generate_stream.
#pragma once

#include <memory>
#include <string_view>

#include "parsers/dialects/provider.h"

namespace penstock::parsers::dialects {

inline constexpr std::string_view kHuggingFaceHosts[] = {"router.huggingface.co", "api-inference.huggingface.co",
                                                         "*.endpoints.huggingface.cloud"};
bool is_huggingface(std::string_view host);
bool is_tgi(const RequestHead& head);
std::unique_ptr<Decoder> make_tgi(const RequestHead& head);

}  // namespace penstock::parsers::dialects
