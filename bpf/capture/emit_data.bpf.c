// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Plaintext into the rings. One function of its own, called by the programs of every runtime. */
#include "lib/emit.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define PN_PIECE_BYTES (256 << 10) /* one record; larger calls become several                                 */

static long pn_copy_piece(__u32 index, struct pn_copy *c)
{
	struct bpf_dynptr d;
	__u32 n = c->left > PN_PIECE_BYTES ? PN_PIECE_BYTES : (__u32)c->left;
	bool last = n == c->left;
	long err;

	c->ev.len = n;
	c->ev.hdr.size = sizeof(c->ev) + n;
	if (c->verdict)
		err = bpf_ringbuf_reserve_dynptr(&pn_verdicts, sizeof(c->ev) + n, 0, &d);
	else
		err = bpf_ringbuf_reserve_dynptr(&pn_events, sizeof(c->ev) + n, 0, &d);
	if (err) {
		bpf_ringbuf_discard_dynptr(&d, 0);
		pn_lost_ring(PN_EV_data, c->left);
		c->failed = 1;
		return 1;
	}
	bpf_dynptr_write(&d, 0, &c->ev, sizeof(c->ev), 0);
	if (n && bpf_probe_read_user_dynptr(&d, sizeof(c->ev), n, c->buf)) {
		bpf_ringbuf_discard_dynptr(&d, BPF_RB_NO_WAKEUP);
		pn_lost_fault(PN_EV_data, c->left);
		c->failed = 1;
		return 1;
	}
	struct pn_ctl_val *ctl = c->verdict && last ? pn_control() : NULL;
	bpf_ringbuf_submit_dynptr(&d, ctl ? pn_wake_now(ctl) : last ? c->flags : BPF_RB_NO_WAKEUP);
	pn_sent(PN_EV_data, n);
	c->ev.pos += n;
	c->buf += n;
	c->left -= n;
	return c->left == 0;
}

/* Copies `len` bytes of user memory as data events. What cannot be copied is a gap: the stream's position moves on. */
int pn_emit_data(struct pn_copy *template, __u64 len)
{
	if (!template)
		return 0;
	struct pn_copy c = *template; /* a loop's context must be on the stack of whoever loops */
	pn_header(&c.ev.hdr, PN_EV_data, 0);
	c.left = len > PN_MAX_DATA_BYTES ? PN_MAX_DATA_BYTES : len;
	if (len > c.left)
		pn_lost_rate(PN_EV_data, len - c.left);
	bpf_loop(PN_MAX_DATA_BYTES / PN_PIECE_BYTES, pn_copy_piece, &c, 0);
	return 0;
}
