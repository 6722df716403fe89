/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a send is made of, read from the program's own buffers before the kernel copies them. */
#ifndef PENSTOCK_RECORDS_H
#define PENSTOCK_RECORDS_H

#include "lib/emit.h"

/*
 * Fingerprint of an application-data record: eight bytes of its ciphertext, past the explicit nonce of TLS 1.2, which
 * some libraries simply count. 0: not such a record, or shorter than any that carries data.
 */
#define PN_PRINT_AT 13
static __always_inline __u64 print_of(const __u8 *record)
{
	__u64 print = 0;
	__u8 h[5];
	if (bpf_probe_read_user(h, sizeof(h), record) || h[0] != 0x17 || h[1] != 3 || ((__u32)h[3] << 8 | h[4]) < PN_PRINT_AT + 3)
		return 0;
	bpf_probe_read_user(&print, sizeof(print), record + PN_PRINT_AT);
	return print;
}

#define PN_IOVECS 8
#define PN_RECORDS 24 /* walked per send: a full send buffer holds more, but the first ones decide            */

struct walk {
	__u64 at, end;           /* in the current vector                                                   */
	const struct iovec *vec; /* NULL: one plain buffer                                                  */
	__u32 vecs, i;
	struct pn_records *out;
};

static long walk_record(__u32 index, struct walk *w)
{
	struct iovec v = {};
	__u8 h[5];

	if (w->at >= w->end) { /* a record may begin in the next vector, or reach into it */
		__u64 over = w->at - w->end;
		if (!w->vec || ++w->i >= w->vecs || w->i >= PN_IOVECS)
			return 1;
		bpf_probe_read_kernel(&v, sizeof(v), w->vec + w->i);
		w->at = (__u64)v.iov_base + over;
		w->end = (__u64)v.iov_base + v.iov_len;
		return 0;
	}
	if (bpf_probe_read_user(h, sizeof(h), (const void *)w->at))
		return 1;
	if (h[0] < 0x14 || h[0] > 0x17 || h[1] != 3)
		return 1;
	__u32 len = 5 + ((__u32)h[3] << 8 | h[4]);
	w->out->tls = 1;
	if (h[0] == 0x17) {
		__u32 n = w->out->app_records++;
		if (n < PN_PRINTS && w->at + PN_PRINT_AT + sizeof(__u64) <= w->end)
			w->out->print[n & (PN_PRINTS - 1)] = print_of((const __u8 *)w->at);
		else if (n < PN_PRINTS)
			w->out->torn = 1;
		w->out->app_bytes += len;
	} else {
		w->out->handshake_bytes += len;
	}
	w->at += len;
	return 0;
}

static __always_inline void walk_records(const struct msghdr *msg, struct pn_records *out)
{
	const struct iov_iter *it = &msg->msg_iter;
	struct walk w = {.vecs = 1, .out = out};
	__u8 type = BPF_CORE_READ(it, iter_type);
	__u64 offset = BPF_CORE_READ(it, iov_offset);

	__builtin_memset(out, 0, sizeof(*out));
	out->total_bytes = BPF_CORE_READ(it, count);
	out->first = !offset;

	if (bpf_core_enum_value_exists(enum iter_type, ITER_UBUF) && type == bpf_core_enum_value(enum iter_type, ITER_UBUF)) {
		w.at = (__u64)BPF_CORE_READ(it, ubuf) + offset;
		w.end = w.at + out->total_bytes;
	} else if (type == bpf_core_enum_value(enum iter_type, ITER_IOVEC)) {
		struct iovec v = {};
		w.vec = BPF_CORE_READ(it, __iov);
		w.vecs = (__u32)BPF_CORE_READ(it, nr_segs);
		bpf_probe_read_kernel(&v, sizeof(v), w.vec);
		w.at = (__u64)v.iov_base + offset;
		w.end = (__u64)v.iov_base + v.iov_len;
	} else {
		return;
	}
	bpf_loop(PN_RECORDS, walk_record, &w, 0);
}

static __always_inline bool has_print(const struct pn_records *r, __u64 print)
{
	for (int i = 0; i < PN_PRINTS; i++)
		if (r->print[i] == print)
			return true;
	return false;
}

/* Does ciphertext of this size fit `plain` bytes? Per record: 22 (TLS 1.3), 29 (1.2 GCM) or 21 (1.2 ChaCha20); a TLS 1.3
 * Finished of 58 or 74 bytes may precede. */
static __always_inline bool length_fits(const struct pn_records *r, __u64 plain)
{
	__u64 records = (plain + 16383) / 16384, rest;
	if (r->app_bytes == plain + records * 29 || r->app_bytes == plain + records * 21)
		return true;
	rest = r->app_bytes - plain - records * 22;
	return rest == 0 || rest == 58 || rest == 74;
}

#endif
