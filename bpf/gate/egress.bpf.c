// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The gate: payload from the first held write on does not leave until pn_admit has passed the position of that write. A refused
 * segment stays unsent in the socket's own send queue; segments without payload always pass. Attached once at the root of cgroup2; the
 * socket's cookie decides, not its cgroup.
 *
 * After the deadline, if no daemon is alive to decide, on_failure of the scope applies here, with nobody's help:
 *   open       passes while the scope's lease lasts      hold-last, closed     stays refused
 */
#include "lib/scope.h"

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

SEC("cgroup_skb/egress")
int cgroup_skb__egress(struct __sk_buff *skb)
{
	struct pn_ctl_val *ctl = pn_control();
	struct segment seg;

	if (!ctl || !ctl->gating || ctl->epoch != cfg_epoch)
		return 1;
	__u64 cookie = bpf_get_socket_cookie(skb);
	struct pn_gate_val *g = bpf_map_lookup_elem(&pn_gate, &cookie);
	if (!g) {
		if (!(ctl->gating & PN_GATING_FULL) || !skb->sk)
			return 1;
		struct bpf_sock *sk = bpf_sk_fullsock(skb->sk);
		struct pn_sock_val *v = sk ? bpf_sk_storage_get(&pn_sock, sk, NULL, 0) : NULL;
		return !v || !v->refused || (parse(skb, &seg) && !seg.payload);
	}
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
