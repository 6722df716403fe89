/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a send is made of, read from the program's own buffers before the kernel copies them. */
#ifndef PENSTOCK_RECORDS_H
#define PENSTOCK_RECORDS_H

#include "lib/emit.h"

struct records {           /* what the send is made of, as TLS records                                      */
	__u64 app_bytes;   /* application-data records, headers included                                    */
	__u32 app_records;
	__u64 handshake_bytes; /* of handshake, CCS and alert records                                       */
	__u64 total_bytes;     /* left of this send                                                         */
	__u32 first;           /* nothing of it was queued before                                           */
	__u32 tls;         /* at least one record                                                           */
};

#define PN_IOVECS 8
#define PN_RECORDS 24 /* walked per send: a full send buffer holds more, but the first ones decide            */

struct walk {
	__u64 at, end;           /* in the current vector                                                   */
	const struct iovec *vec; /* NULL: one plain buffer                                                  */
	__u32 vecs, i;
	struct records *out;
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
		w->out->app_bytes += len;
		w->out->app_records++;
	} else {
		w->out->handshake_bytes += len;
	}
	w->at += len;
	return 0;
}

static __always_inline void walk_records(const struct msghdr *msg, struct records *out)
{
	const struct iov_iter *it = &msg->msg_iter;
	struct walk w = {.vecs = 1, .out = out};
	__u8 type = BPF_CORE_READ(it, iter_type);
	__u64 offset = BPF_CORE_READ(it, iov_offset);

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

/* Does ciphertext of this size fit `plain` bytes? Per record: 22 (TLS 1.3), 29 (1.2 GCM) or 21 (1.2 ChaCha20); a TLS 1.3
 * Finished of 58 or 74 bytes may precede. */
static __always_inline bool length_fits(const struct records *r, __u64 plain)
{
	__u64 records = (plain + 16383) / 16384, rest;
	if (r->app_bytes == plain + records * 29 || r->app_bytes == plain + records * 21)
		return true;
	rest = r->app_bytes - plain - records * 22;
	return rest == 0 || rest == 58 || rest == 74;
}

#endif
