#include "parsers/dialects/facts.h"

#include <algorithm>
#include <string>

#include "parsers/dialects/usage.h"

namespace penstock::parsers::dialects {
namespace {

constexpr int kMaxDepth = 64;

// What a model signed or encrypted for itself and wants to see again: base64, but nothing that anybody looks at or
// listens to.
bool sealed(std::string_view key) {
  for (std::string_view name :
       {"signature", "thoughtSignature", "thought_signature", "encrypted_content", "redactedContent"})
    if (key == name) return true;
  return false;
}

std::uint64_t media_parts_below(Json value, int depth) {
  if (value.blob_bytes() == 0 || depth > kMaxDepth) return 0;
  if (value.is_string()) return sealed(value.key()) ? 0 : 1;
  // Anthropic's redacted thinking keeps it under the name that media have elsewhere.
  if (value["type"].string_or("") == "redacted_thinking") return 0;
  std::uint64_t parts = 0;
  for (Json child : value.is_array() ? value.items() : value.members()) parts += media_parts_below(child, depth + 1);
  return parts;
}

// A part that names its picture, sound or file by an address or id: as much to bill, and nothing of it in the request.
bool refers_to_media(Json part) {
  const std::string_view type = part["type"].string_or("");
  for (std::string_view name :
       {"image_url", "input_image", "input_audio", "input_file", "file", "video_url", "audio_url", "container_upload"})
    if (type == name) return true;
  // Anthropic's sources may also be text.
  const std::string_view source = part["source"]["type"].string_or("");
  if ((type == "image" || type == "document") && (source == "url" || source == "file")) return true;
  return part["fileData"].is_object() || part["file_data"].is_object();
}

std::uint64_t referred_media(Json value, int depth) {
  if (depth > kMaxDepth) return 0;
  // What carries its media has been counted by it.
  if (value.is_object() && value.blob_bytes() == 0 && refers_to_media(value)) return 1;
  std::uint64_t parts = 0;
  for (Json child : value.is_array() ? value.items() : value.members()) parts += referred_media(child, depth + 1);
  return parts;
}

void add_offered_tool(model::RequestFacts& facts, Json name) {
  if (const auto text = string_of(name); text && !text->empty() && facts.offered_tools.size() < kMaxNames)
    facts.offered_tools.emplace_back(*text);
}

void read_tools(Json tools, model::RequestFacts& facts) {
  if (!tools.exists()) return;
  facts.tool_bytes += tools.raw_bytes();
  facts.definition_text_bytes += tools.text_bytes();
  for (Json tool : tools.items()) {
    // {function:{name}} (chat), {name} (Responses, Anthropic, Cohere v1), {toolSpec:{name}} (Bedrock),
    // {tool_spec:{name}} (Snowflake), {functionDeclarations:[{name}]} (Gemini), {type} (provider's own tools)
    if (tool["function"]["name"]) {
      add_offered_tool(facts, tool["function"]["name"]);
    } else if (tool["name"]) {
      add_offered_tool(facts, tool["name"]);
    } else if (tool["toolSpec"]["name"]) {
      add_offered_tool(facts, tool["toolSpec"]["name"]);
    } else if (tool["tool_spec"]["name"]) {
      add_offered_tool(facts, tool["tool_spec"]["name"]);
    } else if (tool["functionDeclarations"]) {
      for (Json function : tool["functionDeclarations"].items()) add_offered_tool(facts, function["name"]);
    } else if (tool["function_declarations"]) {
      for (Json function : tool["function_declarations"].items()) add_offered_tool(facts, function["name"]);
    } else {
      add_offered_tool(facts, tool["type"]);
    }
  }
}

// The schema of a structured answer, wherever an API puts it.
void read_schema(Json schema, model::RequestFacts& facts) {
  if (!schema.is_object()) return;
  facts.schema_bytes += schema.raw_bytes();
  facts.definition_text_bytes += schema.text_bytes();
}

void read_blocks(Json content, model::RequestFacts& facts) {
  for (Json block : content.items()) {
    if (block["type"].string_or("") == "tool_result") add_tool_result(facts, call_id(block["tool_use_id"]));
    if (block["toolResult"].is_object()) add_tool_result(facts, call_id(block["toolResult"]["toolUseId"]));
  }
}

void read_results(Json body, model::RequestFacts& facts) {
  for (Json message : body["messages"].items()) {
    if (message["role"].string_or("") == "tool" && message["tool_call_id"].has_value())
      add_tool_result(facts, call_id(message["tool_call_id"]));
    read_blocks(message["content"], facts);
  }
  for (Json item : body["input"].items())
    if (item["type"].string_or("").ends_with("_call_output")) add_tool_result(facts, call_id(item["call_id"]));
}

// With several synonyms the largest one is the bound that holds.
Count max_output(Json body) {
  Count most;
  const auto consider = [&most](Json value) {
    if (const Count count = value.as_count()) most = std::max(most.value_or(0), *count);
  };
  for (std::string_view key : {"max_tokens", "max_completion_tokens", "max_output_tokens", "max_tokens_to_sample",
                               "max_new_tokens", "maxTokens", "maxOutputTokens", "max_gen_len", "n_predict"})
    consider(body[key]);
  for (std::string_view group :
       {"generationConfig", "generation_config", "inferenceConfig", "textGenerationConfig", "parameters"}) {
    const Json settings = body[group];
    if (!settings.is_object()) continue;
    for (std::string_view key :
         {"maxOutputTokens", "max_output_tokens", "maxTokens", "max_tokens", "max_new_tokens", "maxTokenCount"})
      consider(settings[key]);
  }
  consider(body["options"]["num_predict"]);
  return most;
}

}  // namespace

void read_request_facts(Json body, model::RequestFacts& facts) {
  facts.text_bytes += body.text_bytes();
  facts.media_bytes += body.blob_bytes();
  facts.media_parts += media_parts_below(body, 0);
  if (!body.is_object()) return;
  for (std::string_view list : {"messages", "contents", "input", "system", "systemInstruction"})
    facts.media_parts += referred_media(body[list], 0);
  if (const Count most = max_output(body)) facts.max_output_tokens = most;
  for (std::string_view key : {"n", "candidateCount", "num_generations"})
    if (const Count choices = body[key].as_count()) facts.choices = choices;
  if (const Count choices = body["generationConfig"]["candidateCount"].as_count()) facts.choices = choices;
  if (const auto tier = string_of(body["service_tier"])) facts.service_tier = std::string(*tier);
  read_tools(body["tools"], facts);
  read_tools(body["toolConfig"]["tools"], facts);
  read_tools(body["functions"], facts);
  read_tools(body["parameters"]["tools"], facts);
  read_results(body, facts);
  for (std::string_view key : {"previous_response_id", "conversation", "conversation_id", "previous_interaction_id",
                               "cachedContent", "cached_content"})
    facts.stored_context = facts.stored_context || body[key].has_value();
  facts.stored_context = facts.stored_context || body["prompt"]["id"].is_string();
  for (std::string_view key : {"response_format", "output_config", "output_format", "format"})
    read_schema(body[key], facts);
  read_schema(body["text"]["format"], facts);
  for (std::string_view group : {"generationConfig", "generation_config"}) {
    const Json settings = body[group];
    if (!settings.is_object()) continue;
    for (std::string_view key : {"responseSchema", "responseJsonSchema", "response_schema", "response_json_schema"})
      read_schema(settings[key], facts);
  }
}

void add_tool_call(model::Exchange& exchange, model::CallId id, std::string_view name) {
  if (exchange.tool_calls.size() < kMaxNames) exchange.tool_calls.push_back({std::move(id), std::string(name)});
}

void add_tool_result(model::RequestFacts& facts, model::CallId id) {
  if (facts.tool_results.size() < kMaxNames) facts.tool_results.push_back(std::move(id));
}

model::CallId call_id(Json value) {
  if (const auto text = string_of(value); text && !text->empty()) return std::string(*text);
  if (const auto number = value.as_int()) return *number;
  return {};
}

std::uint64_t generated_bytes(Json value) {
  return value.is_object() || value.is_array() ? value.raw_bytes() : value.text_bytes();
}

std::optional<std::string_view> string_of(Json value) { return value.complete() ? value.as_string() : std::nullopt; }

void take_string(Json value, std::string& into) {
  if (const auto text = string_of(value); text && !text->empty()) into.assign(*text);
}

}  // namespace penstock::parsers::dialects
