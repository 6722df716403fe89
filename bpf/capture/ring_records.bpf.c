// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The AEAD boundary of ring, below rustls; what follows a record from there on is aead_records.bpf.c's.
 *
 *   uprobe__ring_call     a call of Algorithm.seal or .open. These are Rust functions: which argument is where is the
 *                         compiler's choice. But the additional data are a TLS record header, and name the length of what is
 *                         sealed: a pair of words that points to such a header, and a pair of that length, are those two
 *                         slices. They are looked for at every call, which costs less than to remember where they were.
 *                         It returned: sealed or opened, in place.
 */
#include "lib/aead.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define WORDS 14             /* six registers, then the stack                                               */
#define EXPLICIT_NONCE 8     /* of TLS 1.2, in front of what is opened                                      */
#define LOWEST_ADDRESS 0x10000
#define HIGHEST_ADDRESS (1ull << 47)

struct ring_search {
	__u64 word[WORDS + 1]; /* of the call, and one that is 0                                            */
	__u64 slice;         /* what is sealed or opened; 0: not found                                      */
	/* What the header says of it: */
	__u64 len, or_len;   /* its bytes                                                                   */
	__u64 plain;         /* length of the plaintext, but for TLS 1.3's type                             */
	__u32 header;        /* which word points to the header; WORDS: not found                           */
	__u8 type;           /* content type; TLS 1.3: 0                                                    */
	__u8 print_at;
	__u8 seal;
};

static __always_inline bool pointer(__u64 word)
{
	return word >= LOWEST_ADDRESS && word < HIGHEST_ADDRESS;
}

static __always_inline void words_of_call(struct pt_regs *regs, __u64 *word)
{
	word[0] = regs->di;
	word[1] = regs->si;
	word[2] = regs->dx;
	word[3] = regs->cx;
	word[4] = regs->r8;
	word[5] = regs->r9;
	bpf_probe_read_user(&word[6], (WORDS - 6) * sizeof(__u64), (const void *)(regs->sp + 8));
}

static __always_inline bool header_of(struct ring_search *r, __u64 ad, __u64 ad_len)
{
	__u8 b[TLS12_AD] = {};
	__u32 len;

	if (ad_len == RECORD_HEADER) {
		if (bpf_probe_read_user(b, RECORD_HEADER, (const void *)ad) || b[0] != TYPE_DATA || b[1] != 3 || b[2] > 4)
			return false;
		len = (__u32)b[3] << 8 | b[4];
		if (len <= TAG_BYTES)
			return false;
		r->len = r->or_len = len - TAG_BYTES;
		r->plain = len - TAG_BYTES - 1;
		r->print_at = 8;
		return true;
	}
	if (bpf_probe_read_user(b, TLS12_AD, (const void *)ad) || b[8] < 0x14 || b[8] > 0x18 || b[9] != 3 || b[10] > 3)
		return false;
	r->len = r->plain = (__u32)b[11] << 8 | b[12];
	r->or_len = r->seal ? r->len : r->len + EXPLICIT_NONCE;
	r->type = b[8];
	return r->len > 0;
}

static long find_header(__u32 i, struct ring_search *r)
{
	if (i >= WORDS)
		return 1;
	__u64 at = r->word[i], len = r->word[i + 1];
	if ((len != RECORD_HEADER && len != TLS12_AD) || !pointer(at) || !header_of(r, at, len))
		return 0;
	r->header = i;
	return 1;
}

static __always_inline bool fits(const struct ring_search *r, __u64 at, __u64 len)
{
	return (len == r->len || len == r->or_len) && pointer(at);
}

static long find_slice(__u32 i, struct ring_search *r)
{
	if (i >= WORDS)
		return 1;
	if (i != r->header && fits(r, r->word[i], r->word[i + 1]))
		r->slice = r->word[i];
	return r->slice != 0;
}

