// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Plaintext of TLS libraries whose own calls cannot be found (rustls), at the AEAD boundary: one call is one record. The
 * additional data of such a call are TLS's record header, or end in it, so every hit is checked; the content type tells
 * data from handshake messages.
 *
 *   uprobe__aead_call     a record is about to be sealed, in place: its plaintext is copied now, and offered under a stream
 *                         of the thread, because neither connection nor socket are known here. (A cipher's context is no
 *                         name for a connection: its address is used again by the next one.)
 *                         It returned. Sealed: the ciphertext is remembered by its fingerprint. Opened: the plaintext belongs to the socket
 *                         that this thread received from last.
 *   aead_send     finds sealed records in what is sent, whichever thread sends it, and commits their plaintext to the
 *                         connection; gated ones close the gate.
 *   aead_receive          notes the socket.
 *
 * Streams are those of connections: pn_ctx is keyed with the socket's cookie and a bit that no address of a program has.
 */
#include "lib/aead.h"
#include "lib/socket_hooks.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline bool is_seal(__u32 shape)
{
	return shape == PN_SHAPE_AEAD_SEAL || shape == PN_SHAPE_AEAD_SEAL_SCATTER;
}

struct aead_args {
	__u64 in, in_len, ad, ad_len;
};

/* Where the arguments are; `out_len` stays 0 where the plaintext is as long as the input. */
static __always_inline bool aead_arguments(struct pt_regs *regs, __u32 shape, struct aead_args *a, struct pn_aead_call *call)
{
	__u64 s[7], second = regs->si, third = regs->dx, fifth = regs->r8, sixth = regs->r9;
	barrier_var(third); /* all are read: the context must not be indexed by a variable */
	barrier_var(fifth);
	barrier_var(sixth);
	if (bpf_probe_read_user(s, sizeof(s), (const void *)(regs->sp + 8)))
		return false;
	call->out = second;
	call->out_len = 0;
	switch (shape) {
	case PN_SHAPE_AEAD_OPEN:
		call->out_len = third;
		/* fallthrough */
	case PN_SHAPE_AEAD_SEAL:
		*a = (struct aead_args){s[0], s[1], s[2], s[3]};
		return true;
	case PN_SHAPE_AEAD_SEAL_SCATTER:
		if (s[4])
			return false; /* TLS 1.3's type in a buffer of its own: not what rustls does */
		*a = (struct aead_args){s[1], s[2], s[5], s[6]};
		return true;
	case PN_SHAPE_AEAD_OPEN_GATHER:
		*a = (struct aead_args){fifth, sixth, s[2], s[3]};
		return true;
	}
	return false;
}

/* Is this a TLS record? Fills length and type of the plaintext as far as they are known before the call. */
static __always_inline bool aead_record(const struct aead_args *a, __u32 shape, struct pn_aead_call *call)
{
	__u8 ad[TLS12_AD];
	__u64 sealed = a->in_len;

	if (a->ad_len == RECORD_HEADER) {
		if (bpf_probe_read_user(ad, RECORD_HEADER, (const void *)a->ad) || ad[0] != TYPE_DATA || ad[1] != 3 || ad[2] > 4)
			return false;
		if (shape != PN_SHAPE_AEAD_OPEN)
			sealed += TAG_BYTES;
		if (((__u32)ad[3] << 8 | ad[4]) != sealed || sealed <= TAG_BYTES)
			return false;
		call->len = sealed - TAG_BYTES - 1;
		call->type = 0;
		call->print_at = 8;
		if (is_seal(shape) && bpf_probe_read_user(&call->type, 1, (const void *)(a->in + a->in_len - 1)))
			return false;
		return true;
	}
	if (a->ad_len != TLS12_AD || bpf_probe_read_user(ad, TLS12_AD, (const void *)a->ad))
		return false;
	if (ad[8] < 0x14 || ad[8] > 0x18 || ad[9] != 3 || ad[10] > 3)
		return false;
	call->len = (__u32)ad[11] << 8 | ad[12];
	call->type = ad[8];
	call->print_at = 0; /* behind the explicit nonce that the record carries */
	return call->len == (shape == PN_SHAPE_AEAD_OPEN ? sealed - TAG_BYTES : sealed);
}

static __always_inline enum pn_session aead_enter(struct pt_regs *regs, struct pn_ctl_val *ctl, __u32 row, __u32 shape)
{
	struct pn_aead_call call = {.sp = regs->sp, .row = row};
	struct aead_args a = {};

	if (!aead_arguments(regs, shape, &a, &call) || !aead_record(&a, shape, &call))
		return PN_SKIP_RETURN; /* a cipher for something else */
	return enter_record(ctl, &call, a.in, is_seal(shape));
}

static __always_inline void aead_exit(struct pt_regs *regs, struct pn_ctl_val *ctl, bool seal)
{
	struct pn_aead_task *t = aead_task(false);
	struct pn_aead_call *call = t ? leave_record(t, regs->sp, seal) : NULL;
	if (!call || (__s32)regs->ax != 1)
		return;
	if (seal)
		sealed(t, call);
	else
		opened(ctl, t, call);
}

