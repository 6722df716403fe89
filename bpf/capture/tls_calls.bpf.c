// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Plaintext of TLS libraries, and the closing of gates.
 *
 *   uprobe__tls_call        a write or read call begins. Gated writes: the plaintext is copied *now* (copied on return, a
 *                           request larger than the send buffer would deadlock), provisionally. Calls of connections that
 *                           are ignored end here: their return is not probed.
 *                           It returned. Observed calls: exactly the bytes it reports are copied.
 *   tls_send                the thread's next TLS send, under the socket's lock and before a byte is queued: ties the TLS
 *                           context to its socket and, for a gated write, closes the gate at write_seq. One step.
 *   tls_receive             ties contexts whose first call is a read, from inside it or from the receive before it.
 *
 * A write inside a write (SSL_write over ssl_write_internal, TLS in TLS) is one call: the outermost counts. A write inside a
 * read is a call of its own: callbacks of the library may run any code of the program. Libraries that
 * encrypt into memory (Node, asyncio) send after the call returned: the thread remembers up to PN_PENDING such writes, with
 * a fingerprint of the ciphertext, taken where the library hands it on (the write of its BIO), that the send is recognised by.
 */
#include "lib/gate_close.h"
#include "lib/socket_hooks.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

enum pn_call_gate {
	CALL_OBSERVED = 0,
	CALL_GATED,     /* provisional data was emitted                                                     */
	CALL_CONTINUED, /* retry of a write whose gate has closed: nothing to emit, nothing to close        */
};

static __always_inline bool is_write(__u8 shape)
{
	return shape == PN_SHAPE_WRITE_OUT || shape == PN_SHAPE_WRITE_RET || shape == PN_SHAPE_WRITE_FLAGS_OUT;
}

static __always_inline void withdraw(const struct pn_ctx_val *c, const struct pn_call *call)
{
	struct pn_ev_withdraw ev = {.cookie = c->cookie, .stream = c->stream, .pos = call->pos};
	PN_EMIT(pn_verdicts, PN_EV_withdraw, &ev, BPF_RB_NO_WAKEUP);
}

/*
 * A call that nobody wants to know of: its connection is ignored. One in PN_LOOK_AGAIN is followed all the same, because a
 * context may be given another connection (SSL_clear); where it is not told when contexts end, all are.
 */
#define PN_LOOK_AGAIN 16

static __always_inline bool of_no_interest(__u64 ctx, const struct pn_probe_val *probe)
{
	struct pn_ctx_val *c = probe->flags & PN_PROBE_ENDS_TOLD ? ctx_get(ctx, false) : NULL;
	if (!c || !ignored(c) || !(++c->passed % PN_LOOK_AGAIN))
		return false;
	pn_count(PN_STAT_IGNORED_CALLS);
	return true;
}

/* The plaintext of a gated write is offered now. A retry of a write whose gate has closed offers nothing. */
static __always_inline void offer_gated(struct pn_call *call, __u32 scope)
{
	struct pn_ctx_val *c = ctx_get(call->ctx, true);
	if (!c || ignored(c))
		return;
	call->stream = c->stream;
	if (c->retry_len && c->retry_len == call->len) {
		call->gated = CALL_CONTINUED;
		pn_count(PN_STAT_GATE_CONTINUED);
		return;
	}
	/* A retry of another length begins where the first attempt began: user space drops what it has seen by position. */
	call->pos = c->retry_len ? c->retry_pos : c->pos[PN_TO_SERVER];
	call->gated = CALL_GATED;
	emit_plaintext(c, call->buf, call->pos, call->len, call->row, PN_TO_SERVER, PN_DATA_PROVISIONAL, scope, 0);
}

