// penstock coverage: whose traffic to AI endpoints is seen in the clear, whose is not, why, and what would help.
#include <fmt/format.h>
#include <unistd.h>

#include <map>
#include <string>

#include "cli/app.h"
#include "cli/output.h"
#include "cli/table.h"
#include "userspace/api/selector.h"

namespace penstock::cli {
namespace {

Cell state_cell(const api::CoverageRow& r) {
  const Tone tone = r.state() == "covered" ? Tone::kGood : r.state() == "partial" ? Tone::kWarn : Tone::kBad;
  return {r.state(), tone};
}

Table talk_table(const api::CoverageList& list) {
  Table table({{"PID", Align::kRight},
               {"EXE", Align::kLeft, 12},
               {"TARGET", Align::kLeft, 14},
               {"RUNTIME", Align::kLeft, 7},
               {"STATE"},
               {"SEEN", Align::kRight},
               {"UNSEEN", Align::kRight},
               {"~TOKENS", Align::kRight},
               {"SINCE"},
               {"REASON", Align::kLeft, 10}});
  for (const auto& r : list.rows())
    table.row({std::to_string(r.pid()), r.exe(), r.has_target() ? r.target() + (r.ech() ? " (ech)" : "") : kUnknown,
               r.has_runtime() ? r.runtime() : kUnknown, state_cell(r), short_count(r.plaintext_bytes()),
               short_count(r.opaque_bytes()),
               r.has_estimated_opaque_tokens() ? short_count(r.estimated_opaque_tokens()) : "",
               r.has_since_real_ns() ? clock_time(r.since_real_ns()) : kUnknown, r.has_reason() ? r.reason() : ""});
  return table;
}

Table image_table(const api::CoverageList& list) {
  Table table({{"PID", Align::kRight},
               {"EXE", Align::kLeft, 12},
               {"RUNTIME", Align::kLeft, 7},
               {"STATE"},
               {"IMAGE", Align::kLeft, 12},
               {"REASON", Align::kLeft, 10}});
  for (const auto& r : list.rows())
    table.row({std::to_string(r.pid()), r.exe(), r.has_runtime() ? r.runtime() : kUnknown, state_cell(r), r.image(),
               r.has_reason() ? r.reason() : ""});
  return table;
}

}  // namespace

void add_coverage(CLI::App& app, Context& context) {
  auto* sub = command(app, "coverage", "whose traffic is seen in the clear, whose is not, and why",
                      "  penstock coverage\n"
                      "  penstock coverage --gaps              only where something is unseen\n"
                      "  penstock coverage --images            programs with a TLS runtime, whether or not they talk\n"
                      "  penstock coverage agent=crawler -o jsonl");
  socket_option(*sub, context);
  output_option(*sub, context);
  auto selector = std::make_shared<std::string>();
  auto gaps = std::make_shared<bool>(false), images = std::make_shared<bool>(false);
  sub->add_option("selector", *selector, "only these: agent=, exe=, pid=, …");
  sub->add_flag("--gaps", *gaps, "leave out what is covered");
  sub->add_flag("--images", *images, "what can be seen of programs with a TLS runtime, instead of who talks to whom");
  sub->callback([&context, selector, gaps, images] {
    context.run = [&context, selector, gaps, images]() -> base::Result<int> {
      api::ListCoverageRequest request;
      request.set_images(*images);
      if (!selector->empty()) {
        PN_TRY(*request.mutable_selector(), api::parse_selector(*selector));
      }
      PN_TRY(auto list, api::Client(context.socket).call<api::CoverageList>(request));
      if (*gaps)
        for (int i = list.rows_size(); i-- > 0;)
          if (list.rows(i).state() == "covered") list.mutable_rows()->DeleteSubrange(i, 1);
      if (context.output() != Format::kTable) return print_message(context, list, "rows"), 0;
      const Table table = *images ? image_table(list) : talk_table(list);
      if (table.empty()) {
        print_note(*gaps     ? "nothing is unseen"
                   : *images ? "no TLS runtime is mapped"
                             : "nobody has talked to an AI endpoint yet");
      } else {
        write_out(table.text(terminal_width(STDOUT_FILENO), color_on(STDOUT_FILENO)));
      }
      std::map<std::string, std::string> hints;
      for (const auto& r : list.rows())
        if (r.has_hint()) hints[r.reason()] = r.hint();
      for (const auto& [reason, hint] : hints) print_note(reason + ": " + hint);
      return 0;
    };
  });
}

}  // namespace penstock::cli
