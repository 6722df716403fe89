/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Goroutines: what a thread is to other programs. One may change threads between a call and the system call inside it, and a
 * thread runs many; so calls of Go programs are keyed by goroutine.
 */
#ifndef PENSTOCK_GOROUTINE_H
#define PENSTOCK_GOROUTINE_H

#include "lib/emit.h"

struct pn_go_key {
	__u64 g;             /* address of the runtime's g                                                  */
	__u32 tgid;
	__u32 read;          /* 0: Write, 1: Read                                                           */
};

struct pn_go_proc_val {
	__u32 word;          /* its threads keep g this many words below the thread pointer                  */
};

struct pn_go_call {
	__u64 ctx, buf, len; /* receiver and slice                                                          */
	__u64 pos;           /* gated write: where its provisional data went                                */
	__u64 left;          /* write: plaintext of it that no record has carried yet                       */
	__u32 row;
	__u32 gated;
	__u32 sent;          /* a send carried the beginning                                                */
	__u32 _pad0;
};

/* key: goroutine and direction · value: the call it is in · writer, reader: go_tls; proc_life deletes what a process left ·
 * full: the call is lost and counted, in strict scopes it is opaque · miss: the goroutine is in no TLS call. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PN_MAX_CALLS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct pn_go_key);
	__type(value, struct pn_go_call);
	PN_PINNED;
} pn_go_call SEC(".maps") __weak;

/* key: tgid of a process that made a Go TLS call · value: pn_go_proc_val · writer: go_tls, proc_life (deletes) · reader: go_tls ·
 * full: its sends are not looked at, in strict scopes they are opaque · miss: not a Go program. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PN_MAX_PROCS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct pn_go_proc_val);
	PN_PINNED;
} pn_go_proc SEC(".maps") __weak;

#define PN_GO_TLS_WORDS 64

static __always_inline __u64 go_thread_word(__u32 word)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u64 g = 0, base = task->thread.fsbase;
	if (!base || bpf_probe_read_user(&g, sizeof(g), (const void *)(base - 8 * (__u64)word)))
		return 0;
	return g;
}

/* Where this process keeps the g of a thread: the last word below the thread pointer, unless C code that is linked in has
 * thread-local variables too. Go's own code has it in r14, which tells. 0: not found. */
static __always_inline __u32 go_find_word(__u64 g)
{
	for (__u32 word = 1; word <= PN_GO_TLS_WORDS; word++)
		if (go_thread_word(word) == g)
			return word;
	return 0;
}

struct pn_go_sweep {
	__u32 tgid;
};

static long go_sweep_one(void *map, struct pn_go_key *key, struct pn_go_call *call, struct pn_go_sweep *sweep)
{
	if (key->tgid == sweep->tgid)
		bpf_map_delete_elem(&pn_go_call, key);
	return 0;
}

/* A process ended: its goroutines were in the middle of calls, most of them of reads. */
static __always_inline void go_forget(__u32 tgid)
{
	struct pn_go_sweep sweep = {.tgid = tgid};
	if (!bpf_map_lookup_elem(&pn_go_proc, &tgid))
		return;
	bpf_map_delete_elem(&pn_go_proc, &tgid);
	bpf_for_each_map_elem(&pn_go_call, go_sweep_one, &sweep, 0);
}

#endif
