// Budget keys: which values of a call name the account it is charged to.
#include <fmt/format.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>

#include "userspace/ledger/ledger.h"
#include "userspace/model/names.h"

namespace penstock::ledger {
namespace {

constexpr std::size_t kMaxValueBytes = 256;
constexpr std::string_view kLabelPrefix = "label.";

struct Dimension {
  std::string_view name;
  std::string_view (*value)(const model::Exchange&, const model::Subject&);
};

constexpr auto kDimensions = std::to_array<Dimension>({
    {"agent", [](const model::Exchange&, const model::Subject& s) -> std::string_view { return s.agent; }},
    {"run", [](const model::Exchange&, const model::Subject& s) -> std::string_view { return s.run; }},
    {"user", [](const model::Exchange&, const model::Subject& s) -> std::string_view { return s.user; }},
    {"exe", [](const model::Exchange&, const model::Subject& s) -> std::string_view { return s.exe; }},
    {"cgroup", [](const model::Exchange&, const model::Subject& s) -> std::string_view { return s.cgroup; }},
    {"namespace", [](const model::Exchange&, const model::Subject& s) -> std::string_view { return s.ns; }},
    {"pod", [](const model::Exchange&, const model::Subject& s) -> std::string_view { return s.pod; }},
    {"container", [](const model::Exchange&, const model::Subject& s) -> std::string_view { return s.container; }},
    {"unit", [](const model::Exchange&, const model::Subject& s) -> std::string_view { return s.unit; }},
    {"model", [](const model::Exchange& e, const model::Subject&) -> std::string_view { return e.request_model; }},
    {"provider", [](const model::Exchange& e, const model::Subject&) -> std::string_view { return e.provider; }},
    {"host", [](const model::Exchange& e, const model::Subject&) -> std::string_view { return e.host; }},
    {"kind", [](const model::Exchange& e, const model::Subject&) -> std::string_view { return model::name(e.kind); }},
    {"tool",
     [](const model::Exchange& e, const model::Subject&) -> std::
                                                             string_view {
                                                               return e.tool_calls.empty()
                                                                          ? std::string_view{}
                                                                          : std::string_view(e.tool_calls.front().name);
                                                             }},
});

void append_value(std::string& out, std::string_view value) {
  std::string shortened;
  if (value.size() > kMaxValueBytes) {
    // Shortened values must stay distinct: the agent chooses some of them.
    std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
    ::SHA256(reinterpret_cast<const unsigned char*>(value.data()), value.size(), digest.data());
    shortened = std::string(value.substr(0, kMaxValueBytes - 34)) + "~";
    for (std::size_t i = 0; i < 16; ++i) shortened += fmt::format("{:02x}", digest[i]);
    value = shortened;
  }
  for (char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == ',' || c == '=' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out.push_back(c);
    }
  }
}

}  // namespace

bool is_dimension(std::string_view name) {
  if (name.starts_with(kLabelPrefix)) return name.size() > kLabelPrefix.size();
  return std::any_of(kDimensions.begin(), kDimensions.end(), [&](const Dimension& d) { return d.name == name; });
}

std::string key_of(const std::vector<std::string>& per, const model::Exchange& exchange) {
  return key_of(per, exchange, exchange.subject);
}

std::string key_of(const std::vector<std::string>& per, const model::Exchange& exchange, const model::Subject& payer) {
  std::string key;
  for (const std::string& name : per) {
    if (!key.empty()) key.push_back(',');
    key += name;
    key.push_back('=');
    if (std::string_view(name).starts_with(kLabelPrefix)) {
      const auto label = payer.labels.find(name.substr(kLabelPrefix.size()));
      if (label != payer.labels.end()) append_value(key, label->second);
      continue;
    }
    for (const Dimension& d : kDimensions)
      if (d.name == name) append_value(key, d.value(exchange, payer));
  }
  return key;
}

}  // namespace penstock::ledger
