#include "userspace/daemon/daemon.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "parsers/session/session.h"
#include "userspace/base/log.h"
#include "userspace/daemon/control_api.h"
#include "userspace/daemon/older_connections.h"
#include "userspace/daemon/version.h"

namespace penstock::daemon {
namespace {

constexpr int kMaxSleepMs = 50;              // the ledger wants a tick every 100 ms
constexpr std::size_t kEventsPerTurn = 512;  // then timers, orders and the heartbeat have their turn
constexpr std::uint64_t kHousekeepingNs = 1'000'000'000;
constexpr std::uint64_t kCgroupScanNs = 5'000'000'000;
constexpr std::uint64_t kReadyWaitNs = 20'000'000'000;
constexpr std::uint64_t kTakeoverWaitNs = 10'000'000'000;
constexpr std::size_t kMaxCgroups = PN_MAX_CGROUPS / 2;

base::Result<> make_directory(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return base::errno_error(error.value(), "create " + path, "choose another folder with --state-dir");
  ::chmod(path.c_str(), 0700);
  return {};
}

api::Page text_page(unsigned status, std::string body) {
  return {status, "text/plain; charset=utf-8", std::move(body)};
}

std::shared_ptr<const std::map<std::string, std::string>> endpoint_map(const api::Config& config) {
  return std::make_shared<const std::map<std::string, std::string>>(config.endpoints().begin(),
                                                                    config.endpoints().end());
}

exporters::Semconv semconv_of(api::Config::Semconv semconv) {
  switch (semconv) {
    case api::Config::SEMCONV_MAIN:
      return exporters::Semconv::kMain;
    case api::Config::SEMCONV_BOTH:
      return exporters::Semconv::kBoth;
    default:
      return exporters::Semconv::k1_41;
  }
}

base::LogLevel log_level_of(api::Config::LogLevel level) {
  switch (level) {
    case api::Config::LOG_LEVEL_DEBUG:
      return base::LogLevel::kDebug;
    case api::Config::LOG_LEVEL_WARNING:
      return base::LogLevel::kWarning;
    case api::Config::LOG_LEVEL_ERROR:
      return base::LogLevel::kError;
    default:
      return base::LogLevel::kInfo;
  }
}

std::vector<pn_endpoint_key> keys_of(const std::vector<EndpointNames::Resolved>& resolved) {
  std::vector<pn_endpoint_key> keys;
  for (const EndpointNames::Resolved& endpoint : resolved) keys.push_back(endpoint.key);
  return keys;
}

}  // namespace

Daemon::Daemon(Settings settings) : settings_(std::move(settings)) {}

std::string Daemon::state_path(const char* name) const {
  return settings_.ephemeral ? std::string() : settings_.config.state_dir() + "/" + name;
}

base::Result<std::unique_ptr<Daemon>> Daemon::start(Settings settings) {
  base::set_log_level(log_level_of(settings.config.log_level()));
  std::unique_ptr<Daemon> daemon(new Daemon(std::move(settings)));
  daemon->started_real_ns_ = daemon->clock_.real_ns();
  PN_CHECK(daemon->open_state());
  PN_CHECK(daemon->open_kernel());
  PN_CHECK(daemon->open_surfaces());
  daemon->started_ = true;
  // One that `penstock run` starts is nobody's service, whatever its environment says.
  if (!daemon->settings_.ephemeral) daemon->manager_ = ServiceManager(ServiceManager::environment());
  return daemon;
}

base::Result<> Daemon::open_state() {
  const api::Config& config = settings_.config;
  if (!settings_.ephemeral) {
    PN_CHECK(make_directory(config.state_dir()));
    const std::string path = state_path("lock");
    state_lock_ = base::Fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!state_lock_) return base::errno_error(errno, "open " + path);
    if (::flock(state_lock_.get(), LOCK_EX | LOCK_NB) != 0) {
      return base::Error{base::ErrorCode::kUnavailable, 0, "another penstockd uses " + config.state_dir(),
                         "stop it, or choose another --state-dir"};
    }
  }
  PN_TRY(ledger::PriceBook book, ledger::PriceBook::load(price_options(config)));
  prices_.emplace(std::move(book));
  if (prices_->stale(clock_.real_ns()))
    base::log_warning("prices old=true date={} hint=\"newer prices come with a newer release, or with prices: FILE\"",
                      prices_->bundle().date);
  estimator_.emplace(ledger::Estimator::Options{}, &*prices_);

