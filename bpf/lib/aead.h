/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A TLS record at the AEAD boundary, whoever seals or opens it: what is done with it once its parts are known. */
#ifndef PENSTOCK_AEAD_H
#define PENSTOCK_AEAD_H

#include "lib/process.h"
#include "lib/sealed.h"

#define OF_SOCKET (1ull << 63)
#define TYPE_DATA 0x17
#define TAG_BYTES 16
#define RECORD_HEADER 5      /* additional data in TLS 1.3: the record header                              */
#define TLS12_AD 13          /* in TLS 1.2: sequence number, then type, version, length of the plaintext   */

static __always_inline struct pn_aead_task *aead_task(bool create)
{
	struct pn_aead_task *t =
		bpf_task_storage_get(&pn_aead_task, bpf_get_current_task_btf(), NULL, create ? BPF_LOCAL_STORAGE_GET_F_CREATE : 0);
	if (!t && create)
		pn_count(PN_STAT_TASK_STORAGE_FAILED);
	return t;
}

/* The plaintext that is about to be sealed, offered as provisional: by the send it belongs to a connection, or by none. */
static __always_inline void offer(struct pn_ctl_val *ctl, struct pn_aead_task *t, struct pn_aead_call *call, __u64 in)
{
	__u32 scope = pn_scope_here(ctl);
	struct pn_scope_val *s = pn_scope_val_of(scope);
	if (!t->stream)
		t->stream = new_stream();
	call->gated = ctl->gating && s && s->mode != PN_MODE_OBSERVE;
	struct pn_copy copy = {
		.ev = {.stream = t->stream,
		       .pos = t->pos,
		       .scope = scope,
		       .direction = PN_TO_SERVER,
		       .flags = PN_DATA_PROVISIONAL,
		       .probe = call->row},
		.buf = (const void *)in,
		.flags = BPF_RB_NO_WAKEUP,
		.verdict = call->gated,
	};
	if (!call->gated && s && !pn_rate_ok(s, call->len))
		pn_lost_rate(PN_EV_data, call->len);
	else
		pn_emit_data(&copy, call->len);
}

/* A call begins: an outer one of the same kind on this thread is the same record. `in`: plaintext of a seal. */
static __always_inline enum pn_session enter_record(struct pn_ctl_val *ctl, struct pn_aead_call *call, __u64 in, bool seal)
{
	struct pn_aead_task *t = aead_task(true);
	struct pn_process_val *p = process_here(true);

	if (!t || !p)
		return PN_SKIP_RETURN;
	p->seals = 1;
	struct pn_aead_call *outer = seal ? &t->seal : &t->open;
	if (outer->sp && call->sp < outer->sp)
		return PN_SKIP_RETURN;
	if (seal && (call->type != TYPE_DATA || !call->len)) {
		outer->sp = 0;
		return PN_SKIP_RETURN;
	}
	if (seal)
		offer(ctl, t, call, in);
	*outer = *call;
	return PN_SEE_RETURN;
}

/* The call that returns; NULL: one inside of it. */
static __always_inline struct pn_aead_call *leave_record(struct pn_aead_task *t, __u64 sp, bool seal)
{
	struct pn_aead_call *call = seal ? &t->seal : &t->open;
	if (!call->sp || sp <= call->sp)
		return NULL;
	call->sp = 0;
	return call;
}

/* The record that will carry this print in its send holds the plaintext that was offered at `pos`. */
static __always_inline void remember_print(struct pn_aead_task *t, const struct pn_aead_call *call, __u64 pos, __u64 print)
{
	struct pn_sealed_key key = {.print = print, .tgid = bpf_get_current_pid_tgid() >> 32};
	struct pn_sealed_val val = {.stream = t->stream, .pos = pos, .len = (__u32)call->len, .gated = call->gated};
	if (bpf_map_update_elem(&pn_sealed, &key, &val, BPF_ANY))
		pn_count(PN_STAT_TABLE_FULL_CALLS);
}

static __always_inline void sealed(struct pn_aead_task *t, const struct pn_aead_call *call)
{
	__u64 print = 0, pos = t->pos;

	t->pos += call->len;
	/* A record this short ends before its print does: the tag follows in place, and is as good. */
	if (bpf_probe_read_user(&print, sizeof(print), (const void *)(call->out + call->print_at)))
		pn_count(PN_STAT_TABLE_FULL_CALLS);
	else
		remember_print(t, call, pos, print);
}

/* TLS 1.3 puts the type behind the data and zeros behind that. Returns the length of the data, 0 for other types. */
static __always_inline __u64 without_padding(__u64 out, __u64 len)
{
	for (int i = 0; i < 64; i++) {
		__u8 type = 0;
		if (bpf_probe_read_user(&type, 1, (const void *)(out + len)))
			return 0;
		if (type)
			return type == TYPE_DATA ? len : 0;
		if (!len--)
			return 0;
	}
	pn_lost_rate(PN_EV_data, len);
	return 0;
}

static __always_inline void opened(struct pn_ctl_val *ctl, struct pn_aead_task *t, struct pn_aead_call *call)
{
	__u64 n = call->len, inner = 0;
	if (call->out_len && (bpf_probe_read_user(&inner, sizeof(inner), (const void *)call->out_len) || inner > call->len + 1))
		return;
	if (!call->type)
		n = without_padding(call->out, call->len);
	else if (call->type != TYPE_DATA)
		return;
	if (!n || !t->received.cookie || t->received.passive)
		return;
	struct pn_ctx_val *c = ctx_get(t->received.cookie | OF_SOCKET, true);
	if (!c) {
		pn_lost_rate(PN_EV_data, n);
		return;
	}
	__u32 scope = pn_scope_here(ctl);
	if (!c->cookie)
		bind_to(c, t->received.cookie | OF_SOCKET, &t->received, PN_BIND_ADJACENT, scope);
	struct pn_admit_val *admit = admit_of(c->cookie);
	if (admit && (admit->flags & PN_ADMIT_IGNORE)) {
		pn_count(PN_STAT_IGNORED_CALLS);
		return;
	}
	struct pn_scope_val *s = pn_scope_val_of(scope);
	struct pn_copy copy = {
		.ev = {.cookie = c->cookie,
		       .stream = c->stream,
		       .pos = c->pos[PN_TO_CLIENT],
		       .scope = scope,
		       .direction = PN_TO_CLIENT,
		       .probe = call->row},
		.buf = (const void *)call->out,
		.flags = pn_wake_flags(ctl, admit && (admit->flags & PN_ADMIT_URGENT), n),
	};
	c->pos[PN_TO_CLIENT] += n;
	if (s && !pn_rate_ok(s, n))
		pn_lost_rate(PN_EV_data, n);
	else
		pn_emit_data(&copy, n);
}

#endif
