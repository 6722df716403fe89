/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is known of a process as a whole, whichever of its threads is asked. */
#ifndef PENSTOCK_PROCESS_H
#define PENSTOCK_PROCESS_H

#include "lib/emit.h"

struct pn_process_val {
	__u32 seals;         /* it sealed or opened TLS records by itself (aead_records)                    */
	__u32 go;            /* it made TLS calls of Go: pn_go_proc says more                               */
};

/* key: first thread of a process · value: pn_process_val · writer: aead_records, go_tls, proc_life (deletes) · reader: socket_io ·
 * full (allocation failed): counted; its sends are not looked at, in strict scopes they are opaque · miss: it is neither. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct pn_process_val);
	PN_PINNED;
} pn_process SEC(".maps") __weak;

static __always_inline struct pn_process_val *process_here(bool create)
{
	struct pn_process_val *p = bpf_task_storage_get(&pn_process, bpf_get_current_task_btf()->group_leader, NULL,
							create ? BPF_LOCAL_STORAGE_GET_F_CREATE : 0);
	if (!p && create)
		pn_count(PN_STAT_TASK_STORAGE_FAILED);
	return p;
}

#endif
