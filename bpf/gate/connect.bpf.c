// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * connect and sendmsg → EPERM, at once, for scopes that are blocked: to known AI endpoints (kill switch) or to anything.
 * UDP to port 443 is refused in every gated scope, so that QUIC falls back to TCP, where the gate is.
 */
#include "lib/scope.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define ALLOW 1
#define REFUSE 0

static __always_inline int judge(struct bpf_sock_addr *ctx, struct pn_endpoint_key *to, bool datagram)
{
	struct pn_ctl_val *ctl = pn_control();
	if (!ctl || !ctl->gating || ctl->epoch != cfg_epoch)
		return ALLOW;
	struct pn_scope_val *s = pn_scope_val_of(pn_scope_resolve());
	if (!s)
		return ALLOW;
	if (datagram && to->port == 443 && s->mode != PN_MODE_OBSERVE) {
		pn_count(PN_STAT_UDP_REFUSED);
		return REFUSE;
	}
	if (s->flags & PN_SCOPE_BLOCK_ALL || (s->flags & PN_SCOPE_BLOCK_ENDPOINTS && bpf_map_lookup_elem(&pn_endpoint, to))) {
		pn_count(PN_STAT_CONNECT_REFUSED);
		return REFUSE;
	}
	return ALLOW;
}

static __always_inline int judge4(struct bpf_sock_addr *ctx, bool datagram)
{
	struct pn_endpoint_key to = {.family = AF_INET, .port = bpf_ntohs((__u16)ctx->user_port)};
	__u32 addr = ctx->user_ip4;
	__builtin_memcpy(to.addr, &addr, 4);
	return judge(ctx, &to, datagram);
}

static __always_inline int judge6(struct bpf_sock_addr *ctx, bool datagram)
{
	struct pn_endpoint_key to = {.family = AF_INET6, .port = bpf_ntohs((__u16)ctx->user_port)};
	__u32 addr[4] = {ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3]};
	if (!addr[0] && !addr[1] && addr[2] == bpf_htonl(0xffff)) { /* v4-mapped: one spelling per endpoint */
		to.family = AF_INET;
		__builtin_memcpy(to.addr, &addr[3], 4);
	} else {
		__builtin_memcpy(to.addr, addr, 16);
	}
	return judge(ctx, &to, datagram);
}

SEC("cgroup/connect4")
int connect4__scope(struct bpf_sock_addr *ctx)
{
	return judge4(ctx, ctx->type == SOCK_DGRAM);
}

SEC("cgroup/connect6")
int connect6__scope(struct bpf_sock_addr *ctx)
{
	return judge6(ctx, ctx->type == SOCK_DGRAM);
}

SEC("cgroup/sendmsg4")
int sendmsg4__scope(struct bpf_sock_addr *ctx)
{
	return judge4(ctx, true);
}

SEC("cgroup/sendmsg6")
int sendmsg6__scope(struct bpf_sock_addr *ctx)
{
	return judge6(ctx, true);
}
