// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Plaintext of Go's crypto/tls, and the closing of its gates.
 *
 *   uprobe__go_enter    (*Conn).Write or Read begins, past its stack check. A write is copied now, provisionally if gated.
 *   uprobe__go_return   a RET of (*Conn).Read: exactly the bytes it reports are copied. Never a uretprobe: stacks move.
 *   go_send             a send of a goroutine that is in a Write carries its records: ties the connection to its socket and,
 *                       for a gated write, closes the gate. A Write sends each record by itself, the first ones short.
 *   go_receive          the same tie for a goroutine in a Read.
 */
#include "lib/gate_close.h"
#include "lib/goroutine.h"
#include "lib/process.h"
#include "lib/socket_hooks.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define FLAG_CARRY 0x01
#define FLAG_ZERO 0x40

static __always_inline void go_observed(struct pn_ctl_val *ctl, struct pn_ctx_val *c, __u64 buf, __u64 n, __u32 row, __u8 direction,
					__u32 scope)
{
	struct pn_scope_val *s = pn_scope_val_of(scope);
	struct pn_admit_val *a = admit_of(c->cookie);
	bool urgent = direction == PN_TO_CLIENT && a && a->flags & PN_ADMIT_URGENT;
	__u64 pos = c->pos[direction];

	if (ignored_by(c, a)) {
		pn_count(PN_STAT_IGNORED_CALLS);
		return;
	}
	c->pos[direction] = pos + n;
	if (s && !pn_rate_ok(s, n))
		pn_lost_rate(PN_EV_data, n);
	else
		emit_plaintext(c, buf, pos, n, row, direction, 0, scope, pn_wake_flags(ctl, urgent, n));
}

static __always_inline struct pn_task_val *go_task(void)
{
	struct pn_task_val *t =
		bpf_task_storage_get(&pn_task, bpf_get_current_task_btf(), NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!t)
		pn_count(PN_STAT_TASK_STORAGE_FAILED);
	return t;
}

SEC("uprobe")
int uprobe__go_enter(struct pt_regs *regs)
{
	struct pn_ctl_val *ctl = pn_control();
	__u32 row = (__u32)bpf_get_attach_cookie(regs);
	struct pn_probe_val *probe = bpf_map_lookup_elem(&pn_probe, &row);
	struct pn_go_key key = {.tgid = bpf_get_current_pid_tgid() >> 32};
	struct pn_go_call call = {.ctx = regs->ax, .buf = regs->bx, .len = regs->cx, .left = regs->cx, .row = row};

	if (!pn_active(ctl) || !probe)
		return 0;
	if (regs->flags & (FLAG_CARRY | FLAG_ZERO))
		return 0; /* the stack is too small: the function begins again on a larger one */
	key.g = regs->r14;
	key.read = probe->shape == PN_SHAPE_GO_READ;
	struct pn_go_proc_val *known = bpf_map_lookup_elem(&pn_go_proc, &key.tgid);
	if (!known) {
		struct pn_go_proc_val found = {.word = go_find_word(key.g)};
		struct pn_process_val *p = process_here(true);
		/* Not found, or no room: its sends cannot be told apart. Its plaintext is still read; a gated write stays provisional. */
		if (!p || !found.word || bpf_map_update_elem(&pn_go_proc, &key.tgid, &found, BPF_ANY))
			pn_count(PN_STAT_TABLE_FULL_CALLS);
		else
			p->go = 1;
	}
	struct pn_ctx_val *c = ctx_get(call.ctx, true);
	struct pn_task_val *t = go_task();
	if (!c || !t || !call.len)
		return 0;
	__u32 scope = ctl->gating ? pn_scope_of(t, ctl) : 0;
	struct pn_scope_val *s = pn_scope_val_of(scope);
	if (!key.read && ctl->gating && s && s->mode != PN_MODE_OBSERVE && !ignored(c)) {
		call.gated = 1;
		call.pos = c->pos[PN_TO_SERVER];
		emit_plaintext(c, call.buf, call.pos, call.len, row, PN_TO_SERVER, PN_DATA_PROVISIONAL, scope, BPF_RB_NO_WAKEUP);
	} else if (!key.read) {
		go_observed(ctl, c, call.buf, call.len, row, PN_TO_SERVER, scope);
		if (c->cookie)
			return 0;
	}
	go_note_frame(&call, key.g, regs->sp);
	if (bpf_map_update_elem(&pn_go_call, &key, &call, BPF_ANY))
		pn_count(PN_STAT_TABLE_FULL_CALLS);
	return 0;
}

/*
 * A read that began before it was probed (the goroutine that waits for answers sits in one): its arguments are still in
 * the words that its caller keeps for them above the return address. Believed only if a write named the same connection.
 */
static __always_inline bool go_arguments_above(struct pt_regs *regs, struct pn_go_call *call)
{
	__u64 words[3];
	if (bpf_probe_read_user(words, sizeof(words), (const void *)(regs->sp + 8)))
		return false;
	if (regs->ax > words[2] || !ctx_get(words[0], false))
		return false;
	call->ctx = words[0];
	call->buf = words[1];
	call->len = words[2];
	return true;
}

