// penstock doctor: what works on this machine, what does not, what that costs and what to do about it.
#include <fmt/format.h>
#include <unistd.h>

#include "cli/app.h"
#include "cli/daemon_process.h"
#include "cli/output.h"
#include "cli/table.h"
#include "userspace/api/message_json.h"

namespace penstock::cli {
namespace {

// A running daemon knows best; without one, penstockd looks without staying.
base::Result<api::DoctorReport> examine(const std::string& socket) {
  api::Client client(socket);
  auto answer = client.call<api::DoctorReport>(api::GetDoctorRequest());
  if (answer || answer.error().code != base::ErrorCode::kUnavailable) return answer;
  PN_TRY(const std::string json, daemon_output({"--doctor"}));
  api::DoctorReport report;
  PN_CHECK(api::from_json(json, report));
  return report;
}

std::string text(const api::DoctorReport& report, bool color) {
  std::string out;
  for (const auto& check : report.checks()) {
    const Tone tone = check.status() == "ok"        ? Tone::kGood
                      : check.status() == "error"   ? Tone::kBad
                      : check.status() == "warning" ? Tone::kWarn
                                                    : Tone::kDim;
    out += fmt::format("{} {}: {}\n", paint(fmt::format("{:<8}", check.status()), tone, color), check.name(),
                       check.what());
    if (check.has_cost()) out += fmt::format("         costs: {}\n", check.cost());
    if (check.has_fix()) out += fmt::format("         fix:   {}\n", check.fix());
  }
  out += fmt::format("\nobserve: {}   enforce: {}\n",
                     report.can_observe() ? paint("yes", Tone::kGood, color) : paint("no", Tone::kBad, color),
                     report.can_enforce() ? paint("yes", Tone::kGood, color) : paint("no", Tone::kBad, color));
  return out;
}

}  // namespace

void add_doctor(CLI::App& app, Context& context) {
  auto* sub = command(app, "doctor", "what works on this machine, and what to do about the rest",
                      "  penstock doctor                       needs no daemon\n"
                      "  penstock doctor -o json | jq '.checks[] | select(.status != \"ok\")'\n"
                      "Exit code 4 if a check is an error.");
  socket_option(*sub, context);
  output_option(*sub, context);
  sub->callback([&context] {
    context.run = [&context]() -> base::Result<int> {
      PN_TRY(const auto report, examine(context.socket));
      if (context.output() == Format::kTable)
        write_out(text(report, color_on(STDOUT_FILENO)));
      else
        print_message(context, report, "checks");
      for (const auto& check : report.checks())
        if (check.status() == "error") return static_cast<int>(base::ErrorCode::kUnsupported);
      return 0;
    };
  });
}

}  // namespace penstock::cli
