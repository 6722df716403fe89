#include "userspace/pipeline/connection.h"

#include <algorithm>

#include "userspace/base/log.h"
#include "userspace/pipeline/pipeline.h"
#include "userspace/policy/match.h"

namespace penstock::pipeline {

Connection::Connection(Pipeline& pipeline, const tracker::ConnectionInfo& info) : pipeline_(pipeline), info_(info) {
  parser_ = pipeline_.parts_.parser_factory(
      pipeline_.endpoint_of(info.socket, pipeline_.coverage_.server_name(info.socket.cookie)), info.joined, *this);
  pipeline_.connections_.insert(this);
}

Connection::~Connection() {
  for (Pending& pending : pending_) pipeline_.unhold(pending, pipeline_.now_ns());
  pipeline_.disarm(*this);
  pipeline_.connections_.erase(this);
}

Pending* Connection::find(const model::Exchange& exchange) {
  const auto it =
      std::find_if(pending_.begin(), pending_.end(), [&](const Pending& p) { return p.exchange == &exchange; });
  return it == pending_.end() ? nullptr : &*it;
}

void Connection::remember_target(const model::Exchange& exchange) {
  if (provider_ != exchange.provider) provider_ = exchange.provider;
  if (model_ != exchange.request_model) model_ = exchange.request_model;
}

std::uint64_t Connection::gate_ns(std::uint64_t now_boot_ns) const {
  return closed_since_ns_ != 0 && now_boot_ns > closed_since_ns_ ? now_boot_ns - closed_since_ns_ : 0;
}

// ---- what the kernel says ------------------------------------------------------------------------------------------

void Connection::on_gate(const pn_ev_gate& event, bool unseen) {
  const std::uint64_t end = event.pos + event.len;
  if (const std::uint64_t now = pipeline_.now_ns(); event.what == PN_GATE_CLOSED && now > event.hdr.boot_ns)
    pipeline_.note_span(Span::kCloseToEvent, now - event.hdr.boot_ns);
  const bool held = event.what == PN_GATE_CLOSED || event.what == PN_GATE_BEHIND || event.what == PN_GATE_REFUSED;
  // It waits behind a write that we were not told of, or begins with bytes that we do not have.
  if (event.what == PN_GATE_BEHIND && !opaque_ && event.pos > std::max(known_end_, leased_end_)) unreadable_ = true;
  if (held && unseen && !parser_->request_open()) unreadable_ = true;
  switch (event.what) {
    case PN_GATE_OBSERVED:
      return;
    case PN_GATE_LEASED:
      leased_end_ = std::max<std::uint64_t>(leased_end_, end);
      ++pipeline_.stats_.leased;
      return;
    case PN_GATE_REFUSED:
      kernel_refused_ = true;
      ++pipeline_.stats_.kernel_refused;
      break;
    case PN_GATE_OPAQUE:
      opaque_ = true;
      if (closed_since_ns_ == 0) closed_since_ns_ = event.hdr.boot_ns;
      return;
    default:
      break;  // closed, behind another held write, or inside what was admitted
  }
  known_end_ = std::max<std::uint64_t>(known_end_, end);
  if (known_end_ <= admitted_) return;
  if (closed_since_ns_ == 0) {
    closed_since_ns_ = event.hdr.boot_ns;
    held_bytes_ = 0;
  }
  held_bytes_ += event.len;
  if (write_ends_.size() == kMaxWriteEnds) write_ends_.pop_back();  // the last two are let go together
  write_ends_.push_back(end);
  last_bytes_ns_ = event.hdr.boot_ns;
}

void Connection::on_fed(std::uint64_t) {
  update();
  sleep_if_plain();
}

// Cleartext: the answer to what is no AI request is not copied to its end. (It may still show that it is one.)
void Connection::sleep_if_plain() {
  if (info_.how != PN_BIND_CLEAR || pending_.empty() || !pending_.back().complete) return;
  if (info_.delivered_bytes[PN_TO_CLIENT] - plain_answer_at_ < pipeline_.options_.plain_answer_bytes) return;
  const bool plain =
      std::none_of(pending_.begin(), pending_.end(), [](const Pending& p) { return policy::is_ai(*p.exchange); });
  if (plain) pipeline_.ignore(*this);
  plain_answer_at_ = info_.delivered_bytes[PN_TO_CLIENT];
}

void Connection::on_rebound(std::uint64_t old_cookie) {
  pipeline_.coverage_.on_stream_end(old_cookie, info_);
  // Positions and admissions belong to the socket: the new one starts with nothing admitted.
  known_end_ = 0;
  write_ends_.clear();
  admitted_ = 0;
  closed_since_ns_ = 0;
  leased_end_ = 0;
  passed_ = false;
  ignored_ = false;
  new_endpoint_ = true;
}

void Connection::on_closed(std::uint64_t) {
  pipeline_.coverage_.on_stream_end(info_.socket.cookie, info_);
  for (Pending& pending : pending_) pipeline_.unhold(pending, pipeline_.now_ns());
  pending_.clear();
  pipeline_.disarm(*this);
}

// ---- what the parser says ------------------------------------------------------------------------------------------

void Connection::on_request_head(model::Exchange& exchange) {
  pending_.emplace_back();
  pending_.back().exchange = &exchange;
  pipeline_.begin(*this, pending_.back());
}

void Connection::on_request(model::Exchange& exchange, std::uint64_t end_pos) {
  Pending* pending = find(exchange);
  if (pending == nullptr) return;
  pending->complete = true;
  pending->end_pos = end_pos;
  plain_answer_at_ = info_.delivered_bytes[PN_TO_CLIENT];
  if (destroyed_) {
    pending->stage = Stage::kRefused;
  } else if (pending->judged_early) {
    pipeline_.judge_again_complete(*this, *pending);
  } else if (pending->stage == Stage::kOpen || pending->plain_early) {
    pipeline_.judge(*this, *pending);
  }
}

void Connection::on_progress(model::Exchange& exchange) {
  Pending* pending = find(exchange);
  if (pending != nullptr && exchange.timing.last_chunk_ns) pending->chunks.note(*exchange.timing.last_chunk_ns);
  if (pending != nullptr && pending->stage == Stage::kAdmitted && !destroyed_) pipeline_.progress(*this, *pending);
}

void Connection::on_complete(model::Exchange& exchange) {
  const auto it =
      std::find_if(pending_.begin(), pending_.end(), [&](const Pending& p) { return p.exchange == &exchange; });
  if (it == pending_.end()) return;
  pipeline_.unhold(*it, pipeline_.now_ns());
  pipeline_.finish(*this, *it);
  const bool plain = !policy::is_ai(exchange);
  plain_requests_ = plain ? plain_requests_ + 1 : 0;
  if (plain) pipeline_.plain_request_done(*this, exchange, plain_requests_);
  pending_.erase(it);
}

// ---- letting go ----------------------------------------------------------------------------------------------------

void Connection::update() {
  const std::uint64_t now = pipeline_.now_ns();
  if (destroyed_) {
    if (destroy_pending_) pipeline_.arm(*this, now + pipeline_.options_.destroy_retry_ns);
    return;
  }
  if (unreadable_) {
    pipeline_.refuse_unreadable(*this);
    return;
  }
  bool blocked = false;
  Pending* open = nullptr;
  std::uint64_t wake = 0;
  const auto sooner = [&wake](std::uint64_t when) {
    if (when != 0 && (wake == 0 || when < wake)) wake = when;
  };
  for (Pending& pending : pending_) {
    if (pending.stage == Stage::kHeld) {
      blocked = true;
      sooner(pending.retry_at_ns);
      sooner(pending.give_up_at_ns);
    } else if (pending.stage == Stage::kRefused) {
      blocked = true;
    } else if (pending.stage == Stage::kOpen && open == nullptr) {
      open = &pending;
    }
  }
  if (opaque_ && !blocked && open == nullptr) {
    // Not before the requests that are held too: to pass, it passes everything.
    opaque_ = false;
    pipeline_.judge_opaque(*this, Unread::kCiphertext);
    if (destroyed_ || passed_) return;
  }
  if (blocked || open != nullptr) admit_prefix();
  if (known_end_ <= admitted_) {
    if (!opaque_) closed_since_ns_ = 0;
  } else if (!blocked) {
    const parsers::Protocol protocol = parser_->protocol();
    const bool plain_upload =
        open != nullptr && !policy::is_ai(*open->exchange) && held_bytes_ >= pipeline_.options_.plain_body_bytes;
    // The last request was let go before its end was seen: its body follows.
    // A stopped server cannot read on, and does nothing with the beginning of a message.
    const bool stopped = info_.socket.stdio_server != 0;
    const bool continues = stopped || (open == nullptr && !pending_.empty() &&
                                       pending_.back().stage == Stage::kAdmitted && !pending_.back().complete);
    if (protocol == parsers::Protocol::kOther || protocol == parsers::Protocol::kWebSocket) {
      pipeline_.judge_opaque(*this, Unread::kNotHttp);
      if (destroyed_) return;
    } else if (plain_upload) {
      open->stage = Stage::kAdmitted;
      open->plain_early = true;
      ++pipeline_.stats_.passed_plain;
      admit_to(known_end_);
    } else if (continues || (open == nullptr && parser_->settled_pos() >= known_end_)) {
      admit_to(known_end_);
    } else {
      wait_for_more(now);
      if (!grown_) sooner(closed_since_ns_ + pipeline_.options_.grow_after_ns);
      const Options& options = pipeline_.options_;
      for (const std::uint64_t quiet : {first_quiet_ns(), options.incomplete_ns, options.unread_ns})
        if (now < last_bytes_ns_ + quiet) sooner(last_bytes_ns_ + quiet);
    }
    // The write to the gate's map failed: the request is still held.
    if (!destroyed_ && known_end_ > admitted_ && wake == 0) sooner(now + pipeline_.options_.destroy_retry_ns);
  }
  pipeline_.arm(*this, wake);
}

void Connection::wait_for_more(std::uint64_t now_boot_ns) {
  // The writer may be blocked on a full send buffer with most of its request still to come.
  if (grown_) return;
  if (held_bytes_ < pipeline_.options_.grow_after_bytes &&
      now_boot_ns < closed_since_ns_ + pipeline_.options_.grow_after_ns) {
    return;
  }
  grown_ = true;
  const auto grown = pipeline_.parts_.gate.grow_send_buffer(info_.socket, pipeline_.options_.grow_bytes);
  if (grown) {
    ++pipeline_.stats_.grown;
  } else {
    ++pipeline_.stats_.gate_errors;
  }
}

void Connection::on_timer(std::uint64_t now_boot_ns) {
  if (destroyed_) {
    if (destroy_pending_) retry_destroy(now_boot_ns);
    return;
  }
  bool blocked = false;
  for (Pending& pending : pending_) {
    if (pending.stage != Stage::kHeld) {
      blocked = blocked || pending.stage == Stage::kRefused;
      continue;
    }
    if (pending.give_up_at_ns != 0 && pending.give_up_at_ns <= now_boot_ns) {
      pipeline_.give_up(*this, pending);
    } else if (pending.retry_at_ns != 0 && pending.retry_at_ns <= now_boot_ns) {
      pipeline_.retry_held(*this, pending);
    }
    if (destroyed_) return;
    blocked = blocked || pending.stage == Stage::kHeld;
  }
  if (holding() && !blocked && now_boot_ns >= last_bytes_ns_ + first_quiet_ns()) {
    decide_on_what_is_known(now_boot_ns);
    if (destroyed_) return;
  }
  update();
}

// No new bytes of a held request for so long: time to look at what is known of it.
std::uint64_t Connection::first_quiet_ns() const {
  const bool h2 = parser_->protocol() == parsers::Protocol::kHttp2;
  return h2 ? pipeline_.options_.incomplete_h2_ns : pipeline_.options_.incomplete_ns;
}

void Connection::decide_on_what_is_known(std::uint64_t now_boot_ns) {
  const std::uint64_t quiet_ns = now_boot_ns - last_bytes_ns_;
  const bool h2 = parser_->protocol() == parsers::Protocol::kHttp2;
  if (h2) parser_->read_open_requests();
  bool any = false;
  for (Pending& pending : pending_) {
    if (pending.stage != Stage::kOpen) continue;
    any = true;
    if (!policy::is_ai(*pending.exchange)) {
      if (quiet_ns < pipeline_.options_.incomplete_ns) continue;
      pending.stage = Stage::kAdmitted;
      pending.plain_early = true;
      ++pipeline_.stats_.passed_plain;
      continue;
    }
    // Without a model, rules about models cannot be applied: worth waiting for, unless nothing more can come.
    const bool blocked_writer = held_bytes_ >= pipeline_.options_.grow_bytes / 2;
    const bool window_full = h2 && held_bytes_ >= pipeline_.options_.window_bytes;
    const std::uint64_t patience_ns = blocked_writer ? 0
                                      : window_full  ? pipeline_.options_.incomplete_ns
                                                     : pipeline_.options_.unread_ns;
    if (pending.exchange->request_model.empty() && quiet_ns < patience_ns) continue;
    pending.judged_early = true;
    ++pipeline_.stats_.judged_early;
    pipeline_.judge(*this, pending);
    if (destroyed_) return;
  }
  if (any || quiet_ns < pipeline_.options_.incomplete_ns) return;
  // Bytes that are no request yet: an unfinished head, or the rest of something that began before we looked.
  pipeline_.judge_opaque(*this, Unread::kNoRequest);
  if (!destroyed_ && known_end_ > admitted_) admit_to(known_end_);
}

// A held write goes when everything in it may: requests that were let go do not wait for one behind them that was not,
// as long as that began with a write of its own. (HTTP/1: requests follow one another. HTTP/2 interleaves them.)
void Connection::admit_prefix() {
  if (parser_->protocol() != parsers::Protocol::kHttp1) return;
  std::uint64_t allowed = 0;
  for (const Pending& pending : pending_) {
    if (pending.stage != Stage::kAdmitted || !pending.complete) break;
    allowed = std::max(allowed, pending.end_pos);
  }
  std::uint64_t end = 0;
  for (const std::uint64_t write_end : write_ends_) {
    if (write_end > allowed) break;
    end = write_end;
  }
  if (end > admitted_ && end < known_end_) admit_to(end);
}

bool Connection::answer_is_urgent() const {
  return std::any_of(pending_.begin(), pending_.end(),
                     [](const Pending& p) { return p.stage == Stage::kAdmitted && p.urgent; });
}

void Connection::watch_closely() {
  if (admitted_ == 0) return;  // never held: the kernel has no record of it
  if (!pipeline_.parts_.gate.admit(info_.socket.cookie, admitted_, PN_ADMIT_URGENT)) ++pipeline_.stats_.gate_errors;
}

void Connection::admit_to(std::uint64_t pos) {
  const std::uint64_t began = pipeline_.now_ns();
  const std::uint32_t flags = answer_is_urgent() ? PN_ADMIT_URGENT : 0;
  if (const auto written = pipeline_.parts_.gate.admit(info_.socket.cookie, pos, flags); !written) {
    ++pipeline_.stats_.gate_errors;
    return;
  }
  ++pipeline_.stats_.admits;
  admitted_ = pos;
  while (!write_ends_.empty() && write_ends_.front() <= admitted_) write_ends_.pop_front();
  if (closed_since_ns_ != 0) {
    const auto pushed = pipeline_.parts_.gate.push(info_.socket);
    if (!pushed) {
      ++pipeline_.stats_.gate_errors;
    } else if (*pushed) {
      ++pipeline_.stats_.pushes;
    } else {
      ++pipeline_.stats_.pushes_missed;  // the kernel's probe timer sends it
    }
    pipeline_.note_span(Span::kRelease, pipeline_.now_ns() - began);
  }
  if (known_end_ > admitted_) return;  // the rest waits on
  closed_since_ns_ = 0;
  held_bytes_ = 0;
  grown_ = false;
}

void Connection::admit_again() {
  if (closed_since_ns_ == 0) closed_since_ns_ = pipeline_.now_ns();
  admit_to(admitted_);
}

void Connection::pass_for_good() {
  admit_to(PN_ADMIT_ALL);
  passed_ = admitted_ == PN_ADMIT_ALL;
}

// ---- ending --------------------------------------------------------------------------------------------------------

void Connection::refuse(Pending& pending, const model::Verdict& verdict, std::string_view text) {
  const std::uint64_t now = pipeline_.now_ns();
  pending.exchange->verdict = verdict;
  pending.exchange->verdict.gate_ns = gate_ns(now);
  pending.stage = Stage::kRefused;
  pipeline_.unhold(pending, now);
  pipeline_.report(*pending.exchange, pending.exchange->verdict, false, text);
  destroy(verdict, text);
}

void Connection::destroy(const model::Verdict& verdict, std::string_view text) {
  if (destroyed_) return;
  destroyed_ = true;
  const std::uint64_t now = pipeline_.now_ns();
  for (Pending& pending : pending_) {
    if (pending.stage == Stage::kHeld || pending.stage == Stage::kOpen) {
      pipeline_.unhold(pending, now);
      pending.stage = Stage::kRefused;
      if (!policy::is_ai(*pending.exchange)) continue;
      pending.exchange->verdict = verdict;
      pending.exchange->verdict.gate_ns = gate_ns(now);
      pipeline_.report(*pending.exchange, pending.exchange->verdict, false, text);
    } else if (pending.stage == Stage::kAdmitted && verdict.action == model::Action::kKill &&
               policy::is_ai(*pending.exchange)) {
      const std::uint64_t held = pending.exchange->verdict.gate_ns;
      pending.exchange->verdict = verdict;
      pending.exchange->verdict.gate_ns = held;
      pending.cut = true;
      pipeline_.report(*pending.exchange, pending.exchange->verdict, false, text);
    }
  }
  retry_destroy(now);
}

void Connection::retry_destroy(std::uint64_t now_boot_ns) {
  const auto gone = pipeline_.parts_.gate.destroy(info_.socket);
  if (gone) {
    destroy_pending_ = false;
    ++(*gone ? pipeline_.stats_.destroys : pipeline_.stats_.destroys_gone);
    pipeline_.arm(*this, 0);
    return;
  }
  ++pipeline_.stats_.gate_errors;
  destroy_pending_ = ++destroy_attempts_ < pipeline_.options_.destroy_retries;
  if (destroy_attempts_ == 1) {
    base::log_warning("gate destroy_failed error=\"{}\" action=retry", gone.error().message());
  }
  // Meanwhile the gate stays closed: nothing was admitted.
  pipeline_.arm(*this, destroy_pending_ ? now_boot_ns + pipeline_.options_.destroy_retry_ns : 0);
}

}  // namespace penstock::pipeline
