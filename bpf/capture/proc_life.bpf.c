// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Processes: birth (the scope is inherited before the child runs), new program, end. Threads are not reported. */
#include "lib/goroutine.h"
#include "lib/process.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Keeps every event type in the object's BTF, where tests compare its layout with that of user space. */
#define PN_X(name, number, type) const struct type *const volatile pn_layout_##name = 0;
PN_EVENTS(PN_X)
#undef PN_X

SEC("tp_btf/sched_process_fork")
int BPF_PROG(tp_btf__fork, struct task_struct *parent, struct task_struct *child)
{
	struct pn_ctl_val *ctl = pn_control();
	if (!pn_active(ctl) || child->pid != child->tgid)
		return 0;
	__u32 parent_tgid = parent->tgid, child_tgid = child->tgid;
	struct pn_ev_fork ev = {.child_tgid = child_tgid, .child_start_boot_ns = child->start_boottime};
	struct pn_proc_val *proc = bpf_map_lookup_elem(&pn_proc, &parent_tgid);
	if (proc) {
		struct pn_proc_val inherited = {.scope = proc->scope, .inherited = 1};
		ev.scope = inherited.scope;
		bpf_map_update_elem(&pn_proc, &child_tgid, &inherited, BPF_ANY);
	}
	PN_EMIT(pn_events, PN_EV_fork, &ev, pn_wake_flags(ctl, false, sizeof(ev)));
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(tp_btf__exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	struct pn_ctl_val *ctl = pn_control();
	if (!pn_active(ctl))
		return 0;
	struct pn_ev_exec ev = {.start_boot_ns = task->start_boottime};
	__u32 tgid = task->tgid;
	go_forget(tgid); /* where one Go program keeps its goroutines says nothing about the next */
	bpf_task_storage_delete(&pn_process, task);
	bpf_probe_read_kernel_str(ev.path, sizeof(ev.path), bprm->filename);
	/* A new program may belong elsewhere: user space decides again. Wakes when asleep: its libraries are about to load. */
	PN_EMIT(pn_events, PN_EV_exec, &ev, pn_wake_flags(ctl, true, sizeof(ev)));
	return 0;
}

static __always_inline void end_stdio(struct pn_ctl_val *ctl, __u32 tgid)
{
	struct pn_stdio_val *io = bpf_map_lookup_elem(&pn_stdio, &tgid);
	if (!io)
		return;
	if (io->stream) {
		struct pn_ev_conn_close ev = {.cookie = io->stream | PN_STDIO_COOKIE,
					      .stream = io->stream,
					      .to_server_bytes = io->pos[PN_TO_SERVER],
					      .to_client_bytes = io->pos[PN_TO_CLIENT]};
		bpf_map_delete_elem(&pn_admit, &ev.cookie);
		PN_EMIT(pn_events, PN_EV_conn_close, &ev, pn_wake_flags(ctl, false, sizeof(ev)));
	}
	bpf_map_delete_elem(&pn_stdio, &tgid);
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(tp_btf__exit, struct task_struct *task)
{
	struct pn_ctl_val *ctl = pn_control();
	if (!pn_active(ctl) || task->pid != task->tgid)
		return 0;
	__u32 tgid = task->tgid;
	struct pn_ev_exit ev = {.start_boot_ns = task->start_boottime, .code = task->exit_code};
	bpf_map_delete_elem(&pn_proc, &tgid);
	go_forget(tgid);
	end_stdio(ctl, tgid);
	PN_EMIT(pn_events, PN_EV_exit, &ev, pn_wake_flags(ctl, false, sizeof(ev)));
	return 0;
}

/* A task that changes its cgroup may change its scope: everybody's cached scope is resolved again, and user space looks. */
SEC("tp_btf/cgroup_attach_task")
int BPF_PROG(tp_btf__cgroup_move, struct cgroup *dst, const char *path, struct task_struct *task, bool threadgroup)
{
	struct pn_ctl_val *ctl = pn_control();
	if (!pn_active(ctl))
		return 0;
	__u32 tgid = task->tgid;
	struct pn_ev_moved ev = {.moved_tgid = tgid};
	struct pn_proc_val *proc = bpf_map_lookup_elem(&pn_proc, &tgid);
	if (proc)
		proc->inherited = 1;
	__sync_fetch_and_add(&ctl->scope_gen, 1);
	PN_EMIT(pn_events, PN_EV_moved, &ev, pn_wake_flags(ctl, true, sizeof(ev)));
	return 0;
}
