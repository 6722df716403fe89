#include "cli/run_summary.h"

#include <fmt/format.h>

#include <map>

#include "cli/output.h"
#include "cli/table.h"
#include "userspace/base/utf8.h"

namespace penstock::cli {
namespace {

std::string with_limits(const api::RunSummary& run) {
  std::string out = cost(run.totals());
  for (const auto& b : run.budgets())
    if (b.has_nano_usd())
      out += fmt::format(" of {}{}", short_usd(b.nano_usd().limit()), b.name().empty() ? "" : " (" + b.name() + ")");
  return out;
}

std::string coverage(const api::RunSummary& run) {
  std::string gaps;
  int covered = 0, others = 0;
  for (const auto& row : run.coverage()) {
    if (row.state() == "covered") {
      ++covered;
      continue;
    }
    if (++others <= 3)
      gaps += fmt::format("{}{} (pid {}) {}{}", gaps.empty() ? "" : "; ", row.exe(), row.pid(), row.state(),
                          row.has_reason() ? ": " + row.reason() : "");
  }
  if (others > 3) gaps += fmt::format("; and {} more (`penstock coverage`)", others - 3);
  if (others == 0) return covered == 0 ? "no connection was seen" : "complete";
  return gaps;
}

}  // namespace

std::string summary_text(const api::RunSummary& run, int exit_code, bool color) {
  std::string out;
  const auto line = [&](std::string_view label, const std::string& value, Tone tone = Tone::kPlain) {
    out += fmt::format("  {:<10}{}\n", label, paint(base::printable_utf8(value), tone, color));
  };
  const std::uint64_t took = run.has_ended_real_ns() && run.ended_real_ns() > run.started_real_ns()
                                 ? static_cast<std::uint64_t>(run.ended_real_ns() - run.started_real_ns())
                                 : 0;
  out += paint(fmt::format("penstock: run {} of {} ended after {} with exit code {}", run.run(), run.agent(),
                           duration(took), exit_code),
               Tone::kDim, color) +
         "\n";
  const api::Totals& t = run.totals();
  std::string calls = long_count(t.calls());
  if (t.errors() > 0) calls += fmt::format(", {} of them errors", long_count(t.errors()));
  if (t.tool_calls() > 0) calls += fmt::format(", {} tool calls", long_count(t.tool_calls()));
  if (t.in_flight() > 0) calls += fmt::format(", {} unfinished", long_count(t.in_flight()));
  line("calls", calls);
  std::string tokens = fmt::format("{} in", known(t.has_input_tokens(), t.input_tokens(), long_count));
  if (t.has_cache_read_tokens()) tokens += fmt::format(" ({} cached)", long_count(t.cache_read_tokens()));
  tokens += fmt::format(", {} out", known(t.has_output_tokens(), t.output_tokens(), long_count));
  if (t.has_reasoning_tokens()) tokens += fmt::format(" ({} reasoning)", long_count(t.reasoning_tokens()));
  if (t.estimated_calls() > 0) tokens += fmt::format("; {} calls estimated", long_count(t.estimated_calls()));
  line("tokens", tokens);
  line("cost", with_limits(run) + (t.unpriced_calls() > 0
                                       ? fmt::format("; {} calls without a known price", long_count(t.unpriced_calls()))
                                       : ""));
  bool first = true;
  for (const auto& m : run.models()) {
    line(first ? "models" : "",
         fmt::format("{}  {} calls, {} in, {} out, {}", m.has_model() ? m.model() : kUnknown,
                     long_count(m.totals().calls()), tokens_in(m.totals()), tokens_out(m.totals()), cost(m.totals())));
    first = false;
  }
  const std::map<std::string, std::uint64_t> verdicts(run.verdicts().begin(), run.verdicts().end());
  std::string list;
  bool refused = false;
  for (const auto& [action, n] : verdicts) {
    list += fmt::format("{}{} {}", list.empty() ? "" : ", ", long_count(n), action);
    refused = refused || ((action == "deny" || action == "cut" || action == "kill") && n > 0);
  }
  if (run.has_last_refusal()) list += fmt::format(" ({})", run.last_refusal());
  line("verdicts", list.empty() ? "none" : list, refused ? Tone::kBad : Tone::kPlain);
  const std::string seen = coverage(run);
  line("coverage", seen, seen == "complete" ? Tone::kGood : Tone::kWarn);
  const std::string lost = losses(run.losses());
  line("lost", lost.empty() ? "nothing" : lost, lost.empty() ? Tone::kPlain : Tone::kWarn);
  return out;
}

}  // namespace penstock::cli
