// penstock coverage: whose traffic is seen in the clear, whose is not, and why.
#include <fmt/format.h>
#include <unistd.h>

#include "cli/app.h"
#include "cli/output.h"
#include "cli/table.h"
#include "userspace/api/selector.h"

namespace penstock::cli {

void add_coverage(CLI::App& app, Context& context) {
  auto* sub = command(app, "coverage", "whose traffic is seen in the clear, whose is not, and why",
                      "  penstock coverage\n"
                      "  penstock coverage --gaps              only processes with something unseen\n"
                      "  penstock coverage agent=crawler -o jsonl");
  socket_option(*sub, context);
  output_option(*sub, context);
  auto selector = std::make_shared<std::string>();
  auto gaps = std::make_shared<bool>(false);
  sub->add_option("selector", *selector, "only these: agent=, exe=, pid=, …");
  sub->add_flag("--gaps", *gaps, "leave out what is covered");
  sub->callback([&context, selector, gaps] {
    context.run = [&context, selector, gaps]() -> base::Result<int> {
      api::ListCoverageRequest request;
      if (!selector->empty()) {
        PN_TRY(*request.mutable_selector(), api::parse_selector(*selector));
      }
      PN_TRY(auto list, api::Client(context.socket).call<api::CoverageList>(request));
      if (*gaps)
        for (int i = list.rows_size(); i-- > 0;)
          if (list.rows(i).state() == "covered") list.mutable_rows()->DeleteSubrange(i, 1);
      if (context.output() != Format::kTable) return print_message(context, list, "rows"), 0;
      Table table({{"PID", Align::kRight},
                   {"EXE", Align::kLeft, 12},
                   {"RUNTIME", Align::kLeft, 7},
                   {"STATE"},
                   {"SEEN", Align::kRight},
                   {"UNSEEN", Align::kRight},
                   {"REASON", Align::kLeft, 10}});
      for (const auto& r : list.rows()) {
        const Tone tone = r.state() == "covered" ? Tone::kGood : r.state() == "partial" ? Tone::kWarn : Tone::kBad;
        table.row({std::to_string(r.pid()),
                   r.exe(),
                   r.has_runtime() ? r.runtime() : kUnknown,
                   {r.state(), tone},
                   short_count(r.plaintext_bytes()),
                   short_count(r.opaque_bytes()),
                   r.has_reason() ? r.reason() : ""});
      }
      if (table.empty())
        print_note(*gaps ? "nothing is unseen" : "no process has talked to anybody yet");
      else
        write_out(table.text(terminal_width(STDOUT_FILENO), color_on(STDOUT_FILENO)));
      return 0;
    };
  });
}

}  // namespace penstock::cli
