// The daemon: owns every part, runs the one event loop (poll, pipeline, timers, heartbeat, API commands).
//
// Threads: this loop; libmicrohttpd's listeners and discovery's workers, which hand work over through the executor; the
// store's writer. Nothing else touches the daemon's state.
// Start order: state directory lock, state files, policies, kernel, scopes, server; whatever fails leaves nothing
// behind.
#pragma once

#include <csignal>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "exporters/core/exporter.h"
#include "exporters/prometheus/prometheus.h"
#include "userspace/api/exchange_streams.h"
#include "userspace/api/server.h"
#include "userspace/base/clock.h"
#include "userspace/base/fd.h"
#include "userspace/capture/kernel.h"
#include "userspace/daemon/activity.h"
#include "userspace/daemon/cgroups.h"
#include "userspace/daemon/endpoint_names.h"
#include "userspace/daemon/executor.h"
#include "userspace/daemon/fd_watch.h"
#include "userspace/daemon/loop_priority.h"
#include "userspace/daemon/policy_store.h"
#include "userspace/daemon/probes.h"
#include "userspace/daemon/process_control.h"
#include "userspace/daemon/process_tls.h"
#include "userspace/daemon/runs.h"
#include "userspace/daemon/service_manager.h"
#include "userspace/daemon/settings.h"
#include "userspace/daemon/stdio_servers.h"
#include "userspace/daemon/subjects.h"
#include "userspace/gate/kernel_gate.h"
#include "userspace/graph/call_graph.h"
#include "userspace/ledger/estimate.h"
#include "userspace/ledger/ledger.h"
#include "userspace/ledger/prices.h"
#include "userspace/ledger/store.h"
#include "userspace/pipeline/pipeline.h"

namespace penstock::daemon {

class ControlApi;

class Daemon final : private pipeline::Observer, private RunHost {
 public:
  static base::Result<std::unique_ptr<Daemon>> start(Settings settings);
  ~Daemon() override;

  // Until asked to stop, or (ephemeral) until no run is left.
  base::Result<> run(const volatile std::sig_atomic_t& stop, const volatile std::sig_atomic_t& reload);

 private:
  friend class ControlApi;
  explicit Daemon(Settings settings);
  base::Result<> open_state();
  base::Result<> open_kernel();
  base::Result<> open_surfaces();
  base::Result<> reload();
  void housekeeping(std::uint64_t now);
  void place_cgroups();
  void place_delegated();
  void apply_endpoints(const std::vector<EndpointNames::Resolved>& resolved);
  void shut_down();
  // Has the pipeline look at what the kernel reported; returns how many records there were.
  base::Result<std::size_t> take(int timeout_ms);
  // Everything the kernel has reported so far.
  void drain();
  bool owner_gone() const;
  // Probes are in place for everything that runs, and the API answers.
  bool ready();
  // What does not work, one line each.
  std::vector<std::string> degraded() const;

  // pipeline::Observer
  void on_exchange(const model::Exchange& exchange) override;
  void on_verdict(const model::Exchange& exchange, const model::Verdict&, bool, std::string_view) override;
  void on_hold_ended(const model::Exchange&, std::string_view, std::uint64_t) override {}
  void on_soft_crossing(const ledger::SoftCrossing& crossing) override;
  void on_fork(std::uint32_t child) override;
  void on_exec(std::uint32_t process) override;
  void on_exit(std::uint32_t process) override;
  void on_placed(const model::Subject& process, bool gated) override;
  void on_span(pipeline::Span what, std::uint64_t ns, std::string_view provider) override;
  void on_chunks(const model::Exchange& exchange, const pipeline::ChunkTimes& times) override;
  void on_cut(const model::Exchange& exchange, std::uint64_t tokens_beyond) override;

  // RunHost
  void run_started(const Run& run) override;
  void run_process(const Run& run) override;
  void run_ended(const Run& run) override;
  std::optional<model::ProcessKey> process(std::uint32_t pid) override;

  ledger::Now ledger_now() const { return {clock_.boot_ns(), clock_.real_ns()}; }
  std::string state_path(const char* name) const;

  Settings settings_;
  base::SystemClock clock_;
  LoopPriority priority_;
  ServiceManager manager_;
  base::Fd state_lock_;
  std::int64_t started_real_ns_ = 0;
  bool reload_ok_ = true;
  bool stopping_ = false;
  bool started_ = false;
  std::uint64_t last_turn_boot_ns_ = 0;
  std::uint64_t records_ = 0;  // taken from the kernel's rings
  std::uint64_t next_housekeeping_ns_ = 0;
  std::uint64_t next_cgroup_scan_ns_ = 0;
  std::uint64_t ready_by_boot_ns_ = 0;  // however long images take to examine
  bool was_ready_ = false;
  std::mutex render_mutex_;

  std::optional<Cgroups> cgroups_;
  std::optional<ledger::PriceBook> prices_;
  std::optional<ledger::Estimator> estimator_;
  std::unique_ptr<ledger::Store> store_;
  std::unique_ptr<ledger::Ledger> ledger_;
  std::optional<PolicyStore> policies_;
  std::optional<pipeline::KillSwitches> kills_;
  std::unique_ptr<capture::Kernel> kernel_;
  std::unique_ptr<gate::KernelGate> gate_;
  std::unique_ptr<Executor> executor_;
  std::unique_ptr<Subjects> subjects_;
  std::unique_ptr<ProcessControl> process_control_;
  std::unique_ptr<pipeline::Scopes> scopes_;
  Activity activity_{clock_};
  graph::CallGraph calls_{{}};
  api::ExchangeStreams streams_;
  std::unique_ptr<exporters::PrometheusExporter> prometheus_;
  std::vector<std::unique_ptr<exporters::Exporter>> exporters_;
  ProcessTlsReader process_tls_{probes_, clock_};
  std::unique_ptr<pipeline::Pipeline> pipeline_;
  std::unique_ptr<Runs> runs_;
  std::unique_ptr<StdioServers> stdio_;
  std::unique_ptr<Probes> probes_;
  bool first_resolved_ = true;  // of the resolver's thread
  std::unique_ptr<EndpointNames> endpoint_names_;
  std::unique_ptr<FdWatch> fd_watch_;
  std::map<std::string, std::uint64_t> placed_cgroups_;  // path -> id
  std::vector<model::ProcessKey> now_delegated_;
  std::unique_ptr<ControlApi> control_;
  std::unique_ptr<api::Server> server_;
};

}  // namespace penstock::daemon
