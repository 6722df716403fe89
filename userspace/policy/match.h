// Whether policies' matches and rules speak of a subject or a request. Pure functions.
#pragma once

#include "userspace/api/policy.pb.h"
#include "userspace/model/exchange.h"

namespace penstock::policy {

// A request to a model, a tool or an agent. Unrecognised HTTP to a known provider counts as one: it must not slip past
// rules.
bool is_ai(const model::Exchange& exchange);

bool matches(const api::Match& match, const model::Subject& subject);
// Whether the match asks for anything that not everybody has; `beyond_user`: for anything but a user.
bool singles_out(const api::Match& match, bool beyond_user);

// How a set of request keys is applied. Keys about model calls (provider, model) say nothing about tool calls and the
// other way round: a set with both speaks of each kind by itself; a set with keys of one kind does not speak of the
// other.
enum class Reading {
  kAny,     // deny, approve, unless, only: one matching tool call of several is enough
  kAll,     // allow: every tool call must match; MCP's own upkeep (initialize, ping, lists) passes with any `tool`
  kStrict,  // deny in strict mode: like kAny, and a request whose model could not be read matches any `model`
};
bool matches(const api::RequestMatch& match, const model::Exchange& exchange, Reading reading);

bool matches(const api::Condition& condition, const model::Exchange& exchange, const model::Subject& subject,
             Reading reading);
// `when` matches and `unless` does not.
bool matches(const api::Target& target, const model::Exchange& exchange, const model::Subject& subject,
             Reading reading);

}  // namespace penstock::policy
