// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Every send over TCP and every receive of the host passes here, most of them of programs that have nothing to do with models: three
 * look-ups without a hash (of the socket, the thread and the process) tell whether a part is of interest.
 *
 *   tp_btf__send      under the socket's lock, before a byte is queued; again for each buffer that one send fills
 *   tp_btf__receive   about to return to the program
 */
#include "lib/process.h"
#include "lib/socket_hooks.h"
#include "lib/streams.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The connecting side, and it began with a handshake or has not begun yet. */
static __always_inline bool hello_wanted(const struct pn_sock_val *v, const struct sock *sk)
{
	const struct tcp_sock *tp;
	if (v->passive || !v->fresh || v->first == PN_FIRST_OTHER)
		return false;
	tp = bpf_skc_to_tcp_sock((void *)sk);
	return tp && sent_offset(tp) < PN_HELLO_BYTES;
}

SEC("tp_btf/tcp_sendmsg_locked")
int BPF_PROG(tp_btf__send, const struct sock *sk, const struct msghdr *msg, const struct sk_buff *skb, int size_goal)
{
	struct pn_ctl_val *ctl = pn_control();
	if (!pn_active(ctl))
		return 0;
	struct pn_process_val *p = process_here(false);
	struct pn_task_val *t = bpf_task_storage_get(&pn_task, bpf_get_current_task_btf(), NULL, 0);
	struct pn_sock_val *v = bpf_sk_storage_get(&pn_sock, (void *)sk, NULL, 0);

	if (p && p->seals)
		aead_send(ctx);
	if (p && p->go)
		go_send(ctx);
	if (!v || v->plain != PN_PLAIN_NEVER)
		plain_send(ctx);
	if (t && tls_writes(t))
		tls_send(ctx);
	if (v && hello_wanted(v, sk))
		hello_send(ctx);
	/* Last: what is seen must be explained before it is accounted for. */
	if (ctl->gating & PN_GATING_OPAQUE && !(v && v->passive))
		opaque_send(ctx);
	return 0;
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(tp_btf__receive, struct sock *sk, int ret, int flags)
{
	__u16 family = sk->__sk_common.skc_family;
	struct pn_ctl_val *ctl;

	if (ret <= 0 || (family != AF_INET && family != AF_INET6))
		return 0;
	ctl = pn_control();
	if (!pn_active(ctl))
		return 0;
	if (sk->sk_protocol == IPPROTO_UDP) {
		if (ctl->datagrams)
			datagram_receive(ctx);
		return 0;
	}
	struct pn_process_val *p = process_here(false);
	struct pn_task_val *t = bpf_task_storage_get(&pn_task, bpf_get_current_task_btf(), NULL, 0);
	struct pn_sock_val *v = bpf_sk_storage_get(&pn_sock, sk, NULL, 0);

	if (p && p->seals)
		aead_receive(ctx);
	if (p && p->go)
		go_receive(ctx);
	if (v && v->plain == PN_PLAIN_HTTP)
		plain_receive(ctx);
	if (t && (tls_reads(t) || t->note_receives))
		tls_receive(ctx);
	return 0;
}
