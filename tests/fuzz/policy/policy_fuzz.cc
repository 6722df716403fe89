// Any bytes as a policy or configuration file: diagnostics or a message, never a crash, a hang or growth. What is
// accepted survives being written and read again, compiles when it claims to, and decides without a crash. Run:
// policy_fuzz CORPUS -max_len=4096
#include <google/protobuf/util/message_differencer.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "userspace/api/config.h"
#include "userspace/api/yaml.h"
#include "userspace/policy/check.h"
#include "userspace/policy/policy.h"

namespace {

using namespace penstock;

void require(bool truth) {
  if (!truth) std::abort();
}

policy::Support full_support() {
  policy::Support s;
  s.cluster = s.approvals = s.loops = s.delegation = s.tools = s.http2_holds = s.kubernetes = true;
  return s;
}

void policies(std::string_view text) {
  const policy::LoadedPolicies loaded = policy::read_policies(text, "fuzz.yaml", full_support());
  for (const api::Diagnostic& d : loaded.diagnostics) require(!d.text().empty() && d.text().size() < 4096);
  if (api::has_errors(loaded.diagnostics)) return;

  std::string written;
  for (const api::Policy& p : loaded.set.policies()) written += "---\n" + api::write_yaml(p, true);
  const policy::LoadedPolicies again = policy::read_policies(written, "again.yaml", full_support());
  require(written.size() > api::YamlOptions{}.max_bytes ||
          google::protobuf::util::MessageDifferencer::Equals(loaded.set, again.set));
  require(policy::diff(loaded.set, loaded.set).empty());

  auto compiled = policy::compile(loaded.set, {}, full_support());
  require(compiled.has_value());
  model::Exchange e;
  e.kind = model::Kind::kLlm;
  e.provider = "openai";
  e.request_model = "gpt-5";
  e.subject.agent = "a";
  const policy::Effective effective = policy::effective(*compiled, e.subject);
  policy::LedgerOutcome ledger;
  ledger.priced = false;
  if (!policy::budgets(**compiled).empty()) ledger.breaches.emplace_back();
  const policy::Decision decision = policy::decide(e, effective, ledger);
  require(decision.verdict.action == model::Action::kAllow || decision.finding.has_value());
  require(!policy::explain(effective).empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  policies(text);
  const api::LoadedConfig config = api::read_config(text, "fuzz.yaml");
  if (!api::has_errors(config.diagnostics))
    require(google::protobuf::util::MessageDifferencer::Equals(
        api::read_config(api::write_yaml(config.config, true), "again.yaml").config, config.config));
  return 0;
}
