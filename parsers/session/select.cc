#include "parsers/session/select.h"

#include <string>

#include "parsers/dialects/hosts.h"
#include "parsers/protocols/registry.h"
#include "parsers/providers/registry.h"

namespace penstock::parsers::session {
namespace {

bool stronger(const Claimed& a, const Claimed& b) {
  return a.claim > b.claim || (a.claim == b.claim && a.order < b.order);
}

// What the host alone says. A provider that is configured for it has it, whatever others claim.
Claimed claimed_by_host(std::string_view configured, std::string_view host) {
  Claimed best;
  const auto all = providers::registry();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!configured.empty() && all[i]->name == configured) return {all[i], Claim::kPath, 0};
    const Claimed claimed{all[i], dialects::claim_by_host(all[i]->hosts, host), i};
    if (claimed.claim != Claim::kNone && stronger(claimed, best)) best = claimed;
  }
  return best;
}

// The few providers that are not known by their host alone have their say, unless nothing can be stronger.
Claimed strongest(Claimed best, const RequestHead& head) {
  const auto all = providers::registry();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i]->claim == nullptr) continue;
    const Claimed claimed{all[i], all[i]->claim(head), i};
    if (claimed.claim != Claim::kNone && stronger(claimed, best)) best = claimed;
  }
  return best;
}

Claimed strongest(std::string_view configured, const RequestHead& head) {
  return strongest(claimed_by_host(configured, head.host), head);
}

// What the `endpoints:` configuration says about this authority, else about the connection; empty: nothing.
std::string_view configured_provider(const Endpoint& endpoint, std::string_view host, std::uint16_t port) {
  if (endpoint.names != nullptr) {
    const bool v6 = host.find(':') != std::string_view::npos;
    const std::string plain(host), name = v6 ? "[" + plain + "]" : plain;
    for (const std::string& wanted : {name + ":" + std::to_string(port), name, plain})
      if (const auto it = endpoint.names->find(wanted); it != endpoint.names->end()) return it->second;
  }
  return endpoint.provider;
}

}  // namespace

std::string_view provider_of_server(const Endpoint& endpoint, std::string_view name) {
  RequestHead head;
  head.host = name;
  head.port = endpoint.port;
  Endpoint by_name_only = endpoint;
  by_name_only.provider.clear();
  if (const std::string_view configured = configured_provider(by_name_only, name, endpoint.port); !configured.empty()) {
    // Of the map behind `endpoint.names`, which outlives this call.
    return configured;
  }
  const Claimed claimed = strongest(std::string_view(), head);
  return claimed.claim >= Claim::kPattern ? claimed.provider->name : std::string_view();
}

Selection Selector::select(const RequestHead& head) {
  if (!asked_ || host_ != head.host || port_ != head.port) {
    by_host_ = claimed_by_host(configured_provider(endpoint_, head.host, head.port), head.host);
    host_ = head.host;
    port_ = head.port;
    asked_ = true;
  }
  const Claimed claimed = strongest(by_host_, head);
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
