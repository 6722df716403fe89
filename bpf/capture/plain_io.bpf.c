// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Cleartext HTTP over TCP, and the closing of its gates. The bytes of a socket are the plaintext, so their position is the
 * socket's own sequence number, and nothing has to be bound.
 *
 *   plain_send              a send, under the socket's lock and before a byte of it is queued. Whether the socket speaks HTTP is
 *                           decided by the first bytes that its process sends, once; then every byte is copied when it is
 *                           first offered, and a gated one closes the gate.
 *   plain_receive           a receive is about to return: its bytes are in the buffer that the system call names.
 *
 * Only the connecting side is followed: the accepting side of a connection is nobody's request.
 */
#include "lib/gate_close.h"
#include "lib/socket_hooks.h"
#include "lib/vectors.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define PLAIN_TRIES 1024     /* sends of a socket that is older than the programs, until it is taken for no HTTP */
#define WAKES_ANY 8          /* requests on a connection without AI traffic that are looked at all the same … */
#define WAKES_POST 64        /* … and those of them that carry a body                                       */

static __always_inline bool method_is(__u64 word, __u32 n, const char *method, __u32 length)
{
	__u32 use = n < length ? n : length;
	__u64 wanted = 0, mask = use >= 8 ? ~0ull : (1ull << use * 8) - 1;
	__builtin_memcpy(&wanted, method, 8);
	return !((word ^ wanted) & mask);
}

/*
 * Do these bytes begin a request, as far as they go? Empty lines may precede it (RFC 9112 §2.2). CONNECT is none: what follows
 * it is for whoever reads that, most often TLS.
 */
static __always_inline bool begins_request(__u64 word, __u32 n)
{
	for (int i = 0; i < 8; i++) {
		if (!n || ((__u8)word != '\r' && (__u8)word != '\n'))
			break;
		word >>= 8;
		n--;
	}
	return method_is(word, n, "POST \0\0\0", 5) || method_is(word, n, "GET \0\0\0\0", 4) ||
	       method_is(word, n, "PUT \0\0\0\0", 4) || method_is(word, n, "DELETE \0", 7) ||
	       method_is(word, n, "HEAD \0\0\0", 5) || method_is(word, n, "PATCH \0\0", 6) ||
	       method_is(word, n, "OPTIONS ", 8) || method_is(word, n, "PRI * HT", 8);
}

/* Decides, once per socket, whether its process speaks HTTP on it. */
static __always_inline bool speaks_http(const struct sock *sk, const struct pn_vectors *from, bool readable)
{
	struct pn_sock_val *v = sock_val(sk);
	__u64 word;
	__u32 n;

	if (!v)
		return false;
	if (v->plain)
		return v->plain == PN_PLAIN_HTTP;
	if (v->passive) {
		v->plain = PN_PLAIN_NEVER;
		return false;
	}
	if (!readable)
		return false;
	n = first_bytes(from, &word);
	if (n && begins_request(word, n)) {
		v->plain = PN_PLAIN_HTTP;
		return true;
	}
	/* A tunnel: what is spoken in it shows when it is open. */
	if (n && method_is(word, n, "CONNECT ", 8))
		return false;
	if (v->fresh || ++v->plain_tries >= PLAIN_TRIES)
		v->plain = PN_PLAIN_NEVER;
	return false;
}

static __always_inline struct pn_plain_val *plain_begin(const struct sock *sk)
{
	struct pn_plain_val *p = bpf_sk_storage_get(&pn_plain, (void *)sk, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!p) {
		pn_count(PN_STAT_TABLE_FULL_CONN);
		return NULL;
	}
	if (!p->c.stream) {
		p->c.stream = new_stream();
		p->seq[PN_TO_SERVER] = BPF_CORE_READ((struct tcp_sock *)sk, write_seq);
		p->seq[PN_TO_CLIENT] = BPF_CORE_READ((struct tcp_sock *)sk, copied_seq);
	}
	return p;
}

/*
 * User space said that this is no AI traffic. Connections are kept and used again, so the next requests may be: the first
 * ones are looked at, then only those with a body, then none.
 */
static __always_inline bool asleep(struct pn_plain_val *p, const struct pn_vectors *from)
{
	struct pn_admit_val *a = p->asleep ? NULL : admit_of(p->c.cookie);
	__u64 word;
	__u32 n;

	if (a && a->flags & PN_ADMIT_IGNORE) {
		p->asleep = 1;
		bpf_map_delete_elem(&pn_admit, &p->c.cookie);
	}
	if (!p->asleep)
		return false;
	if (!from || p->woken >= WAKES_POST) {
		pn_count(PN_STAT_IGNORED_CALLS);
		return true;
	}
	n = first_bytes(from, &word);
	if (p->woken < WAKES_ANY ? !n || !begins_request(word, n) : n < 5 || !method_is(word, n, "POST \0\0\0", 5)) {
		pn_count(PN_STAT_IGNORED_CALLS);
		return true;
	}
	p->woken++;
	p->asleep = 0;
	return false;
}

