#include "userspace/daemon/endpoint_names.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>

#include <charconv>
#include <chrono>
#include <cstring>
#include <memory>

namespace penstock::daemon {
namespace {

constexpr std::uint16_t kHttpsPort = 443;
constexpr auto kAgain = std::chrono::minutes(5);
constexpr std::size_t kMaxAddresses = 1024;

}  // namespace

HostPort split_host_port(const std::string& text) {
  std::string host = text;
  std::optional<std::uint16_t> port;
  const std::size_t bracket = text.rfind(']');
  const std::size_t colon = text.rfind(':');
  const bool v6_without_port = bracket == std::string::npos && colon != std::string::npos && text.find(':') != colon;
  if (colon != std::string::npos && !v6_without_port && (bracket == std::string::npos || colon > bracket)) {
    host = text.substr(0, colon);
    std::uint16_t number = kHttpsPort;
    std::from_chars(text.data() + colon + 1, text.data() + text.size(), number);
    port = number;
  }
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return {host, port};
}

EndpointNames::EndpointNames(std::map<std::string, std::string> endpoints, Done done)
    : done_(std::move(done)), endpoints_(std::move(endpoints)), thread_([this] { loop(); }) {}

EndpointNames::~EndpointNames() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void EndpointNames::replace(std::map<std::string, std::string> endpoints) {
  {
    const std::lock_guard lock(mutex_);
    endpoints_ = std::move(endpoints);
    dirty_ = true;
  }
  changed_.notify_all();
}

void EndpointNames::loop() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    const std::map<std::string, std::string> endpoints = endpoints_;
    dirty_ = false;
    lock.unlock();
    if (!endpoints.empty()) done_(resolve(endpoints));
    lock.lock();
    changed_.wait_for(lock, kAgain, [this] { return stop_ || dirty_; });
  }
}

std::vector<EndpointNames::Resolved> EndpointNames::resolve(const std::map<std::string, std::string>& endpoints) {
  std::vector<Resolved> out;
  for (const auto& [text, provider] : endpoints) {
    const auto [host, named_port] = split_host_port(text);
    const std::uint16_t port = named_port.value_or(kHttpsPort);
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* list = nullptr;
    if (::getaddrinfo(host.c_str(), nullptr, &hints, &list) != 0) continue;
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(list, &::freeaddrinfo);
    for (const addrinfo* at = list; at != nullptr && out.size() < kMaxAddresses; at = at->ai_next) {
      Resolved resolved;
      resolved.key.port = port;
      resolved.provider = provider;
      char address[INET6_ADDRSTRLEN] = {};
      if (at->ai_family == AF_INET) {
        const auto* v4 = reinterpret_cast<const sockaddr_in*>(at->ai_addr);
        resolved.key.family = AF_INET;
        std::memcpy(resolved.key.addr, &v4->sin_addr, sizeof v4->sin_addr);
        ::inet_ntop(AF_INET, &v4->sin_addr, address, sizeof address);
        resolved.address = fmt::format("{}:{}", address, port);
      } else if (at->ai_family == AF_INET6) {
        const auto* v6 = reinterpret_cast<const sockaddr_in6*>(at->ai_addr);
        resolved.key.family = AF_INET6;
        std::memcpy(resolved.key.addr, &v6->sin6_addr, sizeof v6->sin6_addr);
        ::inet_ntop(AF_INET6, &v6->sin6_addr, address, sizeof address);
        resolved.address = fmt::format("[{}]:{}", address, port);
      } else {
        continue;
      }
      out.push_back(std::move(resolved));
    }
  }
  return out;
}

}  // namespace penstock::daemon
