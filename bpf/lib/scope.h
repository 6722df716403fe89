/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which enforcement scope the current task belongs to: its process, else its cgroup (deepest entry wins), else scope 0. A process
 * that nobody has looked at since its birth (then it has its parent's scope) or since it was moved: if its scope does not gate, the
 * cgroup it was put into counts first.
 */
#ifndef PENSTOCK_SCOPE_H
#define PENSTOCK_SCOPE_H

#include "lib/emit.h"

#define PN_CGROUP_DEPTH 16

static __always_inline __u32 pn_scope_resolve(void)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32, scope = 0;
	struct pn_proc_val *proc = bpf_map_lookup_elem(&pn_proc, &tgid);
	if (proc) {
		__u32 own = scope = proc->scope;
		struct pn_scope_val *s = proc->inherited ? bpf_map_lookup_elem(&pn_scope, &own) : NULL;
		if (!s || s->mode != PN_MODE_OBSERVE)
			return own;
	}
	for (int level = 0; level < PN_CGROUP_DEPTH; level++) {
		__u64 id = bpf_get_current_ancestor_cgroup_id(level);
		if (!id)
			break;
		__u32 *found = bpf_map_lookup_elem(&pn_cgroup, &id);
		if (found)
			scope = *found;
	}
	return scope;
}

static __always_inline __u32 pn_scope_of(struct pn_task_val *t, const struct pn_ctl_val *ctl)
{
	/* Generation 0 never matches: a zeroed record is unresolved. */
	if (!t->scope_gen || t->scope_gen != ctl->scope_gen) {
		__u32 gen = ctl->scope_gen;
		barrier(); /* what changes meanwhile must not be taken for resolved */
		t->scope = pn_scope_resolve();
		t->scope_gen = gen;
	}
	return t->scope;
}

/* For programs that keep no record of the thread themselves. */
static __always_inline __u32 pn_scope_here(const struct pn_ctl_val *ctl)
{
	struct pn_task_val *t;
	if (!ctl->gating)
		return 0;
	t = bpf_task_storage_get(&pn_task, bpf_get_current_task_btf(), NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!t) {
		pn_count(PN_STAT_TASK_STORAGE_FAILED);
		return pn_scope_resolve();
	}
	return pn_scope_of(t, ctl);
}

static __always_inline struct pn_scope_val *pn_scope_val_of(__u32 scope)
{
	return bpf_map_lookup_elem(&pn_scope, &scope);
}

/* Ciphertext without plaintext waits for a verdict here. */
static __always_inline bool pn_refuses_opaque(const struct pn_scope_val *s)
{
	return s->mode != PN_MODE_OBSERVE && !(s->flags & PN_SCOPE_OPAQUE_ALLOW);
}

static __always_inline bool pn_daemon_away(const struct pn_ctl_val *ctl, __u64 now)
{
	__u64 beat = ctl->heartbeat_boot_ns;
	return now > beat && now - beat > ctl->dead_after_ns;
}

/* Takes `bytes`, and a request unless they continue one, from the lease that the daemon left behind. Concurrent takers may
 * not both win the last. */
static __always_inline bool pn_take_lease(struct pn_scope_val *s, __u64 bytes, bool continues)
{
	__s64 requests = continues ? 0 : 1;
	if (__sync_fetch_and_add(&s->lease_requests, -requests) < requests) {
		__sync_fetch_and_add(&s->lease_requests, requests);
		return false;
	}
	if (__sync_fetch_and_add(&s->lease_bytes, -(__s64)bytes) < (__s64)bytes) {
		__sync_fetch_and_add(&s->lease_bytes, (__s64)bytes);
		__sync_fetch_and_add(&s->lease_requests, requests);
		return false;
	}
	return true;
}

/* Token bucket on observed plaintext: a flooding scope loses its own telemetry, never somebody else's. Racy by design. */
static __always_inline bool pn_rate_ok(struct pn_scope_val *s, __u64 bytes)
{
	__u64 rate = s->rate_bytes_per_s, now, level, elapsed;
	if (!rate)
		return true;
	now = bpf_ktime_get_boot_ns();
	elapsed = now - s->bucket_boot_ns;
	if (elapsed > 1000000000ull)
		elapsed = 1000000000ull;
	/* At most one second's worth is saved up. */
	level = s->bucket_bytes + rate / 1000000 * (elapsed / 1000);
	if (level > rate)
		level = rate;
	s->bucket_boot_ns = now;
	if (level < bytes) {
		s->bucket_bytes = level;
		return false;
	}
	s->bucket_bytes = level - bytes;
	return true;
}

/*
 * Drops the holds that `admitted` has released and returns how many are left. Runs under the socket's lock, like everything
 * that touches a gate: the send hook, and egress, which the transmit path calls with the lock held.
 */
static __always_inline __u32 pn_holds_left(struct pn_gate_val *g, __u64 admitted)
{
	__u32 left = 0;
	for (__u32 i = 0; i < PN_HOLDS; i++) {
		struct pn_hold *h = &g->hold[i];
		bool last = i + 1 == g->holds;
		if (i >= g->holds)
			break;
		if (last && g->overflow ? admitted >= g->pos : admitted > h->pos)
			continue;
		__u32 to = left & (PN_HOLDS - 1);
		barrier_var(to);
		g->hold[to & (PN_HOLDS - 1)] = *h;
		left++;
	}
	g->holds = left;
	if (!left)
		g->overflow = 0;
	return left;
}

#endif
