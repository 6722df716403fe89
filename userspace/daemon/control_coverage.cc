// What is seen of the traffic to AI endpoints, as rows; and which programs hold a TLS runtime.
#include "userspace/api/selector.h"
#include "userspace/daemon/control_api.h"

namespace penstock::daemon {
namespace {

api::CoverageRow row_of(const pipeline::Talk& talk) {
  api::CoverageRow row;
  const auto text = [](const std::string& value, auto set) {
    if (!value.empty()) set(value);
  };
  row.set_pid(talk.subject.process.pid);
  row.set_exe(talk.subject.exe);
  text(talk.subject.agent, [&](const std::string& v) { row.set_agent(v); });
  text(talk.runtime, [&](const std::string& v) { row.set_runtime(v); });
  text(talk.target, [&](const std::string& v) { row.set_target(v); });
  text(talk.address, [&](const std::string& v) { row.set_address(v); });
  text(talk.provider, [&](const std::string& v) { row.set_provider(v); });
  text(talk.sni, [&](const std::string& v) { row.set_sni(v); });
  text(talk.alpn, [&](const std::string& v) { row.set_alpn(v); });
  if (talk.ech) row.set_ech(true);
  row.set_state(std::string(name(talk.state())));
  row.set_plaintext_bytes(talk.plaintext_bytes);
  row.set_opaque_bytes(talk.opaque_bytes);
  row.set_connections(talk.connections);
  row.set_opaque_connections(talk.opaque_connections);
  row.set_refused_connections(talk.refused);
  row.set_since_real_ns(talk.since_real_ns);
  if (talk.opaque_bytes > 0) row.set_estimated_opaque_tokens(pipeline::tokens_of_opaque(talk.opaque_bytes));
  // What was not seen, or may not be: nothing was said yet on a connection that is older than the daemon.
  if (talk.reason && talk.state() != pipeline::Talk::State::kCovered) {
    row.set_reason(std::string(name(*talk.reason)));
    row.set_hint(std::string(hint(*talk.reason)));
  }
  return row;
}

}  // namespace

std::vector<api::CoverageRow> ControlApi::coverage_of(const std::function<bool(const model::Subject&)>& wanted) const {
  std::vector<api::CoverageRow> rows;
  d_.pipeline_->coverage().refresh();
  for (const pipeline::Talk* talk : d_.pipeline_->coverage().talks()) {
    const bool shown = talk->state() != pipeline::Talk::State::kPending || talk->reason;
    if (shown && wanted(talk->subject)) rows.push_back(row_of(*talk));
  }
  return rows;
}

void ControlApi::images_of(const model::Subject& subject, std::vector<api::CoverageRow>& rows) const {
  std::uint64_t connections = 0;
  for (const pipeline::Connection* connection : d_.pipeline_->connections()) {
    if (connection->info().socket.tgid == subject.process.pid) ++connections;
  }
  for (const auto& image : d_.probes_->discovery().images_of(subject.process.pid)) {
    const auto row = [&](const std::string& runtime) {
      api::CoverageRow made;
      made.set_pid(subject.process.pid);
      made.set_exe(subject.exe);
      if (!subject.agent.empty()) made.set_agent(subject.agent);
      made.set_runtime(runtime);
      made.set_connections(connections);
      made.set_image(image.path);
      return made;
    };
    const std::string failure = d_.probes_->failure(image.id);
    for (const auto& plan : image.analysis.plans) {
      if (!plan.sees_plaintext()) continue;
      api::CoverageRow covered = row(plan.runtime);
      covered.set_state(failure.empty() ? "covered" : "unsupported");
      if (!failure.empty()) {
        covered.set_reason(failure);
      } else if (!plan.note.empty()) {
        covered.set_reason(plan.note);
      }
      rows.push_back(std::move(covered));
    }
    for (const auto& miss : image.analysis.misses) {
      api::CoverageRow missed = row(miss.runtime);
      missed.set_state("unsupported");
      missed.set_reason(miss.reason);
      rows.push_back(std::move(missed));
    }
  }
}

base::Result<api::CoverageList> ControlApi::list_coverage(const api::Peer&, const api::ListCoverageRequest& request) {
  std::vector<api::CoverageRow> rows;
  const auto wanted = [&](const model::Subject& subject) { return api::matches(request.selector(), subject); };
  if (request.images()) {
    d_.subjects_->for_each_process([&](const model::Subject& subject) {
      if (wanted(subject)) images_of(subject, rows);
    });
  } else {
    d_.drain();  // what has happened until now
    rows = coverage_of(wanted);
  }
  api::CoverageList out;
  for (api::CoverageRow& row : rows) *out.add_rows() = std::move(row);
  return out;
}

}  // namespace penstock::daemon
