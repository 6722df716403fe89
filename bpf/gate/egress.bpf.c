// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The gate: payload from the first held write on does not leave until pn_admit has passed the position of that write. A refused
 * segment stays unsent in the socket's own send queue; segments without payload always pass. Attached once at the root of cgroup2; the
 * socket's cookie decides, not its cgroup.
 *
 * After the deadline, if no daemon is alive to decide, on_failure of the scope applies here, with nobody's help:
 *   open       passes while the scope's lease lasts      hold-last, closed     stays refused
 *
 * Refused here as well, because no other hook sees them: datagrams to port 443 or an AI endpoint on a socket that was connected
 * before its program was governed; and data in a SYN (RFC 7413), which leaves no moment to hold it against its plaintext.
 */
#include <stddef.h>

#include "lib/datagram.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct segment {
	__u32 seq;
	__u32 payload;
};

/* False: not TCP, or not understood. */
static __always_inline bool parse(struct __sk_buff *skb, struct segment *out)
{
	__u8 version = 0;
	struct pn_tcp tcp;
	__u32 header;

	if (bpf_skb_load_bytes(skb, 0, &version, 1))
		return false;
	if (version >> 4 == 4) {
		struct pn_ipv4 ip;
		if (bpf_skb_load_bytes(skb, 0, &ip, sizeof(ip)) || ip.protocol != IPPROTO_TCP)
			return false;
		header = (ip.ihl_version & 15) * 4;
	} else {
		struct pn_ipv6 ip;
		/* TCP sockets that set extension headers by sticky options are not followed: their gate fails closed. */
		if (bpf_skb_load_bytes(skb, 0, &ip, sizeof(ip)) || ip.next_header != IPPROTO_TCP)
			return false;
		header = sizeof(ip);
	}
	if (bpf_skb_load_bytes(skb, header, &tcp, sizeof(tcp)))
		return false;
	header += (tcp.doff_reserved >> 4) * 4;
	out->seq = bpf_ntohl(tcp.seq);
	out->payload = skb->len > header ? skb->len - header : 0;
	return true;
}

/* Whether a hold whose deadline has passed, with no daemon to decide, may go. */
static __always_inline bool expired_may_pass(struct pn_gate_val *g)
{
	struct pn_scope_val *s = pn_scope_val_of(g->scope);
	if (s && s->on_failure == PN_FAIL_OPEN && !g->expired && pn_take_lease(s, g->pos - g->hold[0].pos, false)) {
		g->holds = 0;
		g->overflow = 0;
		pn_count(PN_STAT_EXPIRED_OPEN);
		return true;
	}
	if (!g->expired) {
		g->expired = 1;
		pn_count(PN_STAT_EXPIRED_CLOSED);
	}
	return false;
}

#define UDP_HEADER 8

static __always_inline void count_datagram(struct __sk_buff *skb)
{
	__u64 cookie = bpf_get_socket_cookie(skb);
	struct pn_datagram_val *d = bpf_map_lookup_elem(&pn_datagram, &cookie);
	__u32 header = (skb->protocol == bpf_htons(ETH_P_IP) ? sizeof(struct pn_ipv4) : sizeof(struct pn_ipv6)) + UDP_HEADER;
	if (d && skb->len > header)
		__sync_fetch_and_add(&d->sent_bytes, skb->len - header);
}

static __always_inline bool datagram_target(struct __sk_buff *skb, struct pn_endpoint_key *to)
{
	__u8 version = 0;
	__be16 port = 0;
	__u32 header = sizeof(struct pn_ipv6);
	long err = bpf_skb_load_bytes(skb, 0, &version, 1);

	if (version >> 4 == 4) {
		header = (version & 15) * 4;
		to->family = AF_INET;
		err |= bpf_skb_load_bytes(skb, offsetof(struct pn_ipv4, daddr), to->addr, 4);
	} else {
		to->family = AF_INET6;
		err |= bpf_skb_load_bytes(skb, offsetof(struct pn_ipv6, daddr), to->addr, 16);
	}
	err |= bpf_skb_load_bytes(skb, header + 2, &port, sizeof(port));
	to->port = bpf_ntohs(port);
	return !err;
}

static __always_inline int datagram_may_pass(struct __sk_buff *skb, struct pn_ctl_val *ctl)
{
	struct pn_endpoint_key to = {};
	if (!datagram_target(skb, &to))
		return 1;
	if (to.port != PN_QUIC_PORT && !bpf_map_lookup_elem(&pn_endpoint, &to))
		return 1;
	__u32 scope = pn_scope_resolve();
	struct pn_scope_val *s = pn_scope_val_of(scope);
	if (!s || s->mode == PN_MODE_OBSERVE)
		return 1;
	note_datagram(ctl, bpf_get_socket_cookie(skb), &to, scope, true);
	pn_count(PN_STAT_UDP_REFUSED);
	return 0;
}

/* A socket that nothing is held of. */
static __always_inline int ungated_may_pass(struct __sk_buff *skb, struct pn_ctl_val *ctl)
{
	struct segment seg;
	struct bpf_sock *sk = skb->sk ? bpf_sk_fullsock(skb->sk) : NULL;
	if (!sk)
		return 1;
	if (sk->protocol == IPPROTO_UDP) {
		if (ctl->gating && !datagram_may_pass(skb, ctl))
			return 0;
		if (ctl->datagrams)
			count_datagram(skb);
		return 1;
	}
	if (sk->state == TCP_SYN_SENT && ctl->gating & PN_GATING_OPAQUE && parse(skb, &seg) && seg.payload) {
		struct pn_scope_val *s = pn_scope_val_of(pn_scope_resolve());
		struct pn_sock_val *v = s && pn_refuses_opaque(s)
						? bpf_sk_storage_get(&pn_sock, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE)
						: NULL;
		if (v) {
			v->refused = 1;
			ctl->gating |= PN_GATING_FULL;
			pn_count(PN_STAT_OPAQUE_HELD);
			return 0;
		}
	}
	if (!(ctl->gating & PN_GATING_FULL))
		return 1;
	struct pn_sock_val *v = bpf_sk_storage_get(&pn_sock, sk, NULL, 0);
	return !v || !v->refused || (parse(skb, &seg) && !seg.payload);
}

SEC("cgroup_skb/egress")
int cgroup_skb__egress(struct __sk_buff *skb)
{
	struct pn_ctl_val *ctl = pn_control();
	struct segment seg;

	if (!ctl || !(ctl->gating | ctl->datagrams) || ctl->epoch != cfg_epoch)
		return 1;
	if (!ctl->gating)
		return ungated_may_pass(skb, ctl);
	__u64 cookie = bpf_get_socket_cookie(skb);
	struct pn_gate_val *g = bpf_map_lookup_elem(&pn_gate, &cookie);
	if (!g)
		return ungated_may_pass(skb, ctl);
	if (!g->holds)
		return 1;
	struct pn_admit_val *a = bpf_map_lookup_elem(&pn_admit, &cookie);
	if (!pn_holds_left(g, a ? a->pos : 0))
		return 1;
	if (parse(skb, &seg) && (!seg.payload || (__s32)(seg.seq + seg.payload - g->hold[0].seq) <= 0))
		return 1;
	__u64 now = bpf_ktime_get_boot_ns();
	if (now > g->deadline_boot_ns && pn_daemon_away(ctl, now) && expired_may_pass(g))
		return 1;
	pn_count(PN_STAT_SKB_HELD);
	return 0;
}
