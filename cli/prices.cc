// penstock prices: what a model costs, as the daemon's catalog has it.
#include <fmt/format.h>
#include <unistd.h>

#include "cli/app.h"
#include "cli/output.h"
#include "cli/table.h"

namespace penstock::cli {
namespace {

std::string rate(bool has, std::int64_t nano_usd_per_million) {
  return has ? "$" + model::format_usd(model::NanoUsd{nano_usd_per_million}) : kUnknown;
}

}  // namespace

void add_prices(CLI::App& app, Context& context) {
  auto* sub = command(app, "prices", "what models cost, in dollars per million tokens",
                      "  penstock prices gpt-5-mini\n"
                      "  penstock prices --provider anthropic");
  socket_option(*sub, context);
  output_option(*sub, context);
  auto model = std::make_shared<std::string>(), provider = std::make_shared<std::string>();
  sub->add_option("model", *model, "only this model");
  sub->add_option("--provider", *provider, "only this provider")->type_name("NAME");
  sub->callback([&context, model, provider] {
    context.run = [&context, model, provider]() -> base::Result<int> {
      api::ListPricesRequest request;
      if (!model->empty()) request.set_model(*model);
      if (!provider->empty()) request.set_provider(*provider);
      PN_TRY(const auto list, api::Client(context.socket).call<api::PriceList>(request));
      if (context.output() != Format::kTable) return print_message(context, list, "prices"), 0;
      Table table({{"PROVIDER"},
                   {"MODEL", Align::kLeft, 16},
                   {"INPUT", Align::kRight},
                   {"OUTPUT", Align::kRight},
                   {"CACHE READ", Align::kRight},
                   {"CACHE WRITE", Align::kRight}});
      for (const auto& p : list.prices())
        table.row({p.provider(), p.model(), rate(p.has_input_nano_usd_per_million(), p.input_nano_usd_per_million()),
                   rate(p.has_output_nano_usd_per_million(), p.output_nano_usd_per_million()),
                   rate(p.has_cache_read_nano_usd_per_million(), p.cache_read_nano_usd_per_million()),
                   rate(p.has_cache_write_nano_usd_per_million(), p.cache_write_nano_usd_per_million())});
      if (table.empty())
        return base::Error{base::ErrorCode::kNotFound, 0, "no price is known for that",
                           "budgets in dollars refuse such models; see `unpriced:` of a policy"};
      write_out(table.text(terminal_width(STDOUT_FILENO), color_on(STDOUT_FILENO)));
      return 0;
    };
  });
}

}  // namespace penstock::cli
