#include "userspace/daemon/activity.h"

#include <algorithm>

#include "userspace/ledger/estimate.h"
#include "userspace/ledger/prices.h"
#include "userspace/model/names.h"

namespace penstock::daemon {
namespace {

void add_to(std::optional<std::uint64_t>& sum, const std::optional<std::uint64_t>& value) {
  if (value) sum = sum.value_or(0) + *value;
}

bool left_the_host(const model::Exchange& exchange) {
  switch (exchange.verdict.action) {
    case model::Action::kDeny:
      return false;
    case model::Action::kKill:
      return exchange.status != 0 || exchange.cost.has_value();
    default:
      return true;
  }
}

const std::string& model_name(const model::Exchange& exchange) {
  return exchange.response_model.empty() ? exchange.request_model : exchange.response_model;
}

}  // namespace

void Sums::add(const model::Exchange& exchange) {
  ++calls;
  if (exchange.error || exchange.status >= 400) ++errors;
  tool_calls += exchange.tool_calls.size();
  add_to(input, exchange.usage.input_tokens);
  add_to(output, exchange.usage.output_tokens);
  add_to(cache_read, exchange.usage.cache_read_tokens);
  add_to(cache_write, exchange.usage.cache_write_tokens);
  add_to(reasoning, exchange.usage.reasoning_tokens);
  const bool has_usage = exchange.usage.input_tokens || exchange.usage.output_tokens;
  if (exchange.cost) {
    cost_nano_usd = (model::NanoUsd{cost_nano_usd.value_or(0)} + *exchange.cost).value;
  } else if (has_usage && left_the_host(exchange)) {
    ++unpriced;
  }
  if (exchange.usage_status == model::UsageStatus::kEstimated ||
      exchange.price_status == model::PriceStatus::kEstimated)
    ++estimated;
  if (exchange.usage_status == model::UsageStatus::kIncomplete) ++incomplete;
}

void Sums::write(api::Totals& to) const {
  to.set_calls(calls);
  to.set_errors(errors);
  to.set_unpriced_calls(unpriced);
  to.set_estimated_calls(estimated);
  to.set_tool_calls(tool_calls);
  if (input) to.set_input_tokens(*input);
  if (output) to.set_output_tokens(*output);
  if (cache_read) to.set_cache_read_tokens(*cache_read);
  if (cache_write) to.set_cache_write_tokens(*cache_write);
  if (reasoning) to.set_reasoning_tokens(*reasoning);
  if (cost_nano_usd) to.set_cost_nano_usd(*cost_nano_usd);
}

void LastMinute::add(std::uint64_t now_boot_ns, std::uint64_t tokens, std::int64_t cost) {
  const std::uint64_t number = now_boot_ns / kStepNs;
  Step& step = steps_[number % kSteps];
  if (step.number != number) step = {number, {}};
  ++step.sum.calls;
  step.sum.tokens += tokens;
  step.sum.cost_nano_usd = (model::NanoUsd{step.sum.cost_nano_usd} + model::NanoUsd{cost}).value;
}

LastMinute::Sum LastMinute::sum(std::uint64_t now_boot_ns) const {
  const std::uint64_t number = now_boot_ns / kStepNs;
  Sum out;
  for (const Step& step : steps_) {
    if (step.number + kSteps <= number || step.sum.calls == 0) continue;
    out.calls += step.sum.calls;
    out.tokens += step.sum.tokens;
    out.cost_nano_usd = (model::NanoUsd{out.cost_nano_usd} + model::NanoUsd{step.sum.cost_nano_usd}).value;
  }
  return out;
}

ActivityRow& Activity::row(std::map<std::string, ActivityRow>& rows, const std::string& name) {
  if (const auto it = rows.find(name); it != rows.end()) return it->second;
  if (rows.size() >= kMaxRows) {
    rows.erase(std::min_element(rows.begin(), rows.end(), [](const auto& a, const auto& b) {
      return a.second.last_real_ns < b.second.last_real_ns;
    }));
  }
  ActivityRow& made = rows[name];
  made.first_real_ns = clock_.real_ns();
  return made;
}

void Activity::add_model(std::map<std::pair<std::string, std::string>, ModelRow>& models,
                         const model::Exchange& exchange) {
  std::pair<std::string, std::string> key(exchange.provider, model_name(exchange));
  if (models.size() >= kMaxModels && !models.contains(key)) key = {"_other", "_other"};
  ModelRow& row = models[key];
  row.sums.add(exchange);
  row.minute.add(clock_.boot_ns(), ledger::total_tokens(exchange).value_or(0),
                 exchange.cost ? exchange.cost->value : 0);
  if (exchange.cost || exchange.usage.input_tokens)

    row.price_status = ledger::worst(row.price_status.value_or(exchange.price_status), exchange.price_status);
}

void Activity::add(ActivityRow& row, const model::Exchange& exchange) {
  row.sums.add(exchange);
  row.minute.add(clock_.boot_ns(), ledger::total_tokens(exchange).value_or(0),
                 exchange.cost ? exchange.cost->value : 0);
  row.subject = exchange.subject;
  row.mode = exchange.verdict.mode;
  row.last_real_ns = clock_.real_ns();
  row.last_verdict = model::name(exchange.verdict.action);
  ++row.verdicts[row.last_verdict];
  add_model(row.models, exchange);
}

void Activity::on_exchange(const model::Exchange& exchange) {
  if (exchange.kind == model::Kind::kHttp && exchange.verdict.action == model::Action::kAllow) return;
  total_.add(exchange);
  add(row(agents_, exchange.subject.agent), exchange);
  if (!exchange.subject.run.empty()) add(row(runs_, exchange.subject.run), exchange);
  add_model(models_, exchange);
}

void Activity::on_verdict(const model::Exchange& exchange, const model::Verdict& verdict, bool would,
                          std::string_view text) {
  if (would || verdict.action == model::Action::kAllow || text.empty()) return;
  row(agents_, exchange.subject.agent).last_refusal = text;
  if (!exchange.subject.run.empty()) row(runs_, exchange.subject.run).last_refusal = text;
}

const ActivityRow* Activity::run(const std::string& id) const {
  const auto it = runs_.find(id);
  return it == runs_.end() ? nullptr : &it->second;
}

}  // namespace penstock::daemon
