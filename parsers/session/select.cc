#include "parsers/session/select.h"

#include <string>

#include "parsers/protocols/registry.h"
#include "parsers/providers/registry.h"

namespace penstock::parsers::session {
namespace {

struct Claimed {
  const Provider* provider = nullptr;
  Claim claim = Claim::kNone;
};

Claimed strongest(std::string_view configured, const RequestHead& head) {
  Claimed best;
  for (const Provider* provider : providers::registry()) {
    if (!configured.empty() && provider->name == configured) return {provider, Claim::kPath};
    const Claim claim = claim_of(*provider, head);
    if (claim > best.claim) best = {provider, claim};
  }
  return best;
}

}  // namespace

std::string_view configured_provider(const Endpoint& endpoint, const RequestHead& head) {
  if (endpoint.names != nullptr) {
    const bool v6 = head.host.find(':') != std::string::npos;
    const std::string host = v6 ? "[" + head.host + "]" : head.host;
    for (const std::string& name : {host + ":" + std::to_string(head.port), host, head.host}) {
      if (const auto it = endpoint.names->find(name); it != endpoint.names->end()) return it->second;
    }
  }
  return endpoint.provider;
}

std::string_view provider_of_server(const Endpoint& endpoint, std::string_view name) {
  RequestHead head;
  head.host = name;
  head.port = endpoint.port;
  Endpoint by_name_only = endpoint;
  by_name_only.provider.clear();
  if (const std::string_view configured = configured_provider(by_name_only, head); !configured.empty()) {
    // Of the map behind `endpoint.names`, which outlives this call.
    return configured;
  }
  const Claimed claimed = strongest({}, head);
  return claimed.claim >= Claim::kPattern ? claimed.provider->name : std::string_view();
}

Selection select(std::string_view configured, const RequestHead& head) {
  const Claimed claimed = strongest(configured, head);
  const bool known_host = claimed.claim >= Claim::kPort;
  Selection selection;
  if (known_host) {
    selection.provider = claimed.provider;
    selection.decoder = claimed.provider->open(head);
    if (selection.decoder) return selection;
  }
  for (const AgentProtocol* protocol : protocols::registry()) {
    if (protocol->open == nullptr) continue;
    if (auto decoder = protocol->open(head)) return {nullptr, protocol, std::move(decoder), false};
  }
  if (!known_host && claimed.provider != nullptr) {
    if (auto decoder = claimed.provider->open(head)) return {claimed.provider, nullptr, std::move(decoder), true};
  }
  return selection;
}

Selection select_by_body(const RequestHead& head, Json body, const AgentProtocol* before) {
  for (const Evidence evidence : {Evidence::kContent, Evidence::kConnection, Evidence::kNaming}) {
    for (const AgentProtocol* protocol : protocols::registry()) {
      if (protocol->open_body == nullptr || (evidence == Evidence::kConnection && protocol != before)) continue;
      if (auto decoder = protocol->open_body(head, body, evidence))
        return {nullptr, protocol, std::move(decoder), false};
    }
  }
  return {};
}

const Provider* select_host(std::string_view configured, const RequestHead& head) {
  const Claimed claimed = strongest(configured, head);
  return claimed.claim >= Claim::kLocal ? claimed.provider : nullptr;
}

std::unique_ptr<Conversation> select_conversation(std::string_view configured, const RequestHead& head,
                                                  const Provider** provider) {
  const Claimed claimed = strongest(configured, head);
  if (claimed.provider == nullptr || claimed.provider->converse == nullptr) return nullptr;
  *provider = claimed.provider;
  return claimed.provider->converse(head);
}

std::unique_ptr<Conversation> select_line_protocol(const AgentProtocol** protocol) {
  for (const AgentProtocol* candidate : protocols::registry()) {
    if (candidate->converse == nullptr) continue;
    *protocol = candidate;
    return candidate->converse();
  }
  return nullptr;
}

}  // namespace penstock::parsers::session
