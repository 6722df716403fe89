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

/* A gated write reached its socket, which is locked and has not queued a byte of it. */
static __always_inline void commit(struct pn_ctl_val *ctl, const struct sock *sk, __u64 cookie, __u32 scope, __u64 stream,
				   __u64 pos, __u64 len)
{
	__u64 now = bpf_ktime_get_boot_ns();
	struct pn_scope_val *s = pn_scope_val_of(scope);
	struct pn_admit_val *a = admit_of(cookie);
	struct pn_gate_val *g = bpf_map_lookup_elem(&pn_gate, &cookie);
	struct pn_ev_gate ev = {.cookie = cookie, .stream = stream, .pos = pos, .len = len, .scope = scope};
	__u64 admitted = a ? a->pos : 0;

	if (!s)
		return;
	ev.fd = fd_of_syscall();
	if (admitted >= pos + len) {
		if (g)
			g->pos = pos + len;
		ev.what = PN_GATE_ADMITTED;
		pn_count(PN_STAT_GATE_ADMITTED);
		PN_EMIT(pn_verdicts, PN_EV_gate, &ev, BPF_RB_NO_WAKEUP);
		return;
	}
	if (g && g->closed && admitted <= g->hold_pos) {
		g->pos = pos + len;
		ev.what = PN_GATE_BEHIND;
		ev.deadline_boot_ns = g->deadline_boot_ns;
		ev.limit_seq = g->limit_seq;
		pn_count(PN_STAT_GATE_BEHIND);
		PN_EMIT(pn_verdicts, PN_EV_gate, &ev, BPF_RB_FORCE_WAKEUP);
		return;
	}
	struct pn_gate_val next = {.pos = pos + len,
				   /* An admitted request may end inside this write: then all of the write waits. */
				   .hold_pos = admitted > pos ? admitted : pos,
				   .closed_boot_ns = now,
				   .deadline_boot_ns = now + s->deadline_ns,
				   .limit_seq = BPF_CORE_READ((struct tcp_sock *)sk, write_seq),
				   .closed = 1,
				   .scope = scope};
	ev.what = PN_GATE_CLOSED;
	if (pn_daemon_away(ctl, now)) {
		if (s->on_failure == PN_FAIL_OPEN && pn_take_lease(s, len)) {
			/* Passed on the lease: to the daemon that comes back this was admitted. */
			pn_count(PN_STAT_LEASED);
			ev.what = PN_GATE_LEASED;
			PN_EMIT(pn_verdicts, PN_EV_gate, &ev, BPF_RB_NO_WAKEUP);
			return;
		}
		if (s->on_failure == PN_FAIL_CLOSED || s->on_failure == PN_FAIL_OPEN) {
			next.deadline_boot_ns = now;
			next.expired = 1;
			ev.what = PN_GATE_REFUSED;
			pn_count(PN_STAT_EXPIRED_CLOSED);
		}
	}
	ev.deadline_boot_ns = next.deadline_boot_ns;
	ev.limit_seq = next.limit_seq;
	if (bpf_map_update_elem(&pn_gate, &cookie, &next, BPF_ANY)) {
		/* No room to hold: nothing of a gated request leaves unjudged, so the socket is refused for good. */
		struct pn_sock_val *sv = bpf_sk_storage_get(&pn_sock, (void *)sk, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
		if (sv)
			sv->refused = 1;
		ctl->gating |= PN_GATING_FULL;
		ev.what = PN_GATE_REFUSED;
		pn_count(PN_STAT_TABLE_FULL_GATE);
	} else {
		pn_count(PN_STAT_GATE_CLOSED);
	}
	PN_EMIT(pn_verdicts, PN_EV_gate, &ev, BPF_RB_FORCE_WAKEUP);
}

/*
 * Strict scopes: faith in a uprobe is not a control, a program can remove it. Ciphertext is compared with the plaintext that
 * was seen for it; what is not explained, beyond a small allowance (TLS 1.3 Finished, alerts, key updates), closes the gate
 * until user space admits the connection as a whole. Cleartext counts only towards known AI endpoints.
 */
#define PN_OPAQUE_ALLOWANCE 256
#define PN_RECORD_OVERHEAD 40 /* most that a record adds: header, explicit nonce, tag, type                      */

static __always_inline struct pn_sock_val *sock_val(const struct sock *sk)
{
	return bpf_sk_storage_get(&pn_sock, (void *)sk, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
}

static __always_inline void explain(const struct sock *sk, __u64 plain)
{
	struct pn_sock_val *v = sock_val(sk);
	if (v)
		v->explained += plain + (plain / 16384 + 1) * PN_RECORD_OVERHEAD;
}

static __always_inline bool known_endpoint(const struct sock *sk)
{
	struct pn_conn_val v = {};
	struct pn_endpoint_key to = {};
	fill_tuple(&v, sk);
	__builtin_memcpy(to.addr, v.remote_addr, 16);
	to.port = v.remote_port;
	to.family = v.family;
	return bpf_map_lookup_elem(&pn_endpoint, &to) != NULL;
}

static __always_inline void close_opaque(struct pn_ctl_val *ctl, const struct sock *sk, __u64 cookie, __u32 scope,
					 struct pn_scope_val *s)
{
	struct pn_admit_val *a = admit_of(cookie);
	struct pn_gate_val *g = bpf_map_lookup_elem(&pn_gate, &cookie);
	struct pn_conn_val *conn = bpf_map_lookup_elem(&pn_conn, &cookie);
	__u64 now = bpf_ktime_get_boot_ns(), stream;

	if ((a && a->pos == PN_ADMIT_ALL) || (g && g->closed && g->hold_pos == PN_OPAQUE_POS))
		return;
	if (conn) {
		stream = conn->stream;
	} else { /* no TLS call was ever seen for this socket */
		struct pn_ctx_val nobody = {.stream = new_stream()};
		bind(&nobody, 0, sk, cookie, PN_BIND_NESTED, scope);
		stream = nobody.stream;
	}
	struct pn_gate_val next = {.hold_pos = PN_OPAQUE_POS,
				   .pos = g ? g->pos : 0,
				   .closed_boot_ns = now,
				   .deadline_boot_ns = now + s->deadline_ns,
				   .limit_seq = BPF_CORE_READ((struct tcp_sock *)sk, write_seq),
				   .closed = 1,
				   .scope = scope};
	if (g && g->closed && !(a && a->pos > g->hold_pos))
		next.limit_seq = g->limit_seq; /* a request is held already: nothing of it may go either */
	struct pn_ev_gate ev = {.cookie = cookie,
				.stream = stream,
				.pos = next.pos,
				.deadline_boot_ns = next.deadline_boot_ns,
				.scope = scope,
				.fd = fd_of_syscall(),
				.limit_seq = next.limit_seq,
				.what = PN_GATE_OPAQUE};
	if (bpf_map_update_elem(&pn_gate, &cookie, &next, BPF_ANY)) {
		struct pn_sock_val *v = sock_val(sk);
		if (v)
			v->refused = 1;
		ctl->gating |= PN_GATING_FULL;
		ev.what = PN_GATE_REFUSED;
		pn_count(PN_STAT_TABLE_FULL_GATE);
	}
	pn_count(PN_STAT_OPAQUE_HELD);
	PN_EMIT(pn_verdicts, PN_EV_gate, &ev, BPF_RB_FORCE_WAKEUP);
}

/* Called for every send of a task in a strict scope, after its plaintext, if any was seen, has been explained. */
static __always_inline void account_strict(struct pn_ctl_val *ctl, const struct sock *sk, __u64 cookie, __u32 scope,
					   const struct records *r)
{
	struct pn_scope_val *s = pn_scope_val_of(scope);
	if (!s || s->mode != PN_MODE_STRICT || s->flags & PN_SCOPE_OPAQUE_ALLOW)
		return;
	struct pn_sock_val *v = sock_val(sk);
	if (!v || v->passive)
		return;
	/* The hook fires again for each buffer that one send fills: counting by sequence number counts each byte once. */
	__u32 seq = BPF_CORE_READ((struct tcp_sock *)sk, write_seq);
	if (v->looked)
		v->queued += (__u32)(seq - v->seq);
	v->looked = 1;
	v->seq = seq;
	if (r->tls)
		v->tls = 1;
	if (r->first)
		v->handshake += r->handshake_bytes;
	if (v->queued + r->total_bytes <= v->explained + v->handshake + PN_OPAQUE_ALLOWANCE || (!v->tls && !known_endpoint(sk)))
		return;
	close_opaque(ctl, sk, cookie, scope, s);
}

#endif
