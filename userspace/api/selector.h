// Selectors as people write them: "agent=NAME", "run=ID", "user=…", "exe=…", "cgroup=…", "unit=…", "namespace=…",
// "pod=…", "container=…", "model=…", "provider=…", "pid=N", "exchange=N", "all". Text values are globs (glob.h): a name
// that holds `*`, `?` or `\` itself is written with `\` before it. Pure functions; thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "userspace/api/control.pb.h"
#include "userspace/base/result.h"
#include "userspace/model/exchange.h"

namespace penstock::api {

base::Result<Selector> parse_selector(std::string_view text);  // kUsage with the nearest kind
std::string format_selector(const Selector& selector);         // "" when it selects nothing
// An unset selector matches everything. An attribute that is unknown is matched by nothing, not even by `*`; a cgroup
// also by a selector of one above it; letters of models and providers match in either case. A model selector matches
// the request's or the response's model.
bool matches(const Selector& selector, const model::Exchange& exchange);
bool matches(const Selector& selector, const model::Subject& subject);  // model, provider, exchange: false

}  // namespace penstock::api
