// Names and addresses of servers: patterns of host lists, and what counts as local.
#pragma once

#include <span>
#include <string_view>

#include "parsers/dialects/provider.h"

namespace penstock::parsers::dialects {

// "*" stands for any run of characters, dots included; everything else is literal. Both sides lower case.
bool host_matches(std::string_view pattern, std::string_view host);
// kHost for a name of the list, kPattern for a wildcard of it, else kNone.
Claim claim_by_host(std::span<const std::string_view> hosts, std::string_view host);
// localhost, *.localhost, or an IP literal (v4, or v6 with or without brackets).
bool is_local(std::string_view host);

}  // namespace penstock::parsers::dialects
