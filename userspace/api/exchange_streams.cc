#include "userspace/api/exchange_streams.h"

#include <fmt/format.h>

#include <algorithm>

#include "userspace/api/exchange_json.h"
#include "userspace/api/selector.h"
#include "userspace/model/names.h"

namespace penstock::api {
namespace {

bool wanted(const ObserveRequest& request, const model::Exchange& exchange) {
  return (!request.has_kind() || request.kind() == model::name(exchange.kind)) && matches(request.selector(), exchange);
}

}  // namespace

base::Result<> ExchangeStreams::open(const ObserveRequest& request, std::shared_ptr<LineStream> stream) {
  if (request.has_kind()) {
    bool known = false;
    for (const auto kind : {model::Kind::kHttp, model::Kind::kLlm, model::Kind::kMcp, model::Kind::kA2a})
      known = known || request.kind() == model::name(kind);
    if (!known)
      return base::Error{base::ErrorCode::kUsage, 0, fmt::format("unknown kind \"{}\"", request.kind()),
                         "kinds are llm, mcp, a2a, http"};
  }
  std::erase_if(followers_, [](const Follower& follower) { return !follower.stream->open(); });
  std::vector<std::shared_ptr<const std::string>> lines;
  std::size_t limit = request.has_last() ? request.last() : request.follow() ? 0 : keep_;
  for (auto kept = kept_.rbegin(); kept != kept_.rend() && limit > 0; ++kept) {
    if (!wanted(request, kept->exchange)) continue;
    lines.push_back(line_of(*kept));
    --limit;
  }
  for (auto line = lines.rbegin(); line != lines.rend(); ++line) stream->send(std::move(*line));
  if (request.follow())
    followers_.push_back({request, std::move(stream)});
  else
    stream->finish();
  return {};
}

const std::shared_ptr<const std::string>& ExchangeStreams::line_of(Kept& kept) {
  if (!kept.line) {
    std::string text;
    append_exchange_json(text, kept.exchange);
    text += '\n';
    kept.line = std::make_shared<const std::string>(std::move(text));
  }
  return kept.line;
}

void ExchangeStreams::publish(const model::Exchange& finished) {
  if (kept_.size() < std::max<std::size_t>(keep_, 1)) {
    kept_.push_back({finished, nullptr});
  } else {
    kept_.splice(kept_.end(), kept_, kept_.begin());
    kept_.back().exchange = finished;
    kept_.back().line.reset();
  }
  std::erase_if(followers_, [&](const Follower& follower) {
    return wanted(follower.request, finished) && !follower.stream->send(line_of(kept_.back()));
  });
}

}  // namespace penstock::api
