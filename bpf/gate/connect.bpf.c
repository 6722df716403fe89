// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * connect and sendmsg → EPERM, at once, for scopes that are blocked: to known AI endpoints (kill switch) or to anything.
 * UDP to port 443, or to a known AI endpoint, is refused in every gated scope, so that QUIC falls back to TCP, where the gate is;
 * elsewhere the socket is noted, for its bytes to be shown.
 */
#include "lib/datagram.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define ALLOW 1
#define REFUSE 0

static __always_inline int judge_datagram(struct bpf_sock_addr *ctx, struct pn_ctl_val *ctl, const struct pn_endpoint_key *to,
					  const struct pn_scope_val *s, __u32 scope, bool sends)
{
	bool gated = s && s->mode != PN_MODE_OBSERVE;
	if (to->port != PN_QUIC_PORT && !(gated && bpf_map_lookup_elem(&pn_endpoint, to)))
		return ALLOW;
	/* A refused connect moved nothing, and may be a resolver's that sorts addresses: nothing to show. */
	if (!gated || sends)
		note_datagram(ctl, bpf_get_socket_cookie(ctx), to, scope, gated);
	if (!gated)
		return ALLOW;
	pn_count(PN_STAT_UDP_REFUSED);
	return REFUSE;
}

static __always_inline int judge(struct bpf_sock_addr *ctx, struct pn_endpoint_key *to, bool datagram, bool sends)
{
	struct pn_ctl_val *ctl = pn_control();
	if (!pn_active(ctl) || (!ctl->gating && !(datagram && to->port == PN_QUIC_PORT)))
		return ALLOW;
	__u32 scope = ctl->gating ? pn_scope_resolve() : 0;
	struct pn_scope_val *s = pn_scope_val_of(scope);
	if (datagram && !judge_datagram(ctx, ctl, to, s, scope, sends))
		return REFUSE;
	if (!s || !ctl->gating)
		return ALLOW;
	if (s->flags & PN_SCOPE_BLOCK_ALL || (s->flags & PN_SCOPE_BLOCK_ENDPOINTS && bpf_map_lookup_elem(&pn_endpoint, to))) {
		pn_count(PN_STAT_CONNECT_REFUSED);
		return REFUSE;
	}
	return ALLOW;
}

static __always_inline int judge4(struct bpf_sock_addr *ctx, bool datagram, bool sends)
{
	struct pn_endpoint_key to = {.family = AF_INET, .port = bpf_ntohs((__u16)ctx->user_port)};
	__u32 addr = ctx->user_ip4;
	__builtin_memcpy(to.addr, &addr, 4);
	return judge(ctx, &to, datagram, sends);
}

static __always_inline int judge6(struct bpf_sock_addr *ctx, bool datagram, bool sends)
{
	struct pn_endpoint_key to = {.family = AF_INET6, .port = bpf_ntohs((__u16)ctx->user_port)};
	__u32 addr[4] = {ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3]};
	if (!addr[0] && !addr[1] && addr[2] == bpf_htonl(0xffff)) { /* v4-mapped: one spelling per endpoint */
		to.family = AF_INET;
		__builtin_memcpy(to.addr, &addr[3], 4);
	} else {
		__builtin_memcpy(to.addr, addr, 16);
	}
	return judge(ctx, &to, datagram, sends);
}

SEC("cgroup/connect4")
int connect4__scope(struct bpf_sock_addr *ctx)
{
	return judge4(ctx, ctx->type == SOCK_DGRAM, false);
}

SEC("cgroup/connect6")
int connect6__scope(struct bpf_sock_addr *ctx)
{
	return judge6(ctx, ctx->type == SOCK_DGRAM, false);
}

SEC("cgroup/sendmsg4")
int sendmsg4__scope(struct bpf_sock_addr *ctx)
{
	return judge4(ctx, true, true);
}

SEC("cgroup/sendmsg6")
int sendmsg6__scope(struct bpf_sock_addr *ctx)
{
	return judge6(ctx, true, true);
}
