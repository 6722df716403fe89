// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * How a TLS connection begins: the ClientHello is in the clear, whoever wrote it. It is handed to user space as it is sent, in
 * whatever pieces, together with what follows it within PN_HELLO_BYTES; user space puts it together and reads it.
 *
 *   hello_send           sends within the first PN_HELLO_BYTES of a connection. Connections that begin with anything else than
 *                        a handshake record are left alone from their second send on.
 *   tp_btf__wire_end     what such a connection has moved, when it ends
 */
#include "lib/records.h"
#include "lib/socket_hooks.h"
#include "lib/streams.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define TYPE_HANDSHAKE 0x16
#define PF_IO_WORKER 0x10
#define SYS_IO_URING_ENTER 426
#define PN_HELLO_STEPS 32 /* vectors of one send, the ones skipped included                                   */

struct hello_record {
	struct pn_ev_hello ev;
	__u8 bytes[PN_HELLO_BYTES];
};

/* key: 0 · value: a record that is being made · writer, reader: hello_send. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct hello_record);
} pn_hello_make SEC(".maps");

struct hello_copy {
	struct pn_cursor in;
	struct hello_record *record; /* its event: a template; pos advances                                   */
	__u64 flags;                 /* of the event ring                                                     */
	__u32 pos;
	__u32 told;                  /* bytes up to here were handed on before                                */
	__u32 first;                 /* enum pn_first                                                         */
	__u32 _pad0;
};

static __always_inline long emit_piece(struct hello_copy *c, __u32 n)
{
	struct hello_record *r = c->record;
	if (n > PN_HELLO_BYTES)
		return 1;
	r->ev.pos = c->pos;
	r->ev.len = n;
	r->ev.hdr.size = sizeof(r->ev) + n;
	if (n && bpf_probe_read_user(r->bytes, n, (const void *)c->in.at)) {
		pn_lost_fault(PN_EV_hello, n);
		return 1;
	}
	if (bpf_ringbuf_output(&pn_events, r, sizeof(r->ev) + n, c->flags)) {
		pn_lost_ring(PN_EV_hello, n);
		return 1;
	}
	pn_sent(PN_EV_hello, n);
	return 0;
}

static long copy_hello(__u32 index, struct hello_copy *c)
{
	__u8 type = 0;
	__u64 n = c->in.end - c->in.at;

	if (c->in.at >= c->in.end)
		return !next_vector(&c->in);
	if (c->pos < c->told) { /* the hook fires again for each buffer that one send fills */
		if (n > c->told - c->pos)
			n = c->told - c->pos;
		c->pos += (__u32)n;
		c->in.at += n;
		return 0;
	}
	if (c->first == PN_FIRST_UNSEEN) {
		c->first = bpf_probe_read_user(&type, 1, (const void *)c->in.at) || type == TYPE_HANDSHAKE ? PN_FIRST_TLS
													    : PN_FIRST_OTHER;
		if (c->first == PN_FIRST_OTHER)
			return 1;
	}
	if (n > PN_HELLO_BYTES - c->pos)
		n = PN_HELLO_BYTES - c->pos;
	if (emit_piece(c, (__u32)n))
		return 1;
	c->pos += (__u32)n;
	c->in.at += n;
	return c->pos >= PN_HELLO_BYTES;
}

static __always_inline __u16 how_sent(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);
	unsigned long call = 0;
	bpf_probe_read_kernel(&call, sizeof(call), &regs->orig_ax);
	return task->flags & PF_IO_WORKER || call == SYS_IO_URING_ENTER ? PN_HELLO_RING : 0;
}

static __always_inline void describe_hello(struct pn_ev_hello *ev, const struct sock *sk, __u32 scope)
{
	struct pn_conn_val conn = {};
	fill_tuple(&conn, sk);
	ev->cookie = bpf_get_socket_cookie((void *)sk);
	__builtin_memcpy(ev->local_addr, conn.local_addr, 16);
	__builtin_memcpy(ev->remote_addr, conn.remote_addr, 16);
	ev->local_port = conn.local_port;
	ev->remote_port = conn.remote_port;
	ev->family = conn.family;
	ev->flags = how_sent();
	ev->scope = scope;
	ev->_pad0 = 0;
	pn_header(&ev->hdr, PN_EV_hello, 0);
}

PN_SEND_PART(hello_send)
{
	const struct tcp_sock *tp = bpf_skc_to_tcp_sock((void *)sk);
	struct pn_ctl_val *ctl = pn_control();
	struct pn_sock_val *v = bpf_sk_storage_get(&pn_sock, (void *)sk, NULL, 0);
	if (!tp || !ctl || !v)
		return 0;
	__u64 offset = sent_offset(tp);
	if (offset >= PN_HELLO_BYTES)
		return 0;
	if (v->first == PN_FIRST_UNSEEN && offset) { /* it began before these programs did */
		v->first = PN_FIRST_OTHER;
		return 0;
	}
	__u64 count = BPF_CORE_READ(msg, msg_iter.count);
	__u32 scope = ctl->gating ? pn_scope_resolve() : 0;
	struct pn_scope_val *s = pn_scope_val_of(scope);
	if (s && v->first != PN_FIRST_UNSEEN && !pn_rate_ok(s, count)) {
		pn_lost_rate(PN_EV_hello, count);
		return 0;
	}
	__u32 zero = 0;
	struct hello_record *r = bpf_map_lookup_elem(&pn_hello_make, &zero);
	if (!r)
		return 0;
	struct hello_copy c = {.record = r,
			       .pos = (__u32)offset,
			       .told = v->told,
			       .first = v->first,
			       .flags = pn_wake_flags(ctl, false, count)};
	describe_hello(&r->ev, sk, scope);
	if (first_vector(msg, &c.in)) {
		bpf_loop(PN_HELLO_STEPS, copy_hello, &c, 0);
	} else {
		c.first = PN_FIRST_TLS;
		r->ev.flags |= PN_HELLO_SPLICED;
		emit_piece(&c, 0);
	}
	v->first = c.first;
	if (c.first == PN_FIRST_TLS)
		v->tls = 1;
	if (c.pos > v->told)
		v->told = c.pos;
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tp_btf__wire_end, const struct sock *sk, const int oldstate, const int newstate)
{
	struct pn_ctl_val *ctl;
	if (newstate != TCP_CLOSE)
		return 0;
	ctl = pn_control();
	if (!pn_active(ctl))
		return 0;
	struct pn_sock_val *v = bpf_sk_storage_get(&pn_sock, (void *)sk, NULL, 0);
	const struct tcp_sock *tp = bpf_skc_to_tcp_sock((void *)sk);
	if (!v || !tp || v->first != PN_FIRST_TLS)
		return 0;
	v->first = PN_FIRST_OTHER;
	struct pn_ev_wire_end ev = {.cookie = bpf_get_socket_cookie((void *)sk),
				    .sent_bytes = tp->bytes_acked,
				    .received_bytes = tp->bytes_received};
	PN_EMIT(pn_events, PN_EV_wire_end, &ev, pn_wake_flags(ctl, false, sizeof(ev)));
	return 0;
}