  PolicyStore::Settings policies = policy_settings(config, state_path("policies"));
  PN_TRY(PolicyStore store, PolicyStore::open(std::move(policies), clock_.real_ns()));
  policies_.emplace(std::move(store));

  if (!settings_.ephemeral) {
    ledger::Store::Options store_options;
    store_options.database = state_path("ledger.db");
    PN_TRY(store_, ledger::Store::open(store_options, ledger_now()));
    const ledger::Store::Recovery& recovery = store_->recovery();
    if (recovery.charged + recovery.settled + recovery.corrupt_slots > 0) {
      base::log_info("ledger recovered settled={} charged={} corrupt_slots={}", recovery.settled, recovery.charged,
                     recovery.corrupt_slots);
    }
  }
  ledger_ = std::make_unique<ledger::Ledger>(ledger::Ledger::Options{}, store_.get(), ledger_now());
  PN_TRY(pipeline::KillSwitches kills, pipeline::KillSwitches::open(state_path("kills.json")));
  kills_.emplace(std::move(kills));
  return {};
}

base::Result<> Daemon::open_kernel() {
  const api::Config& config = settings_.config;
  PN_TRY(const std::string cgroup2, capture::find_cgroup2());
  cgroups_.emplace(cgroup2);
  capture::KernelOptions options;
  options.bpffs_dir = config.bpffs_dir();
  options.events_ring_bytes = settings_.events_ring_bytes;
  options.verdicts_ring_bytes = settings_.verdicts_ring_bytes;
  if (config.defaults().has_heartbeat_timeout_ns()) options.dead_after_ns = config.defaults().heartbeat_timeout_ns();
  PN_TRY(kernel_, capture::Kernel::load(options));
  gate_ = std::make_unique<gate::KernelGate>(kernel_->maps(), gate::KernelGate::Options{});
  stdio_ = std::make_unique<StdioServers>(*kernel_);
  if (kernel_->resumed()) stdio_->end_orphans();
  executor_ = std::make_unique<Executor>(kernel_->events());
  subjects_ = std::make_unique<Subjects>(clock_, identity::Options{});
  subjects_->set_names(config.agents());
  process_control_ = std::make_unique<ProcessControl>(*cgroups_);
  PN_TRY(pipeline::ScopeIds ids, pipeline::ScopeIds::open(state_path("scopes")));
  scopes_ = std::make_unique<pipeline::Scopes>(*gate_, std::move(ids));

  exporters::PrometheusExporter::Options metrics;
  metrics.version = kVersion;
  metrics.semconv = semconv_of(config.semconv());
  metrics.known_model = [this](std::string_view model) { return prices_->lists(model); };
  prometheus_ = exporters::PrometheusExporter::make(std::move(metrics), clock_);

  pipeline::Options pipeline_options;
  pipeline_options.resumed = kernel_->resumed();
  tracker::Options tracker_options;
  tracker_options.resumed = kernel_->resumed();
  pipeline_ = std::make_unique<pipeline::Pipeline>(
      pipeline::Pipeline::Parts{clock_,
                                *gate_,
                                *ledger_,
                                *estimator_,
                                *prices_,
                                *subjects_,
                                *process_control_,
                                *kills_,
                                *scopes_,
                                &parsers::session::make_connection_parser,
                                kernel_.get(),
                                {&activity_, static_cast<pipeline::Observer*>(this)},
                                endpoint_map(config),
                                &process_tls_},
      pipeline_options, tracker_options);

  gate_->heartbeat(clock_.boot_ns());
  subjects_->scan();
  policies_->set_install([this](std::shared_ptr<const policy::CompiledPolicies> policies, bool any_strict) {
    auto installed = pipeline_->set_policies(std::move(policies), any_strict);
    if (installed) place_cgroups();
    return installed;
  });
  runs_ = std::make_unique<Runs>(clock_, *cgroups_, *policies_, static_cast<RunHost&>(*this), state_path("runs"));
  // Processes that a predecessor placed and that belong nowhere now are taken out of its scopes, once.
  scopes_->set_unknown_before(kernel_->resumed());
  PN_CHECK(policies_->install());
  PN_CHECK(runs_->restore());
  scopes_->set_unknown_before(false);
  probes_ = std::make_unique<Probes>(
      *kernel_, clock_, settings_.config.state_dir() + "/plans",
      std::vector<std::string>(config.exclude_images().begin(), config.exclude_images().end()));
  probes_->start({config.images().begin(), config.images().end()});
  // A predecessor's probes act until ours take over: not before ours are all there.
  const std::uint64_t patience_ends = clock_.boot_ns() + kTakeoverWaitNs;
  while (kernel_->resumed() && probes_->pending() > 0 && clock_.boot_ns() < patience_ends) {
    pollfd scans{probes_->fds().front(), POLLIN, 0};
    ::poll(&scans, 1, 20);
    probes_->poll();
  }
  PN_CHECK(kernel_->activate());
  gate_->heartbeat(clock_.boot_ns());
  if (kernel_->resumed()) pipeline_->resync();
  endpoint_names_ =
      std::make_unique<EndpointNames>(*endpoint_map(config), [this](std::vector<EndpointNames::Resolved> resolved) {
        // Whoever connects from now on is seen to do so.
        const std::vector<gate::SocketRef> older =
            std::exchange(first_resolved_, false) ? connections_to(keys_of(resolved)) : std::vector<gate::SocketRef>();
        executor_->post([this, resolved = std::move(resolved), older] {
          apply_endpoints(resolved);
          for (const gate::SocketRef& socket : older) pipeline_->on_older_connection(socket);
        });
      });
  return {};
}

