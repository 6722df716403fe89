// Shared by the tests of this folder: policies from text, requests in one line.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "userspace/policy/check.h"
#include "userspace/policy/policy.h"

namespace penstock::policy::testing {

// Everything that the engine can judge, whatever this build enforces.
inline Support full_support() {
  Support s;
  s.cluster = s.approvals = s.loops = s.delegation = s.tools = s.http2_holds = s.kubernetes = true;
  return s;
}

inline std::string complaints(const std::vector<api::Diagnostic>& diagnostics) {
  std::string all;
  for (const api::Diagnostic& d : diagnostics) all += d.text() + "\n";
  return all;
}

// `text` holds policies without `kind:`; documents are separated by "---".
inline api::PolicySet parse(std::string_view text) {
  std::string with_kind = "kind: Policy\n";
  for (char c : text) {
    with_kind += c;
    if (with_kind.ends_with("---\n")) with_kind += "kind: Policy\n";
  }
  LoadedPolicies loaded = read_policies(with_kind, "p.yaml", full_support());
  EXPECT_FALSE(api::has_errors(loaded.diagnostics)) << complaints(loaded.diagnostics) << with_kind;
  return loaded.set;
}

inline std::shared_ptr<const CompiledPolicies> compiled(std::string_view text, const Defaults& defaults = {}) {
  auto policies = compile(parse(text), defaults, full_support());
  EXPECT_TRUE(policies) << policies.error().what;
  return policies ? *policies : nullptr;
}

inline model::Subject subject(std::string agent) {
  model::Subject s;
  s.agent = std::move(agent);
  s.user = "dev";
  return s;
}

inline model::Exchange model_call(std::string provider, std::string model) {
  model::Exchange e;
  e.kind = model::Kind::kLlm;
  e.provider = std::move(provider);
  e.operation = "chat";
  e.request_model = std::move(model);
  e.host = "api.example.com";
  e.request.body_bytes = 100;
  return e;
}

inline model::Exchange tool_call(std::string tool) {
  model::Exchange e;
  e.kind = model::Kind::kMcp;
  e.operation = "tools/call";
  e.tool_calls.push_back({std::string("1"), std::move(tool)});
  return e;
}

}  // namespace penstock::policy::testing