SEC("uprobe")
int uprobe__go_return(struct pt_regs *regs)
{
	struct pn_ctl_val *ctl = pn_control();
	/* In Go's own code r14 holds g, at every RET as at every entry. */
	struct pn_go_key key = {.g = regs->r14, .tgid = bpf_get_current_pid_tgid() >> 32, .read = 1};
	struct pn_go_call call = {.row = (__u32)bpf_get_attach_cookie(regs)};

	if (!pn_active(ctl))
		return 0;
	struct pn_go_call *known = bpf_map_lookup_elem(&pn_go_call, &key);
	if (known) {
		call = *known;
		bpf_map_delete_elem(&pn_go_call, &key);
	} else if ((__s64)regs->ax <= 0 || !go_arguments_above(regs, &call)) {
		return 0;
	}
	__u64 n = regs->ax;
	if ((__s64)n <= 0 || n > call.len)
		return 0;
	struct pn_ctx_val *c = ctx_get(call.ctx, true);
	struct pn_task_val *t = go_task();
	if (!c || !t) {
		pn_lost_rate(PN_EV_data, n);
		return 0;
	}
	go_observed(ctl, c, call.buf, n, call.row, PN_TO_CLIENT, ctl->gating ? pn_scope_of(t, ctl) : 0);
	return 0;
}

static __always_inline void go_withdraw(const struct pn_go_call *call)
{
	struct pn_ctx_val *c = ctx_get(call->ctx, false);
	if (!c || !call->gated)
		return;
	struct pn_ev_withdraw ev = {.cookie = c->cookie, .stream = c->stream, .pos = call->pos};
	PN_EMIT(pn_verdicts, PN_EV_withdraw, &ev, BPF_RB_NO_WAKEUP);
}

/* The call that the goroutine of this thread is in, if what it does now may be on that call's socket. */
static __always_inline struct pn_go_call *go_call(struct pn_go_key *key, __u32 read)
{
	key->tgid = bpf_get_current_pid_tgid() >> 32;
	key->read = read;
	struct pn_go_proc_val *proc = bpf_map_lookup_elem(&pn_go_proc, &key->tgid);
	if (!proc)
		return NULL;
	key->g = go_thread_word(proc->word);
	struct pn_go_call *call = bpf_map_lookup_elem(&pn_go_call, key);
	if (!call)
		return NULL;
	if (!go_still_in(call, key->g)) {
		if (!call->sent)
			go_withdraw(call);
		bpf_map_delete_elem(&pn_go_call, key);
		return NULL;
	}
	return go_same_socket(proc, call->ctx, fd_of_syscall()) ? call : NULL;
}

PN_SEND_PART(go_send)
{
	struct pn_ctl_val *ctl = pn_control();
	struct pn_go_key key = {};
	if (!ctl)
		return 0;
	struct pn_go_call *call = go_call(&key, 0);
	if (!call)
		return 0;
	struct pn_task_val *t = go_task();
	struct pn_ctx_val *c = ctx_get(call->ctx, true);
	if (!t || !c)
		return 0;
	struct pn_records *r = &t->records;
	walk_records(msg, r);
	if (!r->app_records)
		return 0; /* the handshake runs inside the call, or the rest of a record */
	__u64 cookie = bpf_get_socket_cookie((void *)sk);
	__u32 scope = ctl->gating ? pn_scope_of(t, ctl) : 0;
	__u64 plain = r->app_bytes - r->app_records * PN_RECORD_LEAST;
	if (plain > call->left)
		plain = call->left;
	if (!call->sent) {
		bind(c, call->ctx, sk, cookie, PN_BIND_NESTED, scope);
		if (call->gated && c->server) {
			go_withdraw(call);
			call->gated = 0;
		}
		if (call->gated) {
			commit(ctl, sk, cookie, scope, c, call->pos, call->len);
			c->pos[PN_TO_SERVER] = call->pos + call->len;
		}
		call->sent = 1;
	} else if (c->cookie != cookie) {
		return 0;
	}
	if (ctl->gating & PN_GATING_OPAQUE)
		explain_records(sk, plain, r->app_records);
	call->left -= plain;
	if (!call->gated || !call->left)
		bpf_map_delete_elem(&pn_go_call, &key);
	return 0;
}

PN_RECEIVE_PART(go_receive)
{
	struct pn_ctl_val *ctl = pn_control();
	struct pn_go_key key = {};
	if (!ctl)
		return 0;
	struct pn_go_call *call = go_call(&key, 1);
	if (!call)
		return 0;
	struct pn_ctx_val *c = ctx_get(call->ctx, true);
	struct pn_task_val *t = go_task();
	if (!c || !t)
		return 0;
	bind(c, call->ctx, sk, bpf_get_socket_cookie(sk), PN_BIND_NESTED, ctl->gating ? pn_scope_of(t, ctl) : 0);
	return 0;
}
