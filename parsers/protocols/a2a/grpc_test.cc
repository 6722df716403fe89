#include "parsers/protocols/a2a/grpc.h"

#include <gtest/gtest.h>

#include <string>

namespace penstock::parsers::protocols::a2a {
namespace {

std::string field(std::uint32_t number, std::string_view content) {
  EXPECT_LT(content.size(), 128u);
  return std::string(1, static_cast<char>(number << 3 | 2)) + std::string(1, static_cast<char>(content.size())) +
         std::string(content);
}
std::string varint(std::uint32_t number, std::uint8_t value) {
  return std::string(1, static_cast<char>(number << 3)) + std::string(1, static_cast<char>(value));
}
constexpr std::string_view kTraceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

struct Call {
  model::Exchange exchange;
  std::unique_ptr<Decoder> decoder;

  explicit Call(std::string_view path) : decoder(open_grpc(path)) {
    RequestHead head;
    head.method = "POST";
    head.path = std::string(path);
    decoder->start(head, exchange);
  }
  // Byte by byte: pieces end anywhere.
  void request(std::string_view message) {
    for (const char& byte : message) decoder->request_message({&byte, 1}, false, exchange);
    decoder->request_message({}, true, exchange);
  }
  void answer(std::string_view message, bool whole = true) {
    Event event;
    event.kind = Event::Kind::kGrpc;
    event.last = false;
    for (const char& byte : message) {
      event.data = {&byte, 1};
      decoder->event(event, exchange);
    }
    event.data = {};
    event.last = true;
    event.failed = !whole;
    decoder->event(event, exchange);
  }
};

TEST(A2aGrpcTest, ContextTraceAndStateOfATask) {
  Call call("/lf.a2a.v1.A2AService/SendMessage");
  EXPECT_EQ("SendMessage", call.exchange.operation);
  EXPECT_FALSE(call.exchange.stream);
  const std::string metadata = field(1, field(1, "other") + field(2, field(3, "x"))) +
                               field(1, field(1, "traceparent") + field(2, field(3, kTraceparent)));
  call.request(field(1, "tenant") +
               field(2, field(1, "m1") + varint(4, 1) + field(5, field(1, "hello") + field(7, "text/plain"))));
  EXPECT_EQ(5u, call.exchange.request.text_bytes);
  EXPECT_EQ("", call.exchange.conversation_id);
  Call traced("/lf.a2a.v1.A2AService/SendMessage");
  traced.request(field(2, field(2, "ctx-0") + field(6, metadata)));
  EXPECT_EQ("ctx-0", traced.exchange.conversation_id);
  EXPECT_EQ("4bf92f3577b34da6a3ce929d0e0e4736", traced.exchange.trace.trace_id);
  // task {id, context_id, status {state COMPLETED}}
  call.answer(field(1, field(1, "task-1") + field(2, "ctx-1") + field(3, varint(1, 3))));
  EXPECT_EQ("ctx-1", call.exchange.conversation_id);
  EXPECT_EQ("TASK_STATE_COMPLETED", call.exchange.finish_reason);
}

TEST(A2aGrpcTest, TheLastStateOfAStreamHolds) {
  Call call("/lf.a2a.v1.A2AService/SendStreamingMessage");
  EXPECT_TRUE(call.exchange.stream);
  call.answer(field(3, field(1, "task-1") + field(2, "ctx-1") + field(3, varint(1, 2))));
  EXPECT_EQ("TASK_STATE_WORKING", call.exchange.finish_reason);
  // An artifact has a context and no state; its own third field is no status.
  call.answer(field(4, field(1, "task-1") + field(2, "ctx-1") + field(3, field(1, "art-1") + field(2, "Result"))));
  EXPECT_EQ("TASK_STATE_WORKING", call.exchange.finish_reason);
  call.answer(field(3, field(2, "ctx-1") + field(3, varint(1, 4))), false);  // cut: nothing of it holds
  EXPECT_EQ("TASK_STATE_WORKING", call.exchange.finish_reason);
  // A message names its task in the field where a task has its status.
  call.answer(field(2, field(1, "m2") + field(2, "ctx-2") + field(3, "task-1")));
  EXPECT_EQ("ctx-2", call.exchange.conversation_id);
}

TEST(A2aGrpcTest, GetTaskAnswersWithTheTaskItself) {
  Call call("/lf.a2a.v1.A2AService/GetTask");
  call.answer(field(1, "task-1") + field(2, "ctx-1") + field(3, varint(1, 9)));
  EXPECT_EQ("ctx-1", call.exchange.conversation_id);
  EXPECT_EQ("9", call.exchange.finish_reason) << "a state of a later version";
}

TEST(A2aGrpcTest, VersionZeroPutsTheMessageFirst) {
  Call call("/a2a.v1.A2AService/SendMessage");
  call.request(field(1, field(2, "ctx-3")));
  EXPECT_EQ("ctx-3", call.exchange.conversation_id);
  EXPECT_EQ(nullptr, open_grpc("/helloworld.Greeter/SayHello"));
}

}  // namespace
}  // namespace penstock::parsers::protocols::a2a