static __always_inline enum pn_session tls_enter(struct pt_regs *regs, struct pn_ctl_val *ctl, __u32 row,
						 const struct pn_probe_val *probe, struct pn_task_val *t)
{
	__u8 shape = (__u8)probe->shape;
	if (shape == PN_SHAPE_READ_FLAGS_RET) {
		if (regs->cx & PN_FLAG_PEEK)
			return PN_SKIP_RETURN; /* read again later */
		shape = PN_SHAPE_READ_RET;
	}
	bool write = is_write(shape);
	struct pn_call *call = write ? &t->write : &t->read;

	if (call->sp && regs->sp < call->sp)
		return PN_SKIP_RETURN; /* inside a probed call of the same direction already */
	call->sp = 0;
	/* f(ctx, buf, int len): the upper half of the register is not part of the argument. */
	__u64 len = shape == PN_SHAPE_WRITE_RET || shape == PN_SHAPE_READ_RET ? (__u32)regs->dx : regs->dx;
	__u32 scope = ctl->gating && write && len ? pn_scope_of(t, ctl) : 0;
	struct pn_scope_val *s = ctl->gating && write && len ? pn_scope_val_of(scope) : NULL;
	bool gated = s && s->mode != PN_MODE_OBSERVE;
	if (!gated && of_no_interest(regs->di, probe))
		return PN_SKIP_RETURN;

	call->ctx = regs->di;
	call->buf = regs->si;
	__u64 fourth = regs->cx, fifth = regs->r8;
	barrier_var(fourth); /* both are read: the context must not be indexed by a variable */
	barrier_var(fifth);
	call->out = shape == PN_SHAPE_WRITE_FLAGS_OUT ? fifth : fourth;
	call->row = row;
	call->shape = shape;
	call->len = len;
	call->gated = CALL_OBSERVED;
	call->sent = 0;
	call->print = 0;
	call->sp = regs->sp;
	if (gated)
		offer_gated(call, scope);
	return PN_SEE_RETURN;
}

/* How many bytes the call moved; 0 when none. */
static __always_inline __u64 call_result(const struct pn_call *call, __u64 ax)
{
	__s32 ret = (__s32)ax;
	__u64 n = 0;
	if (ret <= 0)
		return 0;
	if (call->shape == PN_SHAPE_WRITE_RET || call->shape == PN_SHAPE_READ_RET)
		return (__u64)ret;
	if (bpf_probe_read_user(&n, sizeof(n), (const void *)call->out))
		return 0;
	return n > call->len ? 0 : n;
}

/* The ciphertext of this write waits in memory for a send of this thread. */
static __always_inline void remember(struct pn_task_val *t, const struct pn_call *call, const struct pn_ctx_val *c, __u64 pos,
				     __u64 len, bool gated)
{
	__u32 slot = 0, oldest = ~0u;
	for (__u32 i = 0; i < PN_PENDING; i++) {
		struct pn_pending *p = &t->pending[i];
		__u32 no = p->len ? p->no : 0;
		if (p->len && p->ctx == call->ctx && p->stream == c->stream && p->gated == gated && p->pos + p->len == pos) {
			p->len += len;
			return;
		}
		if (no < oldest) {
			oldest = no;
			slot = i;
		}
	}
	slot &= PN_PENDING - 1;
	barrier_var(slot); /* the verifier must see the bound */
	struct pn_pending *p = &t->pending[slot & (PN_PENDING - 1)];
	p->ctx = call->ctx;
	p->stream = c->stream;
	p->pos = pos;
	p->len = len;
	p->print = call->print;
	p->gated = gated;
	p->no = ++t->pending_no;
}

static __always_inline void finish_gated(struct pn_task_val *t, struct pn_call *call, struct pn_ctx_val *c, __u64 n)
{
	if (call->gated == CALL_CONTINUED) {
		if (n) {
			c->pos[PN_TO_SERVER] = c->retry_pos + n;
			c->retry_len = 0;
		}
		return;
	}
	if (!n && !call->sent) { /* nothing was encrypted: the handshake is not done, or the call failed */
		withdraw(c, call);
		pn_count(PN_STAT_GATE_VOID);
		return;
	}
	if (!n) {
		c->retry_pos = call->pos;
		c->retry_len = call->len;
		return;
	}
	c->retry_len = 0;
	c->pos[PN_TO_SERVER] = call->pos + n;
	if (!call->sent)
		remember(t, call, c, call->pos, n, true);
}

