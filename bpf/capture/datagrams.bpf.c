// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Bytes of UDP sockets that speak QUIC, as far as one can tell from outside: those that gate/connect.bpf.c has noted. Until there
 * is one: a load and out.
 *
 *   tp_btf__datagram_sent, tp_btf__datagram_received   after each send or receive of any socket
 */
#include "lib/emit.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline struct pn_datagram_val *noted(const struct sock *sk, int ret)
{
	struct pn_ctl_val *ctl = pn_control();
	if (ret <= 0 || !pn_active(ctl) || !ctl->datagrams || BPF_CORE_READ(sk, sk_protocol) != IPPROTO_UDP)
		return NULL;
	__u64 cookie = bpf_get_socket_cookie((void *)sk);
	return bpf_map_lookup_elem(&pn_datagram, &cookie);
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(tp_btf__datagram_sent, struct sock *sk, int ret, int flags)
{
	struct pn_datagram_val *d = noted(sk, ret);
	if (d)
		__sync_fetch_and_add(&d->sent_bytes, ret);
	return 0;
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(tp_btf__datagram_received, struct sock *sk, int ret, int flags)
{
	struct pn_datagram_val *d = noted(sk, ret);
	if (d)
		__sync_fetch_and_add(&d->received_bytes, ret);
	return 0;
}
