/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Streams: the plaintext of one TLS context, and the socket it belongs to. */
#ifndef PENSTOCK_STREAMS_H
#define PENSTOCK_STREAMS_H

#include "lib/scope.h"

static __always_inline __u64 new_stream(void)
{
	__u32 zero = 0;
	__u64 *n = bpf_map_lookup_elem(&pn_stream_no, &zero);
	/* Programs of this CPU may preempt each other: two contexts with one number would be one stream. */
	return n ? ((__u64)(bpf_get_smp_processor_id() + 1) << 48 | (__sync_fetch_and_add(n, 1) + 1)) : 0;
}

/* The thread is in a TLS write, or ciphertext of one waits in memory for its send. */
static __always_inline bool tls_writes(const struct pn_task_val *t)
{
	return t->write.sp | t->pending[0].len | t->pending[1].len | t->pending[2].len | t->pending[3].len;
}

static __always_inline bool tls_reads(const struct pn_task_val *t)
{
	return t->read.sp && !t->write.sp;
}

static __always_inline struct pn_ctx_val *ctx_get(__u64 ctx, bool create)
{
	struct pn_ctx_key key = {.ctx = ctx, .tgid = bpf_get_current_pid_tgid() >> 32};
	struct pn_ctx_val *c = bpf_map_lookup_elem(&pn_ctx, &key);
	if (c || !create)
		return c;
	struct pn_ctx_val fresh = {.stream = new_stream()};
	bpf_map_update_elem(&pn_ctx, &key, &fresh, BPF_NOEXIST);
	c = bpf_map_lookup_elem(&pn_ctx, &key);
	if (!c)
		pn_count(PN_STAT_TABLE_FULL_CTX);
	return c;
}

static __always_inline struct pn_admit_val *admit_of(__u64 cookie)
{
	return cookie ? bpf_map_lookup_elem(&pn_admit, &cookie) : NULL;
}

static __always_inline void fill_tuple(struct pn_conn_val *v, const struct sock *sk)
{
	v->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	v->local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	v->remote_port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	if (v->family == AF_INET6) {
		BPF_CORE_READ_INTO(&v->local_addr, sk, __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr8);
		BPF_CORE_READ_INTO(&v->remote_addr, sk, __sk_common.skc_v6_daddr.in6_u.u6_addr8);
	} else {
		__be32 local = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr), remote = BPF_CORE_READ(sk, __sk_common.skc_daddr);
		__builtin_memcpy(v->local_addr, &local, 4);
		__builtin_memcpy(v->remote_addr, &remote, 4);
	}
}

/* Everything about a socket that binding needs, as it can be noted where the socket is at hand. */
static __always_inline void describe(struct pn_socket *out, const struct sock *sk)
{
	struct pn_sock_val *v = bpf_sk_storage_get(&pn_sock, (void *)sk, NULL, 0);
	out->cookie = bpf_get_socket_cookie((void *)sk);
	out->passive = v && v->passive;
	out->conn.joined = !(v && v->fresh);
	fill_tuple(&out->conn, sk);
}

/* Ties the stream to the socket from here on. */
static __always_inline void bind_to(struct pn_ctx_val *c, __u64 ctx, const struct pn_socket *to, __u8 how, __u32 scope)
{
	if (c->cookie)
		pn_count(PN_STAT_BIND_CHANGED);
	c->cookie = to->cookie;
	c->server = to->passive;
	if (c->server)
		return;

	__u64 cookie = to->cookie;
	struct pn_conn_val v = to->conn;
	v.ctx = ctx;
	v.stream = c->stream;
	v.tgid = bpf_get_current_pid_tgid() >> 32;
	v.scope = scope;
	v.how = how;
	if (bpf_map_update_elem(&pn_conn, &cookie, &v, BPF_ANY))
		pn_count(PN_STAT_TABLE_FULL_CONN);
	pn_count(how == PN_BIND_NESTED  ? PN_STAT_BIND_NESTED
		 : how == PN_BIND_PRINT ? PN_STAT_BIND_PRINT
		 : how == PN_BIND_LENGTH ? PN_STAT_BIND_LENGTH
		 : how == PN_BIND_CLEAR ? PN_STAT_BIND_CLEAR
					 : PN_STAT_BIND_ADJACENT);

	struct pn_ev_bind ev = {.cookie = cookie,
				.stream = c->stream,
				.local_port = v.local_port,
				.remote_port = v.remote_port,
				.family = v.family,
				.how = how,
				.joined = v.joined,
				.scope = scope};
	__builtin_memcpy(ev.local_addr, v.local_addr, 16);
	__builtin_memcpy(ev.remote_addr, v.remote_addr, 16);
	PN_EMIT(pn_verdicts, PN_EV_bind, &ev, BPF_RB_NO_WAKEUP); /* the data that follows wakes, if need be */
}

static __always_inline void bind(struct pn_ctx_val *c, __u64 ctx, const struct sock *sk, __u64 cookie, __u8 how, __u32 scope)
{
	struct pn_socket to = {};
	if (c->cookie == cookie)
		return;
	describe(&to, sk);
	bind_to(c, ctx, &to, how, scope);
}

/* Nobody is interested: the accepting side of a connection, or one that carries no AI traffic. */
static __always_inline bool ignored_by(const struct pn_ctx_val *c, const struct pn_admit_val *a)
{
	return c->server || (a && (a->flags & PN_ADMIT_IGNORE));
}

static __always_inline bool ignored(const struct pn_ctx_val *c)
{
	return ignored_by(c, c->server ? NULL : admit_of(c->cookie));
}

/* Bytes of a stream from a program's buffer: into the verdict ring when they are provisional, else with `wake` flags. */
static __always_inline void emit_plaintext(const struct pn_ctx_val *c, __u64 buf, __u64 pos, __u64 len, __u32 row,
					   __u8 direction, __u8 data_flags, __u32 scope, __u64 wake)
{
	struct pn_copy copy = {
		.ev = {.cookie = c->cookie,
		       .stream = c->stream,
		       .pos = pos,
		       .scope = scope,
		       .direction = direction,
		       .flags = data_flags,
		       .probe = row},
		.buf = (const void *)buf,
		.flags = wake,
		.verdict = data_flags & PN_DATA_PROVISIONAL,
	};
	pn_emit_data(&copy, len);
}

#endif
