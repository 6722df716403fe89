#include "parsers/decode/pncap.h"

#include <fmt/format.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <limits>
#include <map>
#include <memory>

#include "userspace/api/capture.pb.h"

namespace penstock::parsers::decode {
namespace {

constexpr std::string_view kMagic = "PNCAP1\n";
constexpr std::uint32_t kMaxRecordBytes = 64u << 20;  // a read or write of plaintext is far below it

base::Error broken(std::size_t at, std::string_view why) {
  return {base::ErrorCode::kFailure, 0, fmt::format("the capture is {} at byte {}", why, at),
          "what stands before it was read"};
}

struct Connections {
  ConnectionParserFactory factory;
  ExchangeSink& sink;
  std::map<std::uint64_t, std::unique_ptr<ConnectionParser>> open{};
  std::uint64_t now_ns = 0;

  ConnectionParser& find(std::uint64_t id, const Endpoint& endpoint, bool joined) {
    auto& parser = open[id];
    if (!parser) parser = factory(endpoint, joined, sink);
    return *parser;
  }
  void replay(const api::CaptureRecord& record) {
    const std::uint64_t id = record.connection();
    const auto direction = [](bool to_server) { return to_server ? Direction::kToServer : Direction::kToClient; };
    if (record.has_open()) {
      const api::CaptureOpen& begin = record.open();
      close(id);
      Endpoint endpoint{.host = begin.host(),
                        .port = static_cast<std::uint16_t>(begin.port()),
                        .address = begin.address(),
                        .provider = begin.provider()};
      find(id, endpoint, begin.joined());
    } else if (record.has_data()) {
      const api::CaptureData& data = record.data();
      const std::string& bytes = data.plaintext();
      now_ns = data.boot_ns();
      find(id, {}, true)
          .feed(direction(data.to_server()), data.pos(),
                {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, now_ns);
    } else if (record.has_gap()) {
      find(id, {}, true).gap(direction(record.gap().to_server()), record.gap().bytes());
    } else if (record.has_close()) {
      now_ns = record.close().boot_ns();
      close(id);
    }
  }
  void close(std::uint64_t id) {
    const auto it = open.find(id);
    if (it == open.end()) return;
    it->second->close(now_ns);
    open.erase(it);
  }
};

}  // namespace

bool is_pncap(std::string_view file) { return file.starts_with(kMagic); }

base::Result<> replay_pncap(std::string_view file, ConnectionParserFactory factory, ExchangeSink& sink) {
  Connections connections{factory, sink};
  std::size_t at = kMagic.size();
  base::Result<> result;
  while (at < file.size()) {
    const std::size_t left = std::min<std::size_t>(file.size() - at, kMaxRecordBytes + 16);
    google::protobuf::io::CodedInputStream input(reinterpret_cast<const std::uint8_t*>(file.data() + at),
                                                 static_cast<int>(left));
    std::uint32_t size = 0;
    if (!input.ReadVarint32(&size) || size > kMaxRecordBytes ||
        size > left - static_cast<std::size_t>(input.CurrentPosition())) {
      result = broken(at, size > kMaxRecordBytes ? "broken" : "cut");
      break;
    }
    const std::size_t begin = at + static_cast<std::size_t>(input.CurrentPosition());
    api::CaptureRecord record;
    if (!record.ParseFromArray(file.data() + begin, static_cast<int>(size))) {
      result = broken(at, "broken");
      break;
    }
    connections.replay(record);
    at = begin + size;
  }
  while (!connections.open.empty()) connections.close(connections.open.begin()->first);
  return result;
}

PncapWriter::PncapWriter() : file_(kMagic) {}

void PncapWriter::add(std::uint64_t connection, const Conversation& conversation) {
  const auto write = [this, connection](api::CaptureRecord& record) {
    record.set_connection(connection);
    google::protobuf::io::StringOutputStream out(&file_);
    google::protobuf::io::CodedOutputStream coded(&out);
    coded.WriteVarint32(static_cast<std::uint32_t>(record.ByteSizeLong()));
    record.SerializeToCodedStream(&coded);
  };
  api::CaptureRecord open;
  open.mutable_open()->set_host(conversation.endpoint.host);
  open.mutable_open()->set_port(conversation.endpoint.port);
  open.mutable_open()->set_address(conversation.endpoint.address);
  open.mutable_open()->set_provider(conversation.endpoint.provider);
  write(open);
  std::size_t done[2] = {0, 0};
  std::uint64_t now_ns = 0;
  for (const Conversation::Step& step : conversation.steps) {
    const bool to_server = step.direction == Direction::kToServer;
    std::size_t& at = done[to_server ? 0 : 1];
    api::CaptureRecord record;
    api::CaptureData& data = *record.mutable_data();
    data.set_to_server(to_server);
    data.set_pos(at);
    data.set_boot_ns(++now_ns);
    data.set_plaintext((to_server ? conversation.to_server : conversation.to_client).substr(at, step.end - at));
    at = step.end;
    write(record);
  }
  api::CaptureRecord close;
  close.mutable_close()->set_boot_ns(++now_ns);
  write(close);
}

}  // namespace penstock::parsers::decode
