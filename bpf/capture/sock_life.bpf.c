// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Connections: who connected and who accepted, and the end of those that are followed. */
#include "lib/emit.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("sockops")
int sockops__established(struct bpf_sock_ops *ops)
{
	bool passive = ops->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB;
	if (!passive && ops->op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB)
		return 1;
	if (!pn_active(pn_control()) || !ops->sk)
		return 1;
	struct pn_sock_val *v = bpf_sk_storage_get(&pn_sock, ops->sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (v) {
		v->passive = passive;
		v->fresh = 1;
		if (passive)
			v->plain = PN_PLAIN_NEVER;
	}
	return 1;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tp_btf__sock_state, const struct sock *sk, const int oldstate, const int newstate)
{
	struct pn_ctl_val *ctl = pn_control();
	if (newstate != TCP_CLOSE || !pn_active(ctl))
		return 0;
	__u64 cookie = bpf_get_socket_cookie((void *)sk);
	struct pn_conn_val *conn = bpf_map_lookup_elem(&pn_conn, &cookie);
	if (!conn)
		return 0;
	struct pn_ctx_key key = {.ctx = conn->ctx, .tgid = conn->tgid};
	struct pn_ev_conn_close ev = {.cookie = cookie, .stream = conn->stream};
	struct pn_ctx_val *c = bpf_map_lookup_elem(&pn_ctx, &key);
	struct pn_plain_val *plain = bpf_sk_storage_get(&pn_plain, (void *)sk, NULL, 0);
	if (c && c->stream == conn->stream) {
		ev.to_server_bytes = c->pos[PN_TO_SERVER];
		ev.to_client_bytes = c->pos[PN_TO_CLIENT];
		bpf_map_delete_elem(&pn_ctx, &key);
	} else if (plain && plain->c.stream == conn->stream) {
		ev.to_server_bytes = plain->c.pos[PN_TO_SERVER];
		ev.to_client_bytes = plain->c.pos[PN_TO_CLIENT];
	}
	bpf_map_delete_elem(&pn_conn, &cookie);
	bpf_map_delete_elem(&pn_gate, &cookie);
	bpf_map_delete_elem(&pn_admit, &cookie);
	/* After its last data, which may still wait in pn_events: same ring. */
	PN_EMIT(pn_events, PN_EV_conn_close, &ev, pn_wake_flags(ctl, false, sizeof(ev)));
	return 0;
}
