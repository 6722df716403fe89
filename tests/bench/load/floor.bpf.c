// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What observing costs at the least: empty probes, and probes that copy every byte and do nothing else. */
#include "lib/kernel.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 32 << 20);
} floor_ring SEC(".maps");

struct call {
	__u64 buf, out;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct call);
} floor_task SEC(".maps");

__u64 floor_copied, floor_lost;

SEC("uprobe")
int floor__empty(struct pt_regs *regs)
{
	return 0;
}

SEC("uprobe")
int floor__copy_enter(struct pt_regs *regs)
{
	struct call *c = bpf_task_storage_get(&floor_task, bpf_get_current_task_btf(), NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (c) {
		c->buf = regs->si;
		c->out = regs->cx;
	}
	return 0;
}

SEC("uprobe")
int floor__copy_exit(struct pt_regs *regs)
{
	struct call *c = bpf_task_storage_get(&floor_task, bpf_get_current_task_btf(), NULL, 0);
	struct bpf_dynptr d;
	__u64 n = 0;
	if (!c || (__s32)regs->ax <= 0 || bpf_probe_read_user(&n, sizeof(n), (const void *)c->out) || !n || n > 4 << 20)
		return 0;
	if (bpf_ringbuf_reserve_dynptr(&floor_ring, (__u32)n, 0, &d)) {
		bpf_ringbuf_discard_dynptr(&d, 0);
		__sync_fetch_and_add(&floor_lost, 1);
		return 0;
	}
	bpf_probe_read_user_dynptr(&d, 0, (__u32)n, (const void *)c->buf);
	bpf_ringbuf_submit_dynptr(&d, BPF_RB_NO_WAKEUP);
	__sync_fetch_and_add(&floor_copied, 1);
	return 0;
}
