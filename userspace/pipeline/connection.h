// One connection as the gate sees it: the exchanges on it, what the kernel holds of it, and when to look again.
//
// Stage of an exchange
//   open      head seen, request not complete      held      complete; waits in its socket
//   admitted  may leave, or has left               refused   will not leave: the socket is being destroyed
//
// The kernel holds write by write: an admission beyond the start of a write releases the whole write. So nothing is
// admitted unless *all* bytes of the writes that it releases belong to admitted requests (or to none). Owned by the
// tracker; pipeline thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "userspace/ledger/ledger.h"
#include "userspace/model/exchange.h"
#include "userspace/pipeline/ports.h"
#include "userspace/policy/policy.h"
#include "userspace/tracker/tracker.h"

namespace penstock::pipeline {

class Pipeline;

enum class Stage : std::uint8_t { kOpen, kHeld, kAdmitted, kRefused };

// Why something held is judged without a request being known.
enum class Unread : std::uint8_t {
  kCiphertext,  // no plaintext was seen for it
  kNotHttp,     // a protocol that is not followed
  kNoRequest,   // no request so far: passes by itself at most, not the connection
};

// An exchange between its head and its end.
struct Pending {
  model::Exchange* exchange = nullptr;  // the parser's
  Stage stage = Stage::kOpen;
  bool complete = false;      // on_request was called
  std::uint64_t end_pos = 0;  // then: one past its last byte
  bool judged_early = false;  // admitted before it was complete
  bool plain_early = false;   // the same, taken for no AI call
  bool reserved = false;
  bool hard = false;      // an enforced budget covers it: its answer may be cut
  bool urgent = false;    // … and is close to that: the kernel wakes us for each piece of it
  bool released = false;  // a person let it go: budgets and approvals do not hold it again
  bool cut = false;
  std::shared_ptr<const policy::Effective> effective;
  std::vector<policy::BudgetUse> uses;
  std::vector<std::string> approvals;           // rules that wait for a person's answer
  std::optional<ledger::Amounts> upper;         // what it may take: as reserved, or as asked for (Pipeline::upper_of)
  std::optional<std::uint64_t> expected_input;  // tokens; learnt at the first look at its answer
  // While held.
  model::Verdict held_verdict;
  std::string held_text;
  model::Action then = model::Action::kDeny;
  std::uint64_t held_since_ns = 0;
  std::uint64_t retry_at_ns = 0;    // pace: when there may be room; 0: on change only
  std::uint64_t give_up_at_ns = 0;  // then `then` happens
  std::uint64_t held_order = 0;     // position in the queue
  ChunkTimes chunks;
};

class Connection final : public tracker::ConnectionHandler, public parsers::ExchangeSink {
 public:
  Connection(Pipeline& pipeline, const tracker::ConnectionInfo& info);
  ~Connection() override;

  // tracker::ConnectionHandler
  parsers::ConnectionParser& parser() override { return *parser_; }
  void on_fed(std::uint64_t when_boot_ns) override;
  void on_gate(const pn_ev_gate& event, bool unseen) override;
  void on_rebound(std::uint64_t old_cookie) override;
  bool pinned() const override { return holding(); }
  void on_closed(std::uint64_t when_boot_ns) override;

  // parsers::ExchangeSink
  void on_request_head(model::Exchange& exchange) override;
  void on_request(model::Exchange& exchange, std::uint64_t end_pos) override;
  void on_progress(model::Exchange& exchange) override;
  void on_complete(model::Exchange& exchange) override;

  // Lets go what may go, or arranges to be looked at again. Called after every change.
  void update();
  // A timer of this connection is due.
  void on_timer(std::uint64_t now_boot_ns);
  // The verdict is no: the socket is destroyed, everything on it that was held is refused.
  void refuse(Pending& pending, const model::Verdict& verdict, std::string_view text);
  // Ends the socket; open exchanges get `verdict` unless they have one of their own.
  void destroy(const model::Verdict& verdict, std::string_view text);

  bool holding() const { return !destroyed_ && known_end_ > admitted_; }
  std::uint64_t closed_since_ns() const { return closed_since_ns_; }
  const tracker::ConnectionInfo& info() const { return info_; }
  std::list<Pending>& pending() { return pending_; }
  bool ai() const { return ai_; }
  void set_ai() { ai_ = true; }
  // True once for each socket that it has had.
  bool new_endpoint() { return std::exchange(new_endpoint_, false); }
  bool destroyed() const { return destroyed_; }
  // This position left on the kernel's lease while the daemon was away.
  bool leased(std::uint64_t end_pos) const { return end_pos <= leased_end_; }
  // on_failure was applied to what it holds while no daemon was there: that stands.
  bool kernel_refused() const { return kernel_refused_; }
  void set_kernel_refused() { kernel_refused_ = true; }
  bool ignored() const { return ignored_; }
  void set_ignored(bool ignored) { ignored_ = ignored; }
  std::uint64_t timer_ns() const { return timer_ns_; }
  void set_timer_ns(std::uint64_t when) { timer_ns_ = when; }
  std::uint64_t known_end() const { return known_end_; }
  // The last AI exchange on it, for kill orders about models and providers.
  const std::string& provider() const { return provider_; }
  const std::string& model() const { return model_; }
  void remember_target(const model::Exchange& exchange);
  // Some answer on it has become urgent.
  void watch_closely();
  // The kernel still holds what was admitted: says so again.
  void admit_again();
  // Admitted without end: what it speaks is not followed.
  void pass_for_good();
  // How long its current gate has been closed; 0 when it is open.
  std::uint64_t gate_ns(std::uint64_t now_boot_ns) const;

 private:
  Pending* find(const model::Exchange& exchange);
  bool answer_is_urgent() const;
  void admit_prefix();
  void admit_to(std::uint64_t pos);
  void wait_for_more(std::uint64_t now_boot_ns);
  std::uint64_t first_quiet_ns() const;
  void sleep_if_plain();
  void decide_on_what_is_known(std::uint64_t now_boot_ns);
  void retry_destroy(std::uint64_t now_boot_ns);

  static constexpr std::size_t kMaxWriteEnds = 64;

  Pipeline& pipeline_;
  const tracker::ConnectionInfo& info_;
  std::unique_ptr<parsers::ConnectionParser> parser_;
  std::list<Pending> pending_;
  std::uint64_t known_end_ = 0;           // one past the last gated byte bound to the socket
  std::deque<std::uint64_t> write_ends_;  // of held writes, ascending
  std::uint64_t admitted_ = 0;            // as written to pn_admit
  std::uint64_t closed_since_ns_ = 0;     // 0: nothing held
  std::uint64_t last_bytes_ns_ = 0;       // newest gated write
  std::uint64_t leased_end_ = 0;
  std::uint64_t held_bytes_ = 0;       // since the gate closed
  std::uint64_t timer_ns_ = 0;         // 0: none
  std::uint32_t plain_requests_ = 0;   // non-AI requests in a row
  std::uint64_t plain_answer_at_ = 0;  // answered bytes when the latest of them was complete
  std::uint32_t destroy_attempts_ = 0;
  bool grown_ = false;
  bool ai_ = false;
  bool new_endpoint_ = true;
  bool ignored_ = false;
  bool passed_ = false;      // admitted for good: not HTTP
  bool unreadable_ = false;  // a held write whose plaintext is gone: nobody can say what it would do
  bool destroyed_ = false;
  bool destroy_pending_ = false;
  bool kernel_refused_ = false;
  bool opaque_ = false;
  std::string provider_;
  std::string model_;
};

}  // namespace penstock::pipeline