/* In 0.17 it may be in a structure (`Overlapping`), before or behind an offset. */
static long find_slice_inside(__u32 i, struct ring_search *r)
{
	__u64 inside[3];
	if (i >= WORDS)
		return 1;
	if (i == r->header || !pointer(r->word[i]) || bpf_probe_read_user(inside, sizeof(inside), (const void *)r->word[i]))
		return 0;
	if (fits(r, inside[0], inside[1]))
		r->slice = inside[0];
	else if (fits(r, inside[1], inside[2]))
		r->slice = inside[1];
	return r->slice != 0;
}

static __always_inline enum pn_session ring_enter(struct pt_regs *regs, struct pn_ctl_val *ctl, __u32 row, bool seal)
{
	struct pn_aead_call call = {.sp = regs->sp, .row = row};
	struct ring_search r = {.header = WORDS, .seal = seal};

	words_of_call(regs, r.word);
	bpf_loop(WORDS, find_header, &r, 0);
	if (r.header == WORDS)
		return PN_SKIP_RETURN; /* a cipher for something else */
	bpf_loop(WORDS, find_slice, &r, 0);
	if (!r.slice)
		bpf_loop(WORDS, find_slice_inside, &r, 0);
	if (!r.slice)
		return PN_SKIP_RETURN;
	call.out = r.slice;
	call.len = r.plain;
	call.type = r.type;
	call.print_at = r.print_at;
	if (seal && !r.type && bpf_probe_read_user(&call.type, 1, (const void *)(r.slice + r.plain)))
		return PN_SKIP_RETURN;
	return enter_record(ctl, &call, r.slice, seal);
}

/*
 * A print that reaches into the tag, which is no part of the slice: the call returns it, in two registers or in memory,
 * alone or behind the mark that it succeeded. Which one is not known: the others match no record.
 */
static __always_inline void sealed_short(struct pt_regs *regs, struct pn_aead_task *t, const struct pn_aead_call *call, __u64 bytes)
{
	__u64 tag[2] = {regs->ax, regs->dx}, print, pos = t->pos;
	__u8 record[16 + TAG_BYTES];

	t->pos += call->len;
	for (int i = 0; i < 3; i++) {
		if (i && bpf_probe_read_user(tag, sizeof(tag), (const void *)(regs->ax + i - 1)))
			return;
		bytes &= 15;
		if (bpf_probe_read_user(record, bytes, (const void *)call->out))
			return;
		__builtin_memcpy(&record[bytes], tag, sizeof(tag));
		__builtin_memcpy(&print, call->print_at ? &record[8] : record, sizeof(print));
		remember_print(t, call, pos, print);
	}
}

static __always_inline void ring_exit(struct pt_regs *regs, struct pn_ctl_val *ctl, bool seal)
{
	struct pn_aead_task *t = aead_task(false);
	struct pn_aead_call *call = t ? leave_record(t, regs->sp, seal) : NULL;
	if (!call)
		return;
	__u64 bytes = call->len + (call->print_at ? 1 : 0); /* of ciphertext: the type is sealed with the data */
	if (!seal)
		opened(ctl, t, call);
	else if (bytes >= call->print_at + sizeof(__u64))
		sealed(t, call);
	else
		sealed_short(regs, t, call, bytes);
}

SEC("uprobe")
int uprobe__ring_call(struct pt_regs *regs)
{
	struct pn_ctl_val *ctl = pn_control();
	__u32 row = (__u32)bpf_get_attach_cookie(regs);
	struct pn_probe_val *probe = bpf_map_lookup_elem(&pn_probe, &row);

	if (!pn_active(ctl) || !probe)
		return PN_SEE_RETURN; /* these programs may have taken over by then */
	bool seal = probe->shape == PN_SHAPE_RING_SEAL;
	if (!is_return(regs))
		return ring_enter(regs, ctl, row, seal);
	ring_exit(regs, ctl, seal);
	return PN_SKIP_RETURN;
}
