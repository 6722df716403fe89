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
	__u64 plain_type;    /* what its connections that lie right on a TCP socket begin with; 0: not seen yet */
	__u32 word;          /* its threads keep g this many words below the thread pointer                  */
	__u32 _pad0;
};

struct pn_go_call {
	__u64 ctx, buf, len; /* receiver and slice                                                          */
	__u64 pos;           /* gated write: where its provisional data went                                */
	__u64 left;          /* write: plaintext of it that no record has carried yet                       */
	__u64 depth;         /* of its frame, from the top of the goroutine's stack: it holds when the stack moves */
	__u64 caller;        /* its return address                                                          */
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

struct pn_go_stack {         /* what every runtime.g begins with                                             */
	__u64 lo, hi;
};

static __always_inline void go_note_frame(struct pn_go_call *call, __u64 g, __u64 sp)
{
	struct pn_go_stack stack = {};
	bpf_probe_read_user(&stack, sizeof(stack), (const void *)g);
	bpf_probe_read_user(&call->caller, sizeof(call->caller), (const void *)sp);
	call->depth = stack.hi - sp;
}

/*
 * Whether the goroutine that is in a system call is still in the call that was noted. Nothing tells when a Write ends that
 * sent nothing, and g of a goroutine that ended becomes another's: its handshake would be taken for the request.
 */
static __always_inline bool go_still_in(const struct pn_go_call *call, __u64 g)
{
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
	struct pn_go_stack stack = {};
	__u64 sp = 0, caller = 0;
	bpf_probe_read_kernel(&sp, sizeof(sp), &regs->sp);
	if (bpf_probe_read_user(&stack, sizeof(stack), (const void *)g) || sp < stack.lo || sp >= stack.hi - call->depth)
		return false;
	return !bpf_probe_read_user(&caller, sizeof(caller), (const void *)(stack.hi - call->depth)) && caller == call->caller;
}

/*
 * Whether this system call may be on the socket of that crypto/tls.Conn. The connection begins with the interface value of the
 * one below it: its type, and for a plain TCP connection the address of the address of a struct with the descriptor in its
 * third word. That is believed of a type for which it was right once.
 */
static __always_inline bool go_same_socket(struct pn_go_proc_val *proc, __u64 conn, __s32 fd)
{
	struct {
		__u64 type, data;
	} below = {};
	__u64 net_fd = 0;
	__s32 its = -1;
	if (bpf_probe_read_user(&below, sizeof(below), (const void *)conn) || !below.type)
		return true;
	if (!bpf_probe_read_user(&net_fd, sizeof(net_fd), (const void *)below.data))
		bpf_probe_read_user(&its, sizeof(its), (const void *)(net_fd + 16));
	if (its == fd && !proc->plain_type)
		proc->plain_type = below.type;
	return its == fd || proc->plain_type != below.type;
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
