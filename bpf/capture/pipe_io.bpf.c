// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Tools over pipes: JSON lines on the standard input and output of a server that an agent started. Both directions are seen in
 * the server, as its system calls return: what it read is the request, what it wrote the answer.
 *
 * Nothing can be held back in a pipe. In a gated scope the server itself is stopped between the kernel and its own code: the
 * read that brought bytes ends in SIGSTOP, which is delivered before the next instruction of the program. User space lets it
 * go on (SIGCONT), or not (SIGKILL).
 *
 * The one program here sees every system call of the host, so it is attached only while user space watches such a server.
 */
#include "lib/streams.h"
#include "lib/vectors.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define SIGKILL 9
#define SIGSTOP 19

/* Could an object whose first bytes these are be a JSON-RPC message? Its members come in any order. */
static __always_inline bool first_key_of_json_rpc(__u64 word, __u32 n)
{
	static const char keys[][8] = {"jsonrpc", "id\"", "method", "params", "result", "error\""};
	if (n < 2 || (__u8)word != '"')
		return true; /* white space, or too little to tell */
	word >>= 8;
	n--;
	for (int i = 0; i < 6; i++) {
		__u64 key = *(const __u64 *)keys[i], mask = (1ull << (i == 1 ? 24 : 40)) - 1;
		if (n < 5)
			mask &= (1ull << n * 8) - 1;
		if (!((word ^ key) & mask))
			return true;
	}
	return false;
}

static __always_inline bool begins_json_rpc(const struct pn_vectors *w)
{
	__u64 word;
	__u32 n = first_bytes(w, &word);
	for (int i = 0; i < 8 && n; i++, n--, word >>= 8) {
		__u8 byte = (__u8)word;
		if (byte != ' ' && byte != '\t' && byte != '\r' && byte != '\n')
			return byte == '[' || (byte == '{' && first_key_of_json_rpc(word >> 8, n - 1));
	}
	return false;
}

/*
 * Whose rules hold: the client's. It is the agent; the server may be a program that nobody wrote a policy about. A client
 * without an entry is in the default scope.
 */
static __always_inline __u32 scope_of_client(struct pn_ctl_val *ctl, const struct pn_stdio_val *io)
{
	__u32 client = io->client_tgid;
	struct pn_proc_val *proc = ctl->gating ? bpf_map_lookup_elem(&pn_proc, &client) : NULL;
	return proc ? proc->scope : 0;
}

/*
 * The client's first bytes decide what this is. Not in a gated scope: there everything that is read is looked at, or a line of
 * something else in front would hide the calls behind it.
 */
static __always_inline bool of_interest(struct pn_stdio_val *io, const struct pn_vectors *w, __u8 direction, __u32 scope, bool gated)
{
	if (io->state == PN_STDIO_SPEAKS)
		return true;
	if (direction == PN_TO_CLIENT)
		return false;
	if (begins_json_rpc(w)) {
		io->state = PN_STDIO_SPEAKS;
	} else if (!gated) {
		io->state = PN_STDIO_NEVER;
		return false;
	}
	if (io->stream)
		return true;
	io->stream = new_stream();
	struct pn_ev_bind ev = {.cookie = io->stream | PN_STDIO_COOKIE,
				.stream = io->stream,
				.how = PN_BIND_STDIO,
				.scope = scope,
				.client_tgid = io->client_tgid};
	PN_EMIT(pn_verdicts, PN_EV_bind, &ev, BPF_RB_NO_WAKEUP);
	return true;
}

/* The server is stopped first: user space must not let it go on before. */
static __noinline void stop_at_read(struct pn_ctl_val *ctl, struct pn_stdio_val *io, __u32 scope, __u64 len)
{
	struct pn_scope_val *s = pn_scope_val_of(scope);
	struct pn_ev_gate *ev = bpf_ringbuf_reserve(&pn_verdicts, sizeof(*ev), 0);

	if (!ev || !s) {
		if (ev)
			bpf_ringbuf_discard(ev, BPF_RB_NO_WAKEUP);
		pn_lost_ring(PN_EV_gate, 0);
		bpf_send_signal(SIGKILL); /* nobody would ever hear of it */
		return;
	}
	__builtin_memset(ev, 0, sizeof(*ev));
	pn_header(&ev->hdr, PN_EV_gate, sizeof(*ev));
	ev->cookie = io->stream | PN_STDIO_COOKIE;
	ev->stream = io->stream;
	ev->pos = io->pos[PN_TO_SERVER] - len;
	ev->len = len;
	ev->deadline_boot_ns = ev->hdr.boot_ns + s->deadline_ns;
	ev->scope = scope;
	ev->fd = -1;
	ev->what = PN_GATE_CLOSED;
	bpf_ringbuf_submit(ev, pn_wake_now(ctl));
	pn_sent(PN_EV_gate, 0);
	pn_count(PN_STAT_STDIO_STOPPED);
}

static __always_inline bool must_stop(struct pn_ctl_val *ctl, __u32 scope, __u8 direction)
{
	struct pn_scope_val *s = ctl->gating && direction == PN_TO_SERVER ? pn_scope_val_of(scope) : NULL;
	if (!s || s->mode == PN_MODE_OBSERVE)
		return false;
	return s->on_failure != PN_FAIL_OPEN || !pn_daemon_away(ctl, bpf_ktime_get_boot_ns());
}

static __noinline void take(struct pn_ctl_val *ctl, struct pn_stdio_val *io, __u32 n, __u8 direction)
{
	struct pn_vectors w = {};
	__u32 scope = scope_of_client(ctl, io);
	bool gated = must_stop(ctl, scope, direction);
	struct pn_scope_val *s = pn_scope_val_of(scope);

	if (!vectors_of_syscall(&w, n) || !of_interest(io, &w, direction, scope, gated))
		return;
	__u64 cookie = io->stream | PN_STDIO_COOKIE;
	if (gated)
		bpf_send_signal(SIGSTOP);
	w.copy = (struct pn_copy){.ev = {.cookie = cookie,
					 .stream = io->stream,
					 .pos = io->pos[direction],
					 .scope = scope,
					 .direction = direction,
					 .flags = gated ? PN_DATA_PROVISIONAL : 0,
					 .probe = PN_PROBE_NONE},
				  .verdict = gated};
	w.wake = gated ? 0 : pn_wake_flags(ctl, false, n);
	io->pos[direction] += n;
	if (!gated && s && !pn_rate_ok(s, n))
		pn_lost_rate(PN_EV_data, n);
	else
		copy_vectors(&w);
	if (gated)
		stop_at_read(ctl, io, scope, n);
}

SEC("tp_btf/sys_exit")
int BPF_PROG(tp_btf__stdio, struct pt_regs *regs, long ret)
{
	unsigned long nr = regs->orig_ax, fd = regs->di;
	bool reads = nr == NR_READ || nr == NR_READV || nr == NR_RECVFROM || nr == NR_RECVMSG;
	bool writes = nr == NR_WRITE || nr == NR_WRITEV || nr == NR_SENDTO || nr == NR_SENDMSG;

	if (ret <= 0 || !(reads ? fd == 0 : writes && fd == 1))
		return 0;
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	struct pn_stdio_val *io = bpf_map_lookup_elem(&pn_stdio, &tgid);
	struct pn_ctl_val *ctl = pn_control();
	if (!io || io->state == PN_STDIO_NEVER || !pn_active(ctl))
		return 0;
	take(ctl, io, (__u32)ret, reads ? PN_TO_SERVER : PN_TO_CLIENT);
	return 0;
}