SEC("uprobe")
int uprobe__aead_call(struct pt_regs *regs)
{
	struct pn_ctl_val *ctl = pn_control();
	__u32 row = (__u32)bpf_get_attach_cookie(regs);
	struct pn_probe_val *probe = bpf_map_lookup_elem(&pn_probe, &row);

	if (!pn_active(ctl) || !probe)
		return PN_SEE_RETURN; /* these programs may have taken over by then */
	if (!is_return(regs))
		return aead_enter(regs, ctl, row, probe->shape);
	aead_exit(regs, ctl, is_seal(probe->shape));
	return PN_SKIP_RETURN;
}

/* ---- the send ------------------------------------------------------------------------------------------- */

#define AEAD_STEPS 160       /* records and vectors looked at per buffer: more are looked at when the next is filled */
#define AEAD_RUNS 4          /* stretches of one thread's plaintext in one send                             */

struct aead_walk {
	struct pn_cursor in;
	__u32 seq;                   /* of the byte at in.at                                                */
	__u32 records;               /* found, of the run at hand                                           */
	__u64 stream, pos, len;      /* the run: contiguous plaintext                                       */
	__u32 tgid;
	__u16 gated;
	__u8 walked;                 /* at least one header was read                                        */
	__u8 done;
};

static long aead_step(__u32 index, struct aead_walk *w)
{
	__u8 h[RECORD_HEADER];

	if (w->in.at >= w->in.end) {
		w->done = !next_vector(&w->in);
		return w->done;
	}
	if (bpf_probe_read_user(h, sizeof(h), (const void *)w->in.at) || h[0] < 0x14 || h[0] > 0x17 || h[1] != 3) {
		w->done = 1;
		return 1;
	}
	__u32 bytes = RECORD_HEADER + ((__u32)h[3] << 8 | h[4]);
	struct pn_sealed_key key = {.print = print_of((const __u8 *)w->in.at), .tgid = w->tgid};
	struct pn_sealed_val *s = key.print ? bpf_map_lookup_elem(&pn_sealed, &key) : NULL;
	if (s) {
		struct pn_sealed_val found = *s;
		if (w->records && (found.stream != w->stream || found.pos != w->pos + w->len || found.gated != w->gated))
			return 1; /* another run: after this one is committed */
		if (!w->records) {
			w->stream = found.stream;
			w->pos = found.pos;
			w->gated = (__u16)found.gated;
		}
		w->len += found.len;
		w->records++;
		bpf_map_delete_elem(&pn_sealed, &key);
	}
	w->walked = 1;
	w->in.at += bytes;
	w->seq += bytes;
	return 0;
}

static __noinline void commit_run(struct pn_ctl_val *ctl, const struct sock *sk, __u64 cookie, struct aead_walk *w)
{
	struct pn_ctx_val *c = ctx_get(cookie | OF_SOCKET, true);
	__u32 scope = pn_scope_here(ctl);
	if (!c)
		return;
	bind(c, cookie | OF_SOCKET, sk, cookie, PN_BIND_PRINT, scope);
	if (c->server)
		return; /* a server's answers: what was offered is dropped with the thread's stream */
	struct pn_admit_val *a = admit_of(cookie);
	__u64 pos = c->pos[PN_TO_SERVER];
	c->pos[PN_TO_SERVER] = pos + w->len;
	if (w->gated && !(a && (a->flags & PN_ADMIT_IGNORE))) {
		commit_offered(ctl, sk, cookie, scope, c, pos, w->len, w->stream, w->pos);
	} else {
		struct pn_ev_gate ev = {.cookie = cookie,
					.stream = c->stream,
					.pos = pos,
					.len = w->len,
					.scope = scope,
					.fd = fd_of_syscall(),
					.what = PN_GATE_OBSERVED,
					.data_stream = w->stream,
					.data_pos = w->pos};
		PN_EMIT(pn_events, PN_EV_gate, &ev, pn_wake_flags(ctl, false, w->len));
	}
	if (ctl->gating & PN_GATING_OPAQUE)
		explain_records(sk, w->len, w->records);
}

PN_SEND_PART(aead_send)
{
	struct pn_ctl_val *ctl = pn_control();
	struct aead_walk w = {.tgid = bpf_get_current_pid_tgid() >> 32};
	__u32 skip = 0;

	if (!ctl)
		return 0;
	struct pn_aead_sock *s = bpf_sk_storage_get(&pn_aead_sock, (void *)sk, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!s)
		return 0;
	w.seq = BPF_CORE_READ((struct tcp_sock *)sk, write_seq);
	if (s->known && (__s32)(s->next_seq - w.seq) > 0)
		skip = s->next_seq - w.seq;
	w.seq += skip;
	if (!first_vector(msg, &w.in))
		return 0;
	w.in.at += skip;
	__u64 cookie = bpf_get_socket_cookie((void *)sk);
	for (int run = 0; run < AEAD_RUNS && !w.done; run++) {
		w.records = 0;
		w.len = 0;
		long steps = bpf_loop(AEAD_STEPS, aead_step, &w, 0);
		if (w.records)
			commit_run(ctl, sk, cookie, &w);
		if (steps == AEAD_STEPS)
			break;
	}
	if (w.walked) {
		s->next_seq = w.seq;
		s->known = 1;
	}
	return 0;
}

PN_RECEIVE_PART(aead_receive)
{
	struct pn_aead_task *t = aead_task(true);
	if (t && t->received.cookie != bpf_get_socket_cookie(sk))
		describe(&t->received, sk);
	return 0;
}
