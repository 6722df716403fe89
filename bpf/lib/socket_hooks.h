/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is done at the tracepoints that every send and every receive of the host passes. One program stands at each of them
 * (capture/socket_io.bpf.c); it finds out at once whether a part is of interest, and calls it. A part is a function that the
 * verifier looks at by itself: none has to stay small for the sake of another.
 */
#ifndef PENSTOCK_SOCKET_HOOKS_H
#define PENSTOCK_SOCKET_HOOKS_H

#include "lib/kernel.h"

#define PN_HOOK_CONTEXT unsigned long long *ctx __attribute__((btf_decl_tag("arg:ctx")))

/* Like BPF_PROG, for a part. */
#define PN_PART(name, args...)                                                                                         \
	static __always_inline int ____##name(unsigned long long *ctx, ##args);                                        \
	int name(PN_HOOK_CONTEXT)                                                                                      \
	{                                                                                                              \
		_Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wint-conversion\"")                  \
		return ____##name(___bpf_ctx_cast(args));                                                              \
		_Pragma("GCC diagnostic pop")                                                                          \
	}                                                                                                              \
	static __always_inline int ____##name(unsigned long long *ctx, ##args)

#define PN_SEND_PART(name)                                                                                             \
	PN_PART(name, const struct sock *sk, const struct msghdr *msg, const struct sk_buff *skb, int size_goal)
#define PN_RECEIVE_PART(name) PN_PART(name, struct sock *sk, int ret, int flags)

int aead_send(PN_HOOK_CONTEXT);     /* capture/aead_records: of a process that seals                         */
int go_send(PN_HOOK_CONTEXT);       /* capture/go_tls: of a Go program                                       */
int plain_send(PN_HOOK_CONTEXT);    /* capture/plain_io: on a socket that may carry cleartext HTTP            */
int tls_send(PN_HOOK_CONTEXT);      /* capture/tls_calls: inside a TLS write, or one waits for its send       */
int hello_send(PN_HOOK_CONTEXT);    /* capture/client_hello: of the first bytes of a connection              */
int opaque_send(PN_HOOK_CONTEXT);   /* gate/opaque: while some scope refuses what nobody can read            */

int aead_receive(PN_HOOK_CONTEXT);
int go_receive(PN_HOOK_CONTEXT);
int plain_receive(PN_HOOK_CONTEXT); /* on a socket that carries cleartext HTTP                               */
int tls_receive(PN_HOOK_CONTEXT);   /* inside a TLS read, or receives are noted                              */
int datagram_receive(PN_HOOK_CONTEXT);

#endif
