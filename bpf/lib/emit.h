/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The only place that writes to the rings: nothing is lost without pn_loss counting it. */
#ifndef PENSTOCK_EMIT_H
#define PENSTOCK_EMIT_H

#include "lib/maps.h"

/* Per CPU, and yet atomic: programs may preempt each other on their CPU, and losses are counted exactly. */
static __always_inline void pn_count(__u32 stat)
{
	__u64 *n = bpf_map_lookup_elem(&pn_stats, &stat);
	if (n)
		__sync_fetch_and_add(n, 1);
}

static __always_inline struct pn_ctl_val *pn_control(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&pn_ctl, &zero);
}

static __always_inline bool pn_active(const struct pn_ctl_val *ctl)
{
	return ctl && ctl->epoch == cfg_epoch;
}

static __always_inline struct pn_loss_val *pn_loss_of(__u32 kind)
{
	return bpf_map_lookup_elem(&pn_loss, &kind);
}

static __always_inline void pn_sent(__u32 kind, __u64 bytes)
{
	struct pn_loss_val *l = pn_loss_of(kind);
	if (l) {
		__sync_fetch_and_add(&l->sent, 1);
		__sync_fetch_and_add(&l->sent_bytes, bytes);
	}
}

static __always_inline void pn_lost_ring(__u32 kind, __u64 bytes)
{
	struct pn_loss_val *l = pn_loss_of(kind);
	if (l) {
		__sync_fetch_and_add(&l->lost_ring, 1);
		__sync_fetch_and_add(&l->lost_ring_bytes, bytes);
	}
}

static __always_inline void pn_lost_fault(__u32 kind, __u64 bytes)
{
	struct pn_loss_val *l = pn_loss_of(kind);
	if (l) {
		__sync_fetch_and_add(&l->lost_fault, 1);
		__sync_fetch_and_add(&l->lost_fault_bytes, bytes);
	}
}

static __always_inline void pn_lost_rate(__u32 kind, __u64 bytes)
{
	struct pn_loss_val *l = pn_loss_of(kind);
	if (l) {
		__sync_fetch_and_add(&l->lost_rate, 1);
		__sync_fetch_and_add(&l->lost_rate_bytes, bytes);
	}
}

static __always_inline void pn_header(struct pn_ev_hdr *h, __u16 kind, __u32 size)
{
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	h->kind = kind;
	h->version = PN_WIRE_VERSION;
	h->size = size;
	h->boot_ns = bpf_ktime_get_boot_ns();
	h->tgid = pid_tgid >> 32;
	h->tid = (__u32)pid_tgid;
	h->cgroup_id = bpf_get_current_cgroup_id();
}

/*
 * Waking is dearer than copying: a payload record wakes the daemon only when it blocks or the ring fills up; otherwise the
 * daemon's short timer finds it.
 */
#define PN_WAKE_BYTES (1 << 20)

static __always_inline __u64 pn_wake_flags(struct pn_ctl_val *ctl, bool urgent, __u64 len)
{
	__u64 waiting;
	if (ctl->sleeping == PN_ASLEEP || (urgent && ctl->sleeping)) {
		ctl->sleeping = PN_AWAKE;
		return BPF_RB_FORCE_WAKEUP;
	}
	/* Once when it gets there: a daemon that is slow because it is short of CPU is not helped by being woken again. */
	waiting = bpf_ringbuf_query(&pn_events, BPF_RB_AVAIL_DATA);
	return waiting < PN_WAKE_BYTES && waiting + len >= PN_WAKE_BYTES ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

/*
 * For a record that is reserved already, and for which somebody waits: the daemon is woken if it sleeps. If it is about
 * to, it sees the reservation (the exchange is a full barrier) and does not.
 */
static __always_inline __u64 pn_wake_now(struct pn_ctl_val *ctl)
{
	return __sync_lock_test_and_set(&ctl->sleeping, PN_AWAKE) ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

/* A fixed-size event into one of the rings. `kind` and the type go together. */
#define PN_EMIT(ring, kind_, ev, flags)                                                                                \
	({                                                                                                             \
		pn_header(&(ev)->hdr, kind_, sizeof(*(ev)));                                                           \
		long err_ = bpf_ringbuf_output(&ring, ev, sizeof(*(ev)), flags);                                       \
		if (err_)                                                                                              \
			pn_lost_ring(kind_, 0);                                                                        \
		else                                                                                                   \
			pn_sent(kind_, 0);                                                                             \
		err_;                                                                                                  \
	})

/* The same for a gate event that user space owes an answer to. */
#define PN_EMIT_WAITED_FOR(ctl, ev)                                                                                    \
	({                                                                                                             \
		typeof(ev) slot_ = bpf_ringbuf_reserve(&pn_verdicts, sizeof(*(ev)), 0);                                \
		pn_header(&(ev)->hdr, PN_EV_gate, sizeof(*(ev)));                                                      \
		if (slot_) {                                                                                           \
			*slot_ = *(ev);                                                                                \
			bpf_ringbuf_submit(slot_, pn_wake_now(ctl));                                                   \
			pn_sent(PN_EV_gate, 0);                                                                        \
		} else {                                                                                               \
			pn_lost_ring(PN_EV_gate, 0);                                                                   \
		}                                                                                                      \
	})

struct pn_copy {
	struct pn_ev_data ev; /* template; pos and len advance                                               */
	const void *buf;
	__u64 left;
	__u64 flags;          /* of the event ring                                                           */
	__u32 verdict;        /* into the verdict ring: its gate event follows, the daemon may get ready     */
	__u32 failed;
};

int pn_emit_data(struct pn_copy *template, __u64 len); /* capture/emit_data.bpf.c                            */

#endif
