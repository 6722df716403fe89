// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What UDP sockets receive that speak QUIC, as far as one can tell from outside: those that gate/connect.bpf.c has noted. What they
 * send is counted by gate/egress.bpf.c.
 *
 *   datagram_receive   a receive from a UDP socket is about to return; called once there has been such a socket
 */
#include "lib/emit.h"
#include "lib/socket_hooks.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

PN_RECEIVE_PART(datagram_receive)
{
	__u64 cookie = bpf_get_socket_cookie((void *)sk);
	struct pn_datagram_val *d = bpf_map_lookup_elem(&pn_datagram, &cookie);
	if (d)
		__sync_fetch_and_add(&d->received_bytes, ret);
	return 0;
}
