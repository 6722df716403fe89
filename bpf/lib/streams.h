/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Streams: the plaintext of one TLS context, and the socket it belongs to. */
#ifndef PENSTOCK_STREAMS_H
#define PENSTOCK_STREAMS_H

#include "lib/scope.h"

static __always_inline __u64 new_stream(void)
{
	__u32 zero = 0;
	__u64 *n = bpf_map_lookup_elem(&pn_stream_no, &zero);
	return n ? ((__u64)(bpf_get_smp_processor_id() + 1) << 48 | ++*n) : 0;
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

static __always_inline void bind(struct pn_ctx_val *c, __u64 ctx, const struct sock *sk, __u64 cookie, __u8 how, __u32 scope)
{
	if (c->cookie == cookie)
		return;
	if (c->cookie)
		pn_count(PN_STAT_BIND_CHANGED);
	c->cookie = cookie;
	struct pn_sock_val *sv = bpf_sk_storage_get(&pn_sock, (void *)sk, NULL, 0);
	c->server = sv && sv->passive;
	if (c->server)
		return;

	struct pn_conn_val v = {.ctx = ctx,
				.stream = c->stream,
				.tgid = bpf_get_current_pid_tgid() >> 32,
				.scope = scope,
				.how = how,
				.joined = !(sv && sv->fresh)};
	fill_tuple(&v, sk);
	if (bpf_map_update_elem(&pn_conn, &cookie, &v, BPF_ANY))
		pn_count(PN_STAT_TABLE_FULL_CONN);
	pn_count(how == PN_BIND_NESTED ? PN_STAT_BIND_NESTED : how == PN_BIND_LENGTH ? PN_STAT_BIND_LENGTH : PN_STAT_BIND_ADJACENT);

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

#endif
