// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Scopes that refuse what nobody can read: faith in a uprobe is not a control, a program can remove it, bring a library of its
 * own, or leave encryption to the kernel. What a connection sends is counted by its sequence numbers and held against the
 * plaintext that was seen for it; what is not explained, beyond the handshake and a small allowance (TLS 1.3 Finished, alerts,
 * key updates), closes the gate until user space admits the connection as a whole. Cleartext counts only towards known AI
 * endpoints.
 *
 *   opaque_send      every send while there is such a scope, under the socket's lock, before a byte is queued; after the parts
 *                    that see plaintext: what is seen must be explained before it is accounted for
 */
#include "lib/gate_close.h"
#include "lib/socket_hooks.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define PN_OPAQUE_ALLOWANCE 256
#define PN_FINISHED_MOST 128     /* application records before the first request: the end of a TLS 1.3 handshake   */
#define PN_HANDSHAKE_MOST 16384  /* sent by a client, certificates included                                       */
#define PN_WALK_STEPS 512
#define TYPE_DATA 0x17

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

	__u64 admitted = a ? a->pos : 0;
	__u32 held = g ? pn_holds_left(g, admitted) : 0;

	if (admitted == PN_ADMIT_ALL || (held && g->hold[0].pos == PN_OPAQUE_POS))
		return;
	if (conn) {
		stream = conn->stream;
	} else { /* no TLS call was ever seen for this socket */
		struct pn_ctx_val nobody = {.stream = new_stream()};
		bind(&nobody, 0, sk, cookie, PN_BIND_NESTED, scope);
		stream = nobody.stream;
	}
	struct pn_gate_val fresh = {.pos = g ? g->pos : 0,
				    .closed_boot_ns = now,
				    .deadline_boot_ns = now + s->deadline_ns,
				    .scope = scope,
				    .holds = 1,
				    .hold = {{.pos = PN_OPAQUE_POS, .seq = BPF_CORE_READ((struct tcp_sock *)sk, write_seq)}}};
	if (held)
		fresh.hold[0].seq = g->hold[0].seq; /* a request is held already: nothing of it may go either */
	struct pn_ev_gate ev = {.cookie = cookie,
				.stream = stream,
				.pos = fresh.pos,
				.deadline_boot_ns = fresh.deadline_boot_ns,
				.scope = scope,
				.fd = fd_of_syscall(),
				.limit_seq = fresh.hold[0].seq,
				.what = PN_GATE_OPAQUE};
	if (bpf_map_update_elem(&pn_gate, &cookie, &fresh, BPF_ANY)) {
		refuse_socket(ctl, sk);
		ev.what = PN_GATE_REFUSED;
	}
	pn_count(PN_STAT_OPAQUE_HELD);
	PN_EMIT_WAITED_FOR(ctl, &ev);
}

/*
 * Follows the records of the handshake, over any number of sends and split anywhere. Reads the program's memory, which it may
 * change before TCP copies it: what that can gain is bounded, and ends with the first application data.
 */
struct handshake_walk {
	struct pn_cursor in;
	struct pn_sock_val at; /* walked, left, length, type, have, handshake, app_bytes, tls, talking              */
	__u64 pos;             /* of in.at                                                                         */
};

static __always_inline void account_record_bytes(struct handshake_walk *w, __u64 n)
{
	if (w->at.type == TYPE_DATA)
		w->at.app_bytes += n;
	else
		w->at.handshake += n;
	w->at.walked += n;
	w->pos += n;
	w->in.at += n;
	if (w->at.app_bytes > PN_FINISHED_MOST || w->at.handshake > PN_HANDSHAKE_MOST)
		w->at.talking = 1;
}

static __always_inline bool header_byte(struct pn_sock_val *at, __u8 byte)
{
	switch (at->have++) {
	case 0:
		at->type = byte;
		return byte >= 0x14 && byte <= 0x18;
	case 1:
		at->tls = byte == 3 ? 1 : at->tls;
		return byte == 3;
	case 2:
		return true;
	case 3:
		at->length = (__u16)byte << 8;
		return true;
	default:
		at->left = at->length | byte;
		at->have = at->left ? at->have : 0;
		return true;
	}
}

static long walk_step(__u32 index, struct handshake_walk *w)
{
	__u64 n = w->in.end - w->in.at;
	__u8 byte = 0;

	if (w->in.at >= w->in.end)
		return !next_vector(&w->in);
	if (w->pos < w->at.walked) { /* offered before, and not taken by TCP then */
		if (n > w->at.walked - w->pos)
			n = w->at.walked - w->pos;
		w->pos += n;
		w->in.at += n;
		return 0;
	}
	if (w->at.left) {
		if (n > w->at.left)
			n = w->at.left;
		w->at.left -= (__u32)n;
		if (!w->at.left)
			w->at.have = 0;
		account_record_bytes(w, n);
		return w->at.talking != 0;
	}
	if (bpf_probe_read_user(&byte, 1, (const void *)w->in.at) || !header_byte(&w->at, byte)) {
		w->at.talking = 1;
		return 1;
	}
	account_record_bytes(w, 1);
	return w->at.talking != 0;
}

static __always_inline void follow_handshake(struct pn_sock_val *v, const struct msghdr *msg, __u64 offset)
{
	struct handshake_walk w = {.at = *v, .pos = offset};
	if (!first_vector(msg, &w.in)) {
		/* Not to be read: taken for TLS, unless the connection is known to be something else. */
		v->tls |= v->first != PN_FIRST_OTHER && !v->handshake;
		v->talking = 1;
		return;
	}
	if (bpf_loop(PN_WALK_STEPS, walk_step, &w, 0) == PN_WALK_STEPS)
		w.at.talking = 1;
	v->handshake = w.at.handshake;
	v->app_bytes = w.at.app_bytes;
	v->walked = w.at.walked;
	v->left = w.at.left;
	v->length = w.at.length;
	v->type = w.at.type;
	v->have = w.at.have;
	v->tls = w.at.tls;
	v->talking = w.at.talking;
}

PN_SEND_PART(opaque_send)
{
	struct pn_ctl_val *ctl = pn_control();
	if (!ctl)
		return 0;
	struct pn_task_val *t =
		bpf_task_storage_get(&pn_task, bpf_get_current_task_btf(), NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	__u32 scope = t ? pn_scope_of(t, ctl) : pn_scope_resolve();
	struct pn_scope_val *s = pn_scope_val_of(scope);
	if (!s || !pn_refuses_opaque(s))
		return 0;
	struct pn_sock_val *v = sock_val(sk);
	if (!v || v->passive)
		return 0;
	const struct tcp_sock *tp = bpf_skc_to_tcp_sock((void *)sk);
	if (!tp)
		return 0;
	__u64 offset = sent_offset(tp);
	if (!v->looked) {
		v->looked = 1;
		v->base = offset;
		v->walked = offset;
	}
	if (!v->talking)
		follow_handshake(v, msg, offset);
	__u64 total = offset - v->base + BPF_CORE_READ(msg, msg_iter.count);
	if (total <= v->explained + v->handshake + PN_OPAQUE_ALLOWANCE || (!v->tls && !known_endpoint(sk)))
		return 0;
	close_opaque(ctl, sk, bpf_get_socket_cookie((void *)sk), scope, s);
	return 0;
}
