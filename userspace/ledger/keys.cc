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
  std::string_view (*value)(const model::Exchange&);
};

constexpr auto kDimensions = std::to_array<Dimension>({
    {"agent", [](const model::Exchange& e) -> std::string_view { return e.subject.agent; }},
    {"run", [](const model::Exchange& e) -> std::string_view { return e.subject.run; }},
    {"user", [](const model::Exchange& e) -> std::string_view { return e.subject.user; }},
    {"exe", [](const model::Exchange& e) -> std::string_view { return e.subject.exe; }},
    {"cgroup", [](const model::Exchange& e) -> std::string_view { return e.subject.cgroup; }},
    {"namespace", [](const model::Exchange& e) -> std::string_view { return e.subject.ns; }},
    {"pod", [](const model::Exchange& e) -> std::string_view { return e.subject.pod; }},
    {"container", [](const model::Exchange& e) -> std::string_view { return e.subject.container; }},
    {"unit", [](const model::Exchange& e) -> std::string_view { return e.subject.unit; }},
    {"model", [](const model::Exchange& e) -> std::string_view { return e.request_model; }},
    {"provider", [](const model::Exchange& e) -> std::string_view { return e.provider; }},
    {"host", [](const model::Exchange& e) -> std::string_view { return e.host; }},
    {"kind", [](const model::Exchange& e) -> std::string_view { return model::name(e.kind); }},
    {"tool", [](const model::Exchange& e) -> std::string_view {
       return e.tool_calls.empty() ? std::string_view{} : std::string_view(e.tool_calls.front().name);
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
  std::string key;
  for (const std::string& name : per) {
    if (!key.empty()) key.push_back(',');
    key += name;
    key.push_back('=');
    if (std::string_view(name).starts_with(kLabelPrefix)) {
      const auto label = exchange.subject.labels.find(name.substr(kLabelPrefix.size()));
      if (label != exchange.subject.labels.end()) append_value(key, label->second);
      continue;
    }
    for (const Dimension& d : kDimensions)
      if (d.name == name) append_value(key, d.value(exchange));
  }
  return key;
}

}  // namespace penstock::ledger
