#include "parsers/wire/http/message.h"

#include <gtest/gtest.h>

namespace penstock::parsers::wire::http {
namespace {

TEST(HttpFields, NamesAreLowerCaseAndListsAreRead) {
  Fields fields;
  fields.add("Content-Type", "text/event-stream; charset=utf-8");
  fields.add("Connection", "keep-alive, Upgrade");
  fields.add("connection", "close");
  EXPECT_EQ(fields.get("content-type"), "text/event-stream; charset=utf-8");
  EXPECT_TRUE(fields.has_token("connection", "upgrade"));
  EXPECT_TRUE(fields.has_token("connection", "close"));
  EXPECT_FALSE(fields.has_token("connection", "keep"));
  EXPECT_EQ(fields.find("host"), std::nullopt);
}

TEST(HttpFields, MediaTypesAndParameters) {
  EXPECT_EQ(media_type(" Text/Event-Stream ; charset=utf-8"), "text/event-stream");
  EXPECT_EQ(parameter("multipart/form-data; charset=x; boundary=\"a \\\"b;c\"", "boundary"), "a \"b;c");
  EXPECT_EQ(parameter("multipart/form-data;boundary=abc; x=y", "Boundary"), "abc");
  EXPECT_EQ(parameter("a/b; flag; boundary=z", "boundary"), "z");
  EXPECT_EQ(parameter("a/b; boundary", "boundary"), std::nullopt);
}

TEST(HttpRequestHead, PathsOfEveryTargetForm) {
  RequestHead head;
  head.target = "/v1/chat?api-version=1";
  EXPECT_EQ(head.path(), "/v1/chat");
  EXPECT_EQ(head.query(), "api-version=1");
  head.target = "http://proxy.example/v1/x?y";
  EXPECT_EQ(head.path(), "/v1/x");
  head.target = "http://proxy.example";
  EXPECT_EQ(head.path(), "/");
  head.target = "/redirect?to=http://a/b";
  EXPECT_EQ(head.path(), "/redirect");
}

}  // namespace
}  // namespace penstock::parsers::wire::http
