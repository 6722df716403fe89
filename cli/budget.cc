// penstock budget list|set|reset.
#include <fmt/format.h>
#include <unistd.h>

#include <ctime>

#include "cli/app.h"
#include "cli/output.h"
#include "cli/table.h"
#include "userspace/api/selector.h"

namespace penstock::cli {
namespace {

std::string until(const api::BudgetState& b) {
  if (!b.has_resets_real_ns()) return b.window().empty() ? "never" : kUnknown;
  const auto now = static_cast<std::int64_t>(std::time(nullptr)) * 1'000'000'000;
  return b.resets_real_ns() <= now ? "now" : "in " + duration(static_cast<std::uint64_t>(b.resets_real_ns() - now));
}

void print_budgets(const Context& context, const api::BudgetList& list) {
  if (context.output() != Format::kTable) return print_message(context, list, "budgets");
  Table table({{"BUDGET", Align::kLeft, 10},
               {"KEY", Align::kLeft, 8},
               {"LIMIT", Align::kRight},
               {"SPENT", Align::kRight},
               {"HELD BACK", Align::kRight},
               {"LEFT", Align::kRight},
               {"USED", Align::kRight},
               {"RESETS", Align::kLeft, 8}});
  for (const auto& b : list.budgets()) {
    const std::string name = b.policy().empty() ? b.name() : b.policy() + "/" + b.name();
    const auto row = [&](const api::Meter& m, auto show) {
      const Tone tone = b.state() == "breached" ? Tone::kBad : b.state() == "soft" ? Tone::kWarn : Tone::kPlain;
      table.row({name,
                 b.key().empty() ? "all" : b.key(),
                 show(m.limit()),
                 show(m.spent()),
                 show(m.reserved()),
                 show(m.remaining()),
                 {percent(m.spent() + m.reserved(), m.limit()), tone},
                 until(b)});
    };
    const auto count = [](std::int64_t n) {
      return n < 0 ? "-" + short_count(0 - static_cast<std::uint64_t>(n)) : short_count(static_cast<std::uint64_t>(n));
    };
    if (b.has_nano_usd()) row(b.nano_usd(), short_usd);
    if (b.has_tokens()) row(b.tokens(), [&](std::int64_t n) { return count(n) + " tok"; });
    if (b.has_requests()) row(b.requests(), [&](std::int64_t n) { return count(n) + " req"; });
  }
  if (table.empty())
    print_note("no budget matches; budgets come from policies (`penstock policy apply`) and from `penstock run`");
  else
    write_out(table.text(terminal_width(STDOUT_FILENO), color_on(STDOUT_FILENO)));
}

struct Which {
  std::string name, policy, key, reason;
  template <class Request>
  Request request() const {
    Request r;
    r.set_name(name);
    if (!policy.empty()) r.set_policy(policy);
    if (!key.empty()) r.set_key(key);
    if (!reason.empty()) r.set_reason(reason);
    return r;
  }
};

std::shared_ptr<Which> which_options(CLI::App& app) {
  auto which = std::make_shared<Which>();
  app.add_option("name", which->name, "name of the budget, or POLICY/NAME")->required();
  app.add_option("--policy", which->policy, "its policy, where the name alone is not unique")->type_name("NAME");
  app.add_option("--key", which->key, "only this key, as `budget list` shows it (default: every key)")
      ->type_name("KEY");
  app.add_option("--reason", which->reason, "why; goes to the audit log")->type_name("TEXT");
  app.parse_complete_callback([which] {
    if (const std::size_t slash = which->name.find('/'); slash != std::string::npos && which->policy.empty()) {
      which->policy = which->name.substr(0, slash);
      which->name.erase(0, slash + 1);
    }
  });
  return which;
}

void add_list(CLI::App& budget, Context& context) {
  auto* sub = command(
      budget, "list", "limits, spend and what is left",
      "  penstock budget list\n  penstock budget list --name daily agent=crawler\n  penstock budget list -o jsonl");
  socket_option(*sub, context);
  output_option(*sub, context);
  auto selector = std::make_shared<std::string>(), name = std::make_shared<std::string>(),
       policy = std::make_shared<std::string>();
  sub->add_option("selector", *selector, "budgets that cover this: agent=, run=, user=, …");
  sub->add_option("--name", *name, "budgets of this name")->type_name("NAME");
  sub->add_option("--policy", *policy, "budgets of this policy")->type_name("NAME");
  sub->callback([&context, selector, name, policy] {
    context.run = [&context, selector, name, policy]() -> base::Result<int> {
      api::ListBudgetsRequest request;
      if (!selector->empty()) {
        PN_TRY(*request.mutable_selector(), api::parse_selector(*selector));
      }
      if (!name->empty()) request.set_name(*name);
      if (!policy->empty()) request.set_policy(*policy);
      PN_TRY(const auto list, api::Client(context.socket).call<api::BudgetList>(request));
      print_budgets(context, list);
      return 0;
    };
  });
}

void add_set(CLI::App& budget, Context& context) {
  auto* sub =
      command(budget, "set", "change a limit until the policy is applied again; held requests that fit now go out",
              "  penstock budget set daily --usd 50\n"
              "  penstock budget set research-team/burst --tokens 400k --key agent=crawler\n"
              "  penstock budget set calls --requests 1000 --reason \"load test\"");
  socket_option(*sub, context);
  output_option(*sub, context);
  auto which = which_options(*sub);
  auto usd = std::make_shared<std::string>(), tokens = std::make_shared<std::string>(),
       requests = std::make_shared<std::string>();
  sub->add_option("--usd", *usd, "limit in US dollars")->type_name("X");
  sub->add_option("--tokens", *tokens, "limit in tokens (200k, 2M)")->type_name("N");
  sub->add_option("--requests", *requests, "limit in requests")->type_name("N");
  sub->callback([&context, which, usd, tokens, requests] {
    context.run = [&context, which, usd, tokens, requests]() -> base::Result<int> {
      auto request = which->request<api::SetBudgetRequest>();
      if (usd->empty() && tokens->empty() && requests->empty())
        return base::Error{base::ErrorCode::kUsage, 0, "which limit?", "give --usd X, --tokens N or --requests N"};
      if (!usd->empty()) {
        PN_TRY(const auto amount, parse_money(*usd));
        request.set_limit_nano_usd(amount.value);
      }
      if (!tokens->empty()) {
        PN_TRY(const auto n, parse_number(*tokens));
        request.set_limit_tokens(n);
      }
      if (!requests->empty()) {
        PN_TRY(const auto n, parse_number(*requests));
        request.set_limit_requests(n);
      }
      PN_TRY(const auto list, api::Client(context.socket).call<api::BudgetList>(request));
      print_budgets(context, list);
      return 0;
    };
  });
}

void add_reset(CLI::App& budget, Context& context) {
  auto* sub = command(budget, "reset", "forget what was spent in the current window; held requests that fit now go out",
                      "  penstock budget reset daily\n"
                      "  penstock budget reset daily --key agent=crawler --reason \"wrong price\"");
  socket_option(*sub, context);
  output_option(*sub, context);
  auto which = which_options(*sub);
  sub->callback([&context, which] {
    context.run = [&context, which]() -> base::Result<int> {
      PN_TRY(const auto list,
             api::Client(context.socket).call<api::BudgetList>(which->request<api::ResetBudgetRequest>()));
      print_budgets(context, list);
      return 0;
    };
  });
}

}  // namespace

void add_budget(CLI::App& app, Context& context) {
  auto* sub = command(app, "budget", "limits in dollars, tokens and requests",
                      "  penstock budget list\n"
                      "  penstock budget set daily --usd 50\n"
                      "  penstock budget reset daily --key agent=crawler");
  sub->require_subcommand(1);
  add_list(*sub, context);
  add_set(*sub, context);
  add_reset(*sub, context);
}

}  // namespace penstock::cli
