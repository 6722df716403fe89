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

/* The program's own memory that a send takes its bytes from. */
struct vectors {
	__u64 at, end;           /* in the current vector                                                   */
	const struct iovec *vec; /* NULL: one plain buffer                                                  */
	__u32 vecs, i;
};

/* False: the bytes are not in the program's memory (sendfile, splice). */
static __always_inline bool first_vector(const struct msghdr *msg, struct vectors *v)
{
	const struct iov_iter *it = &msg->msg_iter;
	__u8 type = BPF_CORE_READ(it, iter_type);
	__u64 offset = BPF_CORE_READ(it, iov_offset);

	*v = (struct vectors){.vecs = 1};
	if (bpf_core_enum_value_exists(enum iter_type, ITER_UBUF) && type == bpf_core_enum_value(enum iter_type, ITER_UBUF)) {
		v->at = (__u64)BPF_CORE_READ(it, ubuf) + offset;
		v->end = v->at + BPF_CORE_READ(it, count);
	} else if (type == bpf_core_enum_value(enum iter_type, ITER_IOVEC)) {
		struct iovec first = {};
		v->vec = BPF_CORE_READ(it, __iov);
		v->vecs = (__u32)BPF_CORE_READ(it, nr_segs);
		bpf_probe_read_kernel(&first, sizeof(first), v->vec);
		v->at = (__u64)first.iov_base + offset;
		v->end = (__u64)first.iov_base + first.iov_len;
	} else {
		return false;
	}
	return true;
}

/* Past the end of a vector: goes on in the next one, at the same distance. */
static __always_inline bool next_vector(struct vectors *v)
{
	struct iovec next = {};
	__u64 over = v->at - v->end;
	if (!v->vec || ++v->i >= v->vecs || v->i >= PN_IOVECS)
		return false;
	bpf_probe_read_kernel(&next, sizeof(next), v->vec + v->i);
	v->at = (__u64)next.iov_base + over;
	v->end = (__u64)next.iov_base + next.iov_len;
	return true;
}

struct walk {
	struct vectors in;
	struct pn_records *out;
};

static long walk_record(__u32 index, struct walk *w)
{
	__u8 h[5];

	if (w->in.at >= w->in.end) /* a record may begin in the next vector, or reach into it */
		return !next_vector(&w->in);
	if (bpf_probe_read_user(h, sizeof(h), (const void *)w->in.at))
		return 1;
	if (h[0] < 0x14 || h[0] > 0x17 || h[1] != 3)
		return 1;
	__u32 len = 5 + ((__u32)h[3] << 8 | h[4]);
	w->out->tls = 1;
	if (h[0] == 0x17) {
		__u32 n = w->out->app_records++;
		if (n < PN_PRINTS && w->in.at + PN_PRINT_AT + sizeof(__u64) <= w->in.end)
			w->out->print[n & (PN_PRINTS - 1)] = print_of((const __u8 *)w->in.at);
		else if (n < PN_PRINTS)
			w->out->torn = 1;
		w->out->app_bytes += len;
	}
	w->in.at += len;
	return 0;
}

static __always_inline void walk_records(const struct msghdr *msg, struct pn_records *out)
{
	struct walk w = {.out = out};

	__builtin_memset(out, 0, sizeof(*out));
	if (first_vector(msg, &w.in))
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
