#include "parsers/dialects/facts.h"

#include <gtest/gtest.h>

#include <string>

namespace penstock::parsers::dialects {
namespace {

model::RequestFacts facts_of(const std::string& body) {
  wire::json::Digest digest;
  digest.feed(body);
  digest.finish();
  model::RequestFacts facts;
  read_request_facts(digest.root(), facts);
  return facts;
}

TEST(FactsTest, DefinitionsAreMeasuredApart) {
  const std::string tools = R"([{"name":"add","description":"Adds.","input_schema":{"type":"object"}}])";
  const std::string format = R"({"type":"json_schema"})";
  const auto facts = facts_of(R"({"messages":[{"role":"user","content":"Hello"}],"response_format":)" + format +
                              R"(,"tools":)" + tools + "}");
  EXPECT_EQ(tools.size(), facts.tool_bytes);
  EXPECT_EQ(format.size(), facts.schema_bytes);
  EXPECT_EQ(std::string("addAdds.objectjson_schema").size(), facts.definition_text_bytes);
  EXPECT_EQ(std::string("userHello").size() + facts.definition_text_bytes, facts.text_bytes);
  EXPECT_EQ(std::vector<std::string>{"add"}, facts.offered_tools);
  EXPECT_FALSE(facts.stored_context);
}

TEST(FactsTest, MediaByReferenceCount) {
  for (const std::string part : {R"({"type":"image_url","image_url":{"url":"https://example.com/a.png"}})",
                                 R"({"type":"input_image","image_url":"https://example.com/a.png"})",
                                 R"({"type":"image","source":{"type":"url","url":"https://example.com/a.png"}})",
                                 R"({"type":"input_file","file_id":"file-1"})",
                                 R"({"fileData":{"fileUri":"gs://bucket/a.mp4","mimeType":"video/mp4"}})"})
    EXPECT_EQ(
        1u, facts_of(R"({"messages":[{"role":"user","content":[{"type":"text","text":"What is it?"},)" + part + "]}]}")
                .media_parts)
        << part;
  EXPECT_EQ(0u, facts_of(R"({"messages":[{"content":[{"type":"document","source":{"type":"text","data":"plain"}}]}]})")
                    .media_parts);
  const std::string inline_image =
      R"({"type":"image_url","image_url":{"url":"data:image/png;base64,)" + std::string(400, 'A') + R"("}})";
  EXPECT_EQ(2u, facts_of(R"({"messages":[{"content":[)" + inline_image +
                         R"(,{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}]}]})")
                    .media_parts);
}

// What the provider adds from its own store is in no request.
TEST(FactsTest, StoredContext) {
  for (const std::string body :
       {R"({"input":"and then?","previous_response_id":"resp_1"})", R"({"input":"x","conversation":{"id":"conv_1"}})",
        R"({"prompt":{"id":"pmpt_1","version":"2"}})", R"({"contents":[],"cachedContent":"cachedContents/1"})",
        R"({"message":"x","conversation_id":"c"})"})
    EXPECT_TRUE(facts_of(body).stored_context) << body;
  EXPECT_FALSE(facts_of(R"({"input":"x","previous_response_id":null,"prompt":"y"})").stored_context);
}

// An image is billed by its size in pixels; what a model has sealed for itself is no picture.
TEST(FactsTest, SealedThoughtsAreNoMedia) {
  const std::string sealed = "EtsB" + std::string(400, 'a') + "=";
  for (const std::string& block : {R"({"type":"thinking","thinking":"Hm.","signature":")" + sealed + "\"}",
                                   R"({"type":"redacted_thinking","data":")" + sealed + "\"}",
                                   R"({"functionCall":{"name":"f"},"thoughtSignature":")" + sealed + "\"}",
                                   R"({"type":"reasoning","encrypted_content":")" + sealed + "\"}"}) {
    const auto facts = facts_of(R"({"messages":[{"role":"assistant","content":[)" + block + "]}]}");
    EXPECT_EQ(0u, facts.media_parts) << block;
    EXPECT_EQ(sealed.size(), facts.media_bytes) << block;
  }
  const auto image = facts_of(R"({"messages":[{"content":[{"type":"image","source":{"data":")" + sealed + R"("}}]}]})");
  EXPECT_EQ(1u, image.media_parts);
}

}  // namespace
}  // namespace penstock::parsers::dialects
