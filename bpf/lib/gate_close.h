/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Closing the gate, under the socket's lock and before a byte is queued. */
#ifndef PENSTOCK_GATE_CLOSE_H
#define PENSTOCK_GATE_CLOSE_H

#include "lib/records.h"
#include "lib/streams.h"

/* The descriptor that the program's system call names: first argument of write, writev, sendto and sendmsg alike. */
static __always_inline __s32 fd_of_syscall(void)
{
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
	unsigned long fd = 0;
	bpf_probe_read_kernel(&fd, sizeof(fd), &regs->di);
	return (__s32)fd;
}

static __always_inline struct pn_sock_val *sock_val(const struct sock *sk)
{
	return bpf_sk_storage_get(&pn_sock, (void *)sk, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
}

/* Refuses the socket for good: there is no room to hold it, and nothing of a gated request leaves unjudged. */
static __always_inline void refuse_socket(struct pn_ctl_val *ctl, const struct sock *sk)
{
	struct pn_sock_val *v = sock_val(sk);
	if (v)
		v->refused = 1;
	ctl->gating |= PN_GATING_FULL;
	pn_count(PN_STAT_TABLE_FULL_GATE);
}

/* Writes without an answer between them are one request (a head and its body). */
static __always_inline bool lease_covers(struct pn_scope_val *s, struct pn_ctx_val *c, __u64 bytes)
{
	__u64 turn = c->pos[PN_TO_CLIENT] + 1;
	if (!pn_take_lease(s, bytes, c->leased_at == turn))
		return false;
	c->leased_at = turn;
	return true;
}

/* A gated write of this context reached its socket, which is locked and has not queued a byte of it. */
static __always_inline void commit_offered(struct pn_ctl_val *ctl, const struct sock *sk, __u64 cookie, __u32 scope,
					   struct pn_ctx_val *c, __u64 pos, __u64 len, __u64 data_stream, __u64 data_pos)
{
	__u64 now = bpf_ktime_get_boot_ns();
	struct pn_scope_val *s = pn_scope_val_of(scope);
	struct pn_admit_val *a = admit_of(cookie);
	struct pn_gate_val *g = bpf_map_lookup_elem(&pn_gate, &cookie);
	struct pn_ev_gate ev = {.cookie = cookie,
				.stream = c->stream,
				.pos = pos,
				.len = len,
				.scope = scope,
				.data_stream = data_stream,
				.data_pos = data_pos};
	__u64 admitted = a ? a->pos : 0;
	__u32 held = 0;

	if (!s)
		return;
	ev.fd = fd_of_syscall();
	if (g)
		held = pn_holds_left(g, admitted);
	if (admitted >= pos + len && !held) {
		if (g)
			g->pos = pos + len;
		ev.what = PN_GATE_ADMITTED;
		pn_count(PN_STAT_GATE_ADMITTED);
		PN_EMIT(pn_verdicts, PN_EV_gate, &ev, BPF_RB_NO_WAKEUP);
		return;
	}
	/* An admitted request may end inside this write: then all of the write waits for what follows in it. */
	struct pn_hold next = {.pos = admitted > pos ? admitted : pos, .seq = BPF_CORE_READ((struct tcp_sock *)sk, write_seq)};
	if (held) {
		__u32 slot = held & (PN_HOLDS - 1);
		barrier_var(slot);
		g->pos = pos + len;
		if (held < PN_HOLDS) {
			g->hold[slot & (PN_HOLDS - 1)] = next;
			g->holds = held + 1;
		} else {
			g->overflow = 1;
		}
		ev.what = PN_GATE_BEHIND;
		ev.deadline_boot_ns = g->deadline_boot_ns;
		ev.limit_seq = g->hold[0].seq;
		pn_count(PN_STAT_GATE_BEHIND);
		PN_EMIT_WAITED_FOR(ctl, &ev);
		return;
	}
	struct pn_gate_val fresh = {.pos = pos + len,
				    .closed_boot_ns = now,
				    .deadline_boot_ns = now + s->deadline_ns,
				    .scope = scope,
				    .holds = 1,
				    .hold = {next}};
	ev.what = PN_GATE_CLOSED;
	if (pn_daemon_away(ctl, now)) {
		if (s->on_failure == PN_FAIL_OPEN && lease_covers(s, c, len)) {
			pn_count(PN_STAT_LEASED);
			ev.what = PN_GATE_LEASED; /* user space, when it is back, counts it as sent */
			PN_EMIT(pn_verdicts, PN_EV_gate, &ev, BPF_RB_NO_WAKEUP);
			return;
		}
		if (s->on_failure == PN_FAIL_CLOSED || s->on_failure == PN_FAIL_OPEN) {
			fresh.deadline_boot_ns = now;
			fresh.expired = 1;
			ev.what = PN_GATE_REFUSED;
			pn_count(PN_STAT_EXPIRED_CLOSED);
		}
	}
	ev.deadline_boot_ns = fresh.deadline_boot_ns;
	ev.limit_seq = next.seq;
	if (bpf_map_update_elem(&pn_gate, &cookie, &fresh, BPF_ANY)) {
		refuse_socket(ctl, sk);
		ev.what = PN_GATE_REFUSED;
	} else {
		pn_count(PN_STAT_GATE_CLOSED);
	}
	PN_EMIT_WAITED_FOR(ctl, &ev);
}

static __always_inline void commit(struct pn_ctl_val *ctl, const struct sock *sk, __u64 cookie, __u32 scope,
				   struct pn_ctx_val *c, __u64 pos, __u64 len)
{
	commit_offered(ctl, sk, cookie, scope, c, pos, len, 0, 0);
}

/* What the plaintext that was seen may have become at most; held against what is sent by gate/opaque.bpf.c. */
#define PN_RECORD_OVERHEAD 40 /* most that a record adds: header, explicit nonce, tag, type                      */
#define PN_RECORD_LEAST 21    /* least that it adds: TLS 1.2, ChaCha20                                           */

static __always_inline void explain_records(const struct sock *sk, __u64 plain, __u64 records)
{
	struct pn_sock_val *v = sock_val(sk);
	if (v)
		v->explained += plain + records * PN_RECORD_OVERHEAD;
}

static __always_inline void explain(const struct sock *sk, __u64 plain)
{
	explain_records(sk, plain, plain / 16384 + 1);
}

#endif