base::Result<> Daemon::open_surfaces() {
  const api::Config& config = settings_.config;
  control_ = std::make_unique<ControlApi>(*this);
  api::Server::Options options;
  options.socket = config.socket().path();
  options.group = config.socket().group();
  options.tcp_listen = config.listen();
  api::Pages pages;
  pages.metrics = [this]() -> std::function<api::Page()> {
    auto snapshot = std::make_shared<exporters::Snapshot>(control_->snapshot());
    return [this, snapshot] {
      // Two listeners may ask at once; the exporter renders for one at a time.
      const std::lock_guard lock(render_mutex_);
      return api::Page{200, exporters::PrometheusExporter::kContentType, prometheus_->render(*snapshot)};
    };
  };
  pages.healthz = [] { return [] { return text_page(200, "ok\n"); }; };
  pages.readyz = [this] {
    const bool is_ready = ready();
    return [is_ready] { return is_ready ? text_page(200, "ready\n") : text_page(503, "starting\n"); };
  };
  PN_TRY(server_, api::Server::start(
                      options, [this](std::function<void()> work) { executor_->post(std::move(work)); }, *control_,
                      std::move(pages)));
  std::vector<int> fds = probes_->fds();
  if (store_) fds.push_back(store_->commit_fd());
  PN_TRY(fd_watch_, FdWatch::start(fds, kernel_->events()));
  ready_by_boot_ns_ = clock_.boot_ns() + kReadyWaitNs;
  base::log_info("penstockd started version={} socket={} resumed={} policies={} kills={}", kVersion, options.socket,
                 kernel_->resumed(), policies_->set().policies_size(), kills_->list().kills_size());
  return {};
}

// Once ready, always ready: programs that appear later are examined while everything else goes on.
bool Daemon::ready() {
  if (!was_ready_ && server_ != nullptr) was_ready_ = probes_->pending() == 0 || clock_.boot_ns() >= ready_by_boot_ns_;
  return was_ready_ && !stopping_;
}