static __always_inline void finish_observed(struct pn_task_val *t, struct pn_call *call, struct pn_ctl_val *ctl, __u64 n)
{
	__u8 direction = is_write(call->shape) ? PN_TO_SERVER : PN_TO_CLIENT;
	struct pn_ctx_val *c = ctx_get(call->ctx, true);
	__u64 pos;

	if (!c) {
		pn_lost_rate(PN_EV_data, n);
		return;
	}
	if (!c->cookie && direction == PN_TO_CLIENT) {
		/* Joined in the middle, decrypting from memory: what the thread received last is what it reads now. */
		if (t->note_receives && t->received.cookie && t->received.len > n)
			bind_to(c, call->ctx, &t->received, PN_BIND_ADJACENT, ctl->gating ? pn_scope_of(t, ctl) : 0);
		t->note_receives = 1;
	}
	struct pn_admit_val *a = admit_of(c->cookie);
	if (ignored_by(c, a)) {
		pn_count(PN_STAT_IGNORED_CALLS);
		return;
	}
	pos = c->pos[direction];
	c->pos[direction] = pos + n;

	__u32 scope = ctl->gating ? pn_scope_of(t, ctl) : 0;
	struct pn_scope_val *s = pn_scope_val_of(scope);
	bool urgent = direction == PN_TO_CLIENT && a && a->flags & PN_ADMIT_URGENT;
	if (s && !pn_rate_ok(s, n))
		pn_lost_rate(PN_EV_data, n);
	else
		emit_plaintext(c, call->buf, pos, n, call->row, direction, 0, scope, pn_wake_flags(ctl, urgent, n));
	if (direction == PN_TO_SERVER && !call->sent && !c->cookie)
		remember(t, call, c, pos, n, false);
}

static __always_inline void tls_exit(struct pt_regs *regs, struct pn_ctl_val *ctl, const struct pn_probe_val *probe,
				     struct pn_task_val *t)
{
	struct pn_call *call = is_write((__u8)probe->shape) ? &t->write : &t->read;
	if (!call->sp || regs->sp <= call->sp)
		return; /* the return of a nested call: the stack is still below the outermost one */
	__u64 n = call_result(call, regs->ax);
	if (call->gated) {
		struct pn_ctx_val *c = ctx_get(call->ctx, false);
		if (c)
			finish_gated(t, call, c, n);
	} else if (n) {
		finish_observed(t, call, ctl, n);
	}
	call->sp = 0;
}

static __always_inline void note_record(struct pn_task_val *t, struct pt_regs *regs)
{
	if (t->write.sp && regs->sp < t->write.sp && !t->write.print)
		t->write.print = print_of((const __u8 *)regs->si);
}

SEC("uprobe")
int uprobe__tls_call(struct pt_regs *regs)
{
	struct pn_ctl_val *ctl = pn_control();
	if (!pn_active(ctl))
		return PN_SEE_RETURN; /* these programs may have taken over by then */
	__u32 row = (__u32)bpf_get_attach_cookie(regs);
	struct pn_probe_val *probe = bpf_map_lookup_elem(&pn_probe, &row);
	if (!probe || !probe->shape)
		return PN_SKIP_RETURN;
	if (probe->shape == PN_SHAPE_FREE) {
		struct pn_ctx_key key = {.ctx = regs->di, .tgid = bpf_get_current_pid_tgid() >> 32};
		bpf_map_delete_elem(&pn_ctx, &key);
		return PN_SKIP_RETURN;
	}
	struct pn_task_val *t =
		bpf_task_storage_get(&pn_task, bpf_get_current_task_btf(), NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!t) {
		pn_count(PN_STAT_TASK_STORAGE_FAILED);
		return PN_SKIP_RETURN;
	}
	if (probe->shape == PN_SHAPE_RECORD)
		note_record(t, regs);
	else if (!is_return(regs))
		return tls_enter(regs, ctl, row, probe, t);
	else
		tls_exit(regs, ctl, probe, t);
	return PN_SKIP_RETURN;
}

/* ---- the send that follows ------------------------------------------------------------------------------ */

static __always_inline void send_in_call(struct pn_task_val *t, struct pn_ctl_val *ctl, const struct sock *sk, __u64 cookie,
					 const struct pn_records *r)
{
	struct pn_call *call = &t->write;
	/* The handshake may run inside the call, and so may callbacks that send for others: only the records that it made
	 * are its own, or, where these are not known, those that can hold the first piece of this plaintext. */
	__u64 piece = call->len > 16384 ? 16384 : call->len;
	if (call->sent || !r->app_records || (call->print && !r->torn ? !has_print(r, call->print) : r->app_bytes <= piece))
		return;
	struct pn_ctx_val *c = ctx_get(call->ctx, true);
	if (!c)
		return;
	__u32 scope = ctl->gating ? pn_scope_of(t, ctl) : 0;
	bind(c, call->ctx, sk, cookie, PN_BIND_NESTED, scope);
	call->sent = 1;
	/* Only now is it certain which side of the connection this is: a server's answers are nobody's requests. */
	if (c->server && call->gated) {
		withdraw(c, call);
		call->gated = CALL_OBSERVED;
		return;
	}
	if (call->gated == CALL_GATED) {
		commit(ctl, sk, cookie, scope, c, call->pos, call->len);
		if (ctl->gating & PN_GATING_OPAQUE)
			explain(sk, call->len);
		/* If the call is retried from here on, it continues this intent. */
		c->pos[PN_TO_SERVER] = call->pos + call->len;
	}
}

