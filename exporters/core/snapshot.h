// The state of the daemon at one moment, as gauges and counters that live outside the exporters. Filled on the pipeline
// thread, read anywhere. Lists are short (policies, rings, maps), and what is not known is left out: absent is not 0.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "userspace/model/money.h"
#include "userspace/model/verdict.h"

namespace penstock::exporters {

struct Snapshot {
  struct Meter {
    std::int64_t limit = 0, spent = 0, reserved = 0, remaining = 0;
  };
  struct Budget {
    std::string policy, budget, key;
    std::optional<Meter> nano_usd, tokens, requests;  // only what it limits
    std::optional<std::int64_t> resets_real_ns;
  };
  struct Breach {
    std::string policy, budget, action;
    std::uint64_t count = 0;
  };
  struct Held {
    std::string reason;
    std::uint64_t count = 0;
  };
  struct Covered {
    std::string ns, runtime;
    std::uint64_t plaintext_bytes = 0, opaque_bytes = 0;
  };
  struct Opaque {
    std::string ns, runtime, reason;
    std::uint64_t bytes = 0, connections = 0;
    std::uint64_t estimated_tokens = 0;
  };
  struct Lost {
    std::string stage, kind;  // where (kernel, ring, tracker, …), what (data, gate, conn_open, …)
    std::uint64_t count = 0;
  };
  struct Gap {
    std::string protocol;
    std::uint64_t count = 0;
  };
  struct BpfError {
    std::string site;  // file:line of the program
    int error = 0;     // errno
    std::uint64_t count = 0;
  };
  struct Ring {
    std::string name;
    std::uint64_t used_bytes = 0, size_bytes = 0;
  };
  struct Map {
    std::string name;
    std::uint64_t entries = 0, capacity = 0;
  };
  struct Queue {
    std::string exporter;
    std::uint64_t dropped = 0;
  };
  struct Parsed {
    std::string parser, outcome;
    std::uint64_t count = 0;
  };
  struct Scope {
    std::string scope;
    model::Mode mode = model::Mode::kObserve;
  };
  struct Named {
    std::string name;
    std::uint64_t count = 0;
  };

  std::string version, kernel;
  std::uint32_t wire_version = 0;
  std::vector<Budget> budgets;
  std::vector<Breach> breaches;
  std::vector<Held> held;
  std::vector<Covered> coverage;
  std::vector<Opaque> opaque;
  std::vector<Lost> events_lost;
  std::vector<Gap> gaps;
  std::vector<BpfError> bpf_errors;
  std::vector<Ring> rings;
  std::vector<Map> maps;
  std::vector<Queue> queues;
  std::vector<Parsed> parses;
  std::vector<Scope> scopes;
  std::vector<Named> store_errors;  // by operation
  std::vector<Named> api_refused;   // control API and pages: peer, oversized, slow, timeout
  std::optional<std::uint64_t> api_requests;
  std::optional<std::uint64_t> connections, agents, runs;
  std::optional<std::uint64_t> heartbeat_age_ns;
  std::optional<bool> config_reload_ok;
};

}  // namespace penstock::exporters