std::vector<std::string> Daemon::degraded() const {
  std::vector<std::string> out;
  const Probes::Stats probes = probes_->stats();
  if (probes.failed > 0) out.push_back(fmt::format("{} images could not be probed (penstock coverage)", probes.failed));
  if (probes.discovery.pending > 0)
    out.push_back(fmt::format("{} images are still being examined", probes.discovery.pending));
  if (probes.discovery.stalled_workers > 0) out.push_back("an image could not be read in time");
  if (store_ && store_->stats().failing) out.push_back("the ledger cannot be written: " + store_->stats().last_error);
  if (!reload_ok_) out.push_back("the last reload failed: the configuration before it is in force");
  if (scopes_->errors() > 0) out.push_back(fmt::format("{} scope changes failed", scopes_->errors()));
  if (scopes_->exhausted() > 0) out.push_back("more scopes are wanted than the kernel table holds");
  return out;
}

// ---- the loop ------------------------------------------------------------------------------------------------------

base::Result<> Daemon::run(const volatile std::sig_atomic_t& stop, const volatile std::sig_atomic_t& reload_wanted) {
  std::sig_atomic_t reloaded = reload_wanted;
  while (stop == 0 && !stopping_) {
    int timeout_ms = kMaxSleepMs;
    if (const auto next = pipeline_->next_timer_boot_ns()) {
      const std::uint64_t now = clock_.boot_ns();
      // Rounded up: waking too early would only spin until the timer is due.
      const std::uint64_t wait_ms = *next <= now ? 0 : (*next - now + 999'999) / 1'000'000;
      timeout_ms = static_cast<int>(std::min<std::uint64_t>(wait_ms, kMaxSleepMs));
    }
    PN_CHECK(take(timeout_ms));
    executor_->run_pending();
    pipeline_->tick();
    place_delegated();
    const std::uint64_t now = clock_.boot_ns();
    priority_.follow(kernel_->backlog_permille(), gate_->gating(), now);
    gate_->heartbeat(now);
    manager_.alive(now);
    last_turn_boot_ns_ = now;
    if (fd_watch_->take()) probes_->poll();
    if (now >= next_housekeeping_ns_) {
      next_housekeeping_ns_ = now + kHousekeepingNs;
      housekeeping(now);
    }
    if (reload_wanted != reloaded) {
      reloaded = reload_wanted;
      manager_.reloading();
      const auto done = reload();
      manager_.reloaded();
      reload_ok_ = done.has_value();
      if (done) {
        base::log_info("reload done policies={}", policies_->set().policies_size());
      } else {
        base::log_error("reload refused error=\"{}\" effect=\"the configuration before it is in force\"",
                        done.error().message());
      }
    }
  }
  shut_down();
  return {};
}

base::Result<std::size_t> Daemon::take(int timeout_ms) {
  auto taken = kernel_->events().poll(*pipeline_, timeout_ms, kEventsPerTurn);
  if (taken) records_ += *taken;
  return taken;
}

void Daemon::drain() {
  // What happened before this moment is in the rings: at most a few turns' worth.
  for (int turn = 0; turn < 512; ++turn) {
    const auto taken = take(0);
    if (!taken || *taken == 0) return;
  }
}

void Daemon::housekeeping(std::uint64_t now) {
  if (ready()) manager_.ready(fmt::format("{} policies, {}", policies_->set().policies_size(), kVersion));
  subjects_->expire();
  probes_->poll();
  stdio_->expire(now);
  runs_->sweep();
  if (now >= next_cgroup_scan_ns_) {
    next_cgroup_scan_ns_ = now + kCgroupScanNs;
    place_cgroups();
  }
  if (settings_.ephemeral && runs_->running() == 0 && owner_gone()) stopping_ = true;
}

// An ephemeral daemon lives as long as whoever started it holds the other end of its standard input.
bool Daemon::owner_gone() const {
  pollfd input{STDIN_FILENO, POLLIN, 0};
  if (::poll(&input, 1, 0) <= 0) return false;
  if ((input.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) return true;
  char byte = 0;
  return (input.revents & POLLIN) != 0 && ::read(STDIN_FILENO, &byte, 1) == 0;
}

base::Result<> Daemon::reload() {
  if (settings_.config_file.empty()) {
    return base::Error{base::ErrorCode::kFailure, 0, "there is no configuration file to reload",
                       "start with --config FILE"};
  }
  PN_TRY(api::Config next, api::load_config(settings_.config_file));
  // What the command line said, and what only a start can change, stays as it is.
  const api::Config& now = settings_.config;
  next.set_state_dir(now.state_dir());
  next.set_bpffs_dir(now.bpffs_dir());
  next.set_listen(now.listen());
  *next.mutable_socket() = now.socket();
  *next.mutable_rings() = now.rings();
  PN_CHECK(check_endpoints(next, settings_.config_file));
  PN_TRY(ledger::PriceBook book, ledger::PriceBook::load(price_options(next)));
  PolicyStore::Settings policies = policy_settings(next, state_path("policies"));
  subjects_->set_names(next.agents());
  if (auto done = policies_->reload(std::move(policies), clock_.real_ns()); !done) {
    subjects_->set_names(now.agents());
    return done;
  }
  // All of it is valid and in force; the rest cannot fail.
  *prices_ = std::move(book);
  settings_.config = std::move(next);
  base::set_log_level(log_level_of(settings_.config.log_level()));
  prometheus_->set_semconv(semconv_of(settings_.config.semconv()));
  endpoint_names_->replace(*endpoint_map(settings_.config));
  return {};
}

void Daemon::shut_down() {
  stopping_ = true;
  manager_.stopping();
  base::log_info("penstockd stopping ephemeral={}", settings_.ephemeral);
  if (settings_.ephemeral) runs_->finish_all();
  drain();
  executor_->close();
  fd_watch_.reset();
  server_.reset();
  endpoint_names_.reset();
  pipeline_->shutdown();
  if (const auto flushed = ledger_->flush(ledger_now(), 5'000'000'000); !flushed)
    base::log_error("ledger not_flushed error=\"{}\"", flushed.error().message());
  if (settings_.ephemeral) kernel_->unload();
}

Daemon::~Daemon() {
  // Threads first, then what they post to.
  if (executor_) executor_->close();
  fd_watch_.reset();
  server_.reset();
  endpoint_names_.reset();
  // A start that failed leaves nothing behind, but takes nothing from a predecessor; an ephemeral daemon never leaves
  // any.
  const bool fresh_start_failed = !started_ && kernel_ && !kernel_->resumed();
  if (kernel_ && !stopping_ && (settings_.ephemeral || fresh_start_failed)) {
    if (runs_ && settings_.ephemeral) runs_->finish_all();
    kernel_->unload();
  }
}

// ---- scopes of cgroups ---------------------------------------------------------------------------------------------

// Whoever is born in a cgroup that some policy or kill switch speaks of is in its scope from the first instruction,
// also while no daemon runs.
void Daemon::place_cgroups() {
  if (!pipeline_ || !cgroups_) return;
  std::map<std::string, std::uint64_t> found;
  cgroups_->for_each(kMaxCgroups, [&](const std::string& path, std::uint64_t id) {
    if (pipeline_->set_cgroup(id, subjects_->of_cgroup(path))) found[path] = id;
  });
  for (const auto& [path, id] : placed_cgroups_) {
    const auto it = found.find(path);
    if (it == found.end() || it->second != id) pipeline_->clear_cgroup(id);
  }
  placed_cgroups_ = std::move(found);
}

void Daemon::apply_endpoints(const std::vector<EndpointNames::Resolved>& resolved) {
  std::map<std::string, std::string> addresses;
  std::map<std::string, bool> ambiguous;
  for (const EndpointNames::Resolved& endpoint : resolved) {
    const auto [it, fresh] = addresses.emplace(endpoint.address, endpoint.provider);
    if (!fresh && it->second != endpoint.provider) ambiguous[endpoint.address] = true;
  }
  // One address behind several names: the request's own authority decides.
  for (const auto& [address, yes] : ambiguous) addresses.erase(address);
  pipeline_->set_endpoints(endpoint_map(settings_.config), addresses, keys_of(resolved));
}

// ---- runs ----------------------------------------------------------------------------------------------------------

void Daemon::run_started(const Run& run) {
  subjects_->add_run(run.cgroup, run.id, run.agent);
  if (pipeline_->set_cgroup(run.cgroup_id, subjects_->of_cgroup(run.cgroup)))
    placed_cgroups_[run.cgroup] = run.cgroup_id;
}

void Daemon::run_process(const Run& run) { subjects_->assign_root(run.root, run.id, run.agent); }

void Daemon::run_ended(const Run& run) {
  subjects_->remove_run(run.cgroup);
  pipeline_->clear_cgroup(run.cgroup_id);
  placed_cgroups_.erase(run.cgroup);
}

std::optional<model::ProcessKey> Daemon::process(std::uint32_t pid) { return subjects_->identity().key_of(pid); }

// ---- events --------------------------------------------------------------------------------------------------------

void Daemon::on_fork(std::uint32_t child) { probes_->on_fork(child); }
void Daemon::on_exec(std::uint32_t process) { probes_->on_exec(process); }
void Daemon::on_exit(std::uint32_t process) {
  probes_->on_exit(process);
  stdio_->on_exit(process);
}

void Daemon::on_placed(const model::Subject& process, bool gated) {
  if (gated || subjects_->identity().acts_for_agent(process.process)) stdio_->consider(process.process.pid);
}

void Daemon::on_exchange(const model::Exchange& exchange) {
  // Plain requests are nobody's business unless something was done to them.
  if (exchange.kind == model::Kind::kHttp && exchange.provider.empty() &&
      exchange.verdict.action == model::Action::kAllow)
    return;
  // Who started an agent is drawn when it first calls.
  if (calls_.record(exchange)) {
    const auto ancestors = subjects_->ancestors(exchange.subject);
    const auto starter = std::find_if(ancestors.begin(), ancestors.end(), [&](const model::Subject& ancestor) {
      return ancestor.agent != exchange.subject.agent;
    });
    if (starter != ancestors.end()) calls_.started(*starter, exchange.subject);
  }
  streams_.publish(exchange);
  prometheus_->on_exchange(exchange);
  for (const auto& exporter : exporters_) exporter->on_exchange(exchange);
}

// Whoever asks is an agent, whatever becomes of the request.
void Daemon::on_verdict(const model::Exchange& exchange, const model::Verdict&, bool, std::string_view) {
  if (exchange.subject.process.pid == 0) return;
  const auto affected = subjects_->identity().note_agent(exchange.subject.process);
  now_delegated_.insert(now_delegated_.end(), affected.begin(), affected.end());
}

// What an agent had started before it first called a model acts for it from now on.
void Daemon::place_delegated() {
  for (const model::ProcessKey& process : std::exchange(now_delegated_, {})) pipeline_->look_again(process.pid);
}

void Daemon::on_span(pipeline::Span what, std::uint64_t ns, std::string_view provider) {
  switch (what) {
    case pipeline::Span::kCloseToEvent:
      return prometheus_->observe_gate(exporters::GateStage::kCloseToEvent, ns);
    case pipeline::Span::kDecide:
      return prometheus_->observe_gate(exporters::GateStage::kDecide, ns);
    case pipeline::Span::kRelease:
      return prometheus_->observe_gate(exporters::GateStage::kRelease, ns);
    case pipeline::Span::kKill:
      return prometheus_->observe_kill(provider, ns);
  }
}

void Daemon::on_chunks(const model::Exchange& exchange, const pipeline::ChunkTimes& times) {
  prometheus_->observe_chunks(exchange, {times.counts, times.sum_ns});
}

void Daemon::on_cut(const model::Exchange& exchange, std::uint64_t tokens_beyond) {
  prometheus_->observe_cut(exchange.provider, tokens_beyond);
}

void Daemon::on_soft_crossing(const ledger::SoftCrossing& crossing) {
  const ledger::BudgetSpec& spec = ledger_->specs()[crossing.budget];
  base::log_warning("budget soft policy={} name={} key=\"{}\" permille={} used={} limit={}", spec.policy, spec.name,
                    crossing.key, crossing.permille, crossing.used, crossing.limit);
}

}  // namespace penstock::daemon