/* Bytes that passed unseen (asleep, or by a way that is not read) are a gap. Returns how many of those at `seq` are known. */
static __always_inline __u64 catch_up(struct pn_plain_val *p, __u32 direction, __u32 seq)
{
	__s32 known = (__s32)(p->seq[direction] - seq);
	if (known >= 0)
		return known;
	p->c.pos[direction] += -(__s64)known;
	p->seq[direction] = seq;
	return 0;
}

static __always_inline void describe_copy(struct pn_vectors *w, const struct pn_plain_val *p, __u8 direction, __u32 scope)
{
	w->copy = (struct pn_copy){.ev = {.cookie = p->c.cookie,
					  .stream = p->c.stream,
					  .pos = p->c.pos[direction],
					  .scope = scope,
					  .direction = direction,
					  .probe = PN_PROBE_NONE}};
}

/* The last `len` bytes that were offered. */
static __noinline void close_plain(struct pn_ctl_val *ctl, const struct sock *sk, struct pn_plain_val *p, __u32 scope, __u64 len)
{
	commit(ctl, sk, p->c.cookie, scope, &p->c, p->c.pos[PN_TO_SERVER] - len, len);
}

static __noinline void offer_plain(struct pn_ctl_val *ctl, struct pn_plain_val *p, struct pn_vectors *w, __u32 scope, bool gated)
{
	struct pn_scope_val *s = pn_scope_val_of(scope);

	describe_copy(w, p, PN_TO_SERVER, scope);
	if (gated) {
		w->copy.ev.flags = PN_DATA_PROVISIONAL;
		w->copy.verdict = 1;
	} else if (s && !pn_rate_ok(s, w->left)) {
		pn_lost_rate(PN_EV_data, w->left);
		return;
	} else {
		w->wake = pn_wake_flags(ctl, false, w->left);
	}
	copy_vectors(w);
}

PN_SEND_PART(plain_send)
{
	struct pn_ctl_val *ctl = pn_control();
	struct pn_vectors w = {};

	if (!ctl)
		return 0;
	bool readable = vectors_of_send(&w, msg);
	if (!speaks_http(sk, &w, readable))
		return 0;
	struct pn_plain_val *p = plain_begin(sk);
	if (!p)
		return 0;
	__u32 scope = pn_scope_here(ctl);
	struct pn_scope_val *s = pn_scope_val_of(scope);
	bool gated = ctl->gating && s && s->mode != PN_MODE_OBSERVE;
	if (gated)
		p->asleep = 0;
	else if (asleep(p, readable ? &w : NULL))
		return 0;
	/* The hook fires for each buffer that one send fills, and again when the rest of a short one is sent: bytes are taken
	 * when they are offered first. */
	__u64 known = catch_up(p, PN_TO_SERVER, BPF_CORE_READ((struct tcp_sock *)sk, write_seq));
	if (known >= w.left)
		return 0;
	w.skip += known;
	w.left -= known;
	bind(&p->c, 0, sk, bpf_get_socket_cookie((void *)sk), PN_BIND_CLEAR, scope);
	__u64 len = w.left;
	if (readable)
		offer_plain(ctl, p, &w, scope, gated);
	else
		pn_lost_fault(PN_EV_data, len);
	p->c.pos[PN_TO_SERVER] += len;
	p->seq[PN_TO_SERVER] += (__u32)len;
	if (gated)
		close_plain(ctl, sk, p, scope, len);
	if (ctl->gating & PN_GATING_OPAQUE && readable)
		explain_records(sk, len, 0);
	return 0;
}

#define MSG_PEEK 2
#define MSG_TRUNC 0x20

static __noinline void take_answer(struct pn_ctl_val *ctl, struct pn_plain_val *p, __u32 n, bool thrown_away)
{
	__u32 scope = pn_scope_here(ctl);
	struct pn_scope_val *s = pn_scope_val_of(scope);
	struct pn_admit_val *a = admit_of(p->c.cookie);
	struct pn_vectors w = {};

	if (s && !pn_rate_ok(s, n)) {
		pn_lost_rate(PN_EV_data, n);
	} else if (thrown_away || !vectors_of_syscall(&w, n)) {
		pn_lost_fault(PN_EV_data, n);
	} else {
		describe_copy(&w, p, PN_TO_CLIENT, scope);
		w.wake = pn_wake_flags(ctl, a && (a->flags & PN_ADMIT_URGENT), n);
		copy_vectors(&w);
	}
	p->c.pos[PN_TO_CLIENT] += n;
	p->seq[PN_TO_CLIENT] += n;
}

PN_RECEIVE_PART(plain_receive)
{
	struct pn_ctl_val *ctl = pn_control();
	if (!ctl || flags & MSG_PEEK)
		return 0;
	struct pn_plain_val *p = bpf_sk_storage_get(&pn_plain, sk, NULL, 0);
	if (!p || !p->c.cookie || asleep(p, NULL))
		return 0;
	/* Another thread may have read on meanwhile: then positions go by what was read here. */
	__u32 end = BPF_CORE_READ((struct tcp_sock *)sk, copied_seq);
	catch_up(p, PN_TO_CLIENT, end - (__u32)ret);
	take_answer(ctl, p, (__u32)ret, flags & MSG_TRUNC);
	return 0;
}
