/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* UDP sockets that speak to port 443 or to an AI endpoint. */
#ifndef PENSTOCK_DATAGRAM_H
#define PENSTOCK_DATAGRAM_H

#include "lib/scope.h"

#define PN_QUIC_PORT 443

static __always_inline void note_datagram(struct pn_ctl_val *ctl, __u64 cookie, const struct pn_endpoint_key *to, __u32 scope,
					  bool refused)
{
	struct pn_datagram_val *known = bpf_map_lookup_elem(&pn_datagram, &cookie);
	struct pn_datagram_val fresh = {};
	struct pn_datagram_val *d = known ? known : &fresh;

	__builtin_memcpy(d->remote_addr, to->addr, 16);
	d->remote_port = to->port;
	d->family = to->family;
	d->tgid = bpf_get_current_pid_tgid() >> 32;
	d->scope = scope;
	d->refused += refused;
	if (known)
		return;
	fresh.cgroup_id = bpf_get_current_cgroup_id();
	fresh.first_boot_ns = bpf_ktime_get_boot_ns();
	bpf_map_update_elem(&pn_datagram, &cookie, &fresh, BPF_ANY);
	ctl->datagrams = 1;
}

#endif
