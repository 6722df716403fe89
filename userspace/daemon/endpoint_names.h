// The `endpoints:` of the configuration as addresses: names are resolved on a thread of their own (a resolver may take
// its time) and again now and then, because addresses of a name change.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "bpf/include/penstock/wire.h"

namespace penstock::daemon {

class EndpointNames {
 public:
  struct Resolved {
    pn_endpoint_key key{};
    std::string address;  // as text: "192.0.2.1:443", "[2001:db8::1]:443"
    std::string provider;
  };
  using Done = std::function<void(std::vector<Resolved>)>;

  // `done` is called on the resolver's thread with everything that could be resolved.
  EndpointNames(std::map<std::string, std::string> endpoints, Done done);
  ~EndpointNames();
  EndpointNames(const EndpointNames&) = delete;
  EndpointNames& operator=(const EndpointNames&) = delete;

  void replace(std::map<std::string, std::string> endpoints);

 private:
  void loop();
  static std::vector<Resolved> resolve(const std::map<std::string, std::string>& endpoints);
  Done done_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::string> endpoints_;
  bool dirty_ = true;
  bool stop_ = false;
  std::thread thread_;
};

// "host", "host:port", "[v6]:port".
struct HostPort {
  std::string host;
  std::optional<std::uint16_t> port;  // absent: none is named
  bool operator==(const HostPort&) const = default;
};
HostPort split_host_port(const std::string& text);

}  // namespace penstock::daemon
