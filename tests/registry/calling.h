// A call to a provider of the registry, and what the session makes of it.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "parsers/core/testing.h"
#include "parsers/dialects/provider.h"
#include "parsers/session/session.h"

namespace penstock::testing {

// A host of the provider: its first, with something in place of the wildcards. Those known by shape have a local
// address, or a name that nobody knows.
inline std::string host_of(const parsers::Provider& provider) {
  if (provider.hosts.empty()) return provider.name == "self_hosted" ? "127.0.0.1" : "llm.example.org";
  std::string host;
  for (const char c : provider.hosts[0]) host += c == '*' ? std::string("region") : std::string(1, c);
  return host;
}

inline std::string with_length(std::string head, std::string_view body) {
  head += "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n";
  return head.append(body);
}

// `answer`: empty, or all of an HTTP/1.1 response.
inline model::Exchange called(const parsers::Provider& provider, std::string_view path, std::string_view body,
                              std::string_view answer = {}) {
  const std::string request = with_length(
      "POST " + std::string(path) + " HTTP/1.1\r\nHost: " + host_of(provider) + "\r\nContent-Type: application/json",
      body);
  parsers::testing::Completed collector;
  parsers::Endpoint endpoint;
  endpoint.port = 443;
  const auto parser = parsers::session::make_connection_parser(endpoint, false, collector);
  const auto feed = [&](parsers::Direction direction, std::string_view bytes) {
    parser->feed(direction, 0, {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, 1);
  };
  feed(parsers::Direction::kToServer, request);
  if (!answer.empty()) feed(parsers::Direction::kToClient, answer);
  parser->close(2);
  EXPECT_EQ(collector.exchanges.size(), 1U) << provider.name;
  return collector.exchanges.empty() ? model::Exchange{} : collector.exchanges[0];
}

}  // namespace penstock::testing
