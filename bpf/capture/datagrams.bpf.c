// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What UDP sockets receive that speak QUIC, as far as one can tell from outside: those that gate/connect.bpf.c has noted. (What they
 * send is counted by gate/egress.bpf.c.) Until there is one: a load and out.
 *
 *   tp_btf__datagram_received   after each receive of any socket
 */
#include "lib/emit.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tp_btf/sock_recv_length")
int BPF_PROG(tp_btf__datagram_received, struct sock *sk, int ret, int flags)
{
	struct pn_ctl_val *ctl = pn_control();
	if (ret <= 0 || !pn_active(ctl) || !ctl->datagrams || BPF_CORE_READ(sk, sk_protocol) != IPPROTO_UDP)
		return 0;
	__u64 cookie = bpf_get_socket_cookie((void *)sk);
	struct pn_datagram_val *d = bpf_map_lookup_elem(&pn_datagram, &cookie);
	if (d)
		__sync_fetch_and_add(&d->received_bytes, ret);
	return 0;
}