/*
 * Which of the writes that wait is this send? One of a context that is tied to this socket; else the one whose very
 * ciphertext it carries. Where the ciphertext could not be seen, the latest whose length fits, else the latest that fits in:
 * a write whose connection was lost before its send stays behind, and must not take the next one's place.
 */
static __always_inline void send_after_call(struct pn_task_val *t, struct pn_ctl_val *ctl, const struct sock *sk, __u64 cookie,
					    const struct pn_records *r)
{
	struct pn_pending *best = NULL;
	__u8 how = 0;

	for (int i = 0; i < PN_PENDING; i++) {
		struct pn_pending *p = &t->pending[i];
		if (!p->len)
			continue;
		struct pn_ctx_val *c = ctx_get(p->ctx, false);
		if (!c || c->stream != p->stream) {
			p->len = 0; /* the context ended before it sent */
			continue;
		}
		if (c->cookie == cookie) {
			best = p;
			how = PN_BIND_NESTED;
			break;
		}
		if (c->cookie)
			continue;
		if (p->print && has_print(r, p->print)) {
			best = p;
			how = PN_BIND_PRINT;
			break;
		}
		if (p->print && !r->torn)
			continue;
		__u8 guess = length_fits(r, p->len) ? PN_BIND_LENGTH : r->app_bytes > p->len ? PN_BIND_ADJACENT : 0;
		if (guess && (!best || guess < how || (guess == how && p->no > best->no))) {
			best = p;
			how = guess;
		}
	}
	if (!best)
		return;
	struct pn_ctx_val *c = ctx_get(best->ctx, false);
	if (!c)
		return;
	__u32 scope = ctl->gating ? pn_scope_of(t, ctl) : 0;
	bind(c, best->ctx, sk, cookie, how, scope);
	if (best->gated && !c->server) {
		commit(ctl, sk, cookie, scope, c, best->pos, best->len);
		if (ctl->gating & PN_GATING_OPAQUE)
			explain(sk, best->len);
	}
	best->len = 0;
}

PN_SEND_PART(tls_send)
{
	struct pn_ctl_val *ctl = pn_control();
	struct pn_task_val *t = bpf_task_storage_get(&pn_task, bpf_get_current_task_btf(), NULL, 0);
	if (!ctl || !t)
		return 0;
	__u64 cookie = bpf_get_socket_cookie((void *)sk);
	if (!ctl->gating && t->write.sp) { /* the common case: nothing to learn from the records */
		struct pn_ctx_val *c = ctx_get(t->write.ctx, false);
		if (c && c->cookie == cookie) {
			t->write.sent = 1;
			return 0;
		}
	}
	struct pn_records *r = &t->records;
	walk_records(msg, r);
	if (r->tls && t->write.sp)
		send_in_call(t, ctl, sk, cookie, r);
	else if (r->tls)
		send_after_call(t, ctl, sk, cookie, r);
	return 0;
}

PN_RECEIVE_PART(tls_receive)
{
	struct pn_ctl_val *ctl = pn_control();
	struct pn_task_val *t = bpf_task_storage_get(&pn_task, bpf_get_current_task_btf(), NULL, 0);
	if (!ctl || !t)
		return 0;
	if (!tls_reads(t)) {
		t->received.len = (__u32)ret;
		if (t->received.cookie != bpf_get_socket_cookie(sk))
			describe(&t->received, sk);
		return 0;
	}
	struct pn_ctx_val *c = ctx_get(t->read.ctx, true);
	if (!c)
		return 0;
	bind(c, t->read.ctx, sk, bpf_get_socket_cookie(sk), PN_BIND_NESTED, ctl->gating ? pn_scope_of(t, ctl) : 0);
	return 0;
}
