/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a send is made of, read from the program's own buffers before the kernel copies them. */
#ifndef PENSTOCK_RECORDS_H
#define PENSTOCK_RECORDS_H

#include "lib/vectors.h"

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

#define PN_RECORDS 24 /* walked per send: a full send buffer holds more, but the first ones decide            */

struct walk {
	struct pn_cursor in;
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
