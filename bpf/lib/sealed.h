/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Records that were sealed and wait for their send, and what is known of the threads and sockets that do so. */
#ifndef PENSTOCK_SEALED_H
#define PENSTOCK_SEALED_H

#include "lib/gate_close.h"

struct pn_sealed_key {
	__u64 print;         /* of the record's ciphertext, see print_of()                                  */
	__u32 tgid;
	__u32 _pad0;
};

struct pn_sealed_val {
	__u64 stream, pos;   /* where its plaintext was offered                                             */
	__u32 len;
	__u32 gated;
};

/* key: ciphertext of a record, process · value: where its plaintext is · writer: aead_records at the seal · reader: its send
 * hook, which deletes · full: what waited longest is forgotten: it was never sent (a record waits for microseconds) · miss:
 * the record's plaintext was not seen; opaque in strict scopes. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, PN_MAX_CALLS);
	__type(key, struct pn_sealed_key);
	__type(value, struct pn_sealed_val);
	PN_PINNED;
} pn_sealed SEC(".maps") __weak;

struct pn_aead_call {        /* the outermost seal, or open, in flight on this thread                       */
	__u64 sp;            /* as in pn_call                                                               */
	__u64 out, out_len;  /* ciphertext of a seal, plaintext of an open; pointer to its length, or 0     */
	__u64 len;           /* plaintext bytes                                                             */
	__u32 row;
	__u8 type;           /* content type; TLS 1.3 opens: 0, it comes with the plaintext                 */
	__u8 gated;
	__u8 print_at;       /* where in the ciphertext the print is                                        */
	__u8 _pad0;
};

struct pn_aead_task {
	__u64 stream, pos;   /* this thread's sealed plaintext is offered here                              */
	struct pn_aead_call seal, open;
	struct pn_socket received; /* socket this thread last received from                                 */
};

/* key: thread · value: pn_aead_task · writer, reader: aead_records · full (allocation failed): counted; opaque in strict
 * scopes · miss: made at the thread's first call, or receive in a process that seals. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct pn_aead_task);
	PN_PINNED;
} pn_aead_task SEC(".maps") __weak;

struct pn_aead_sock {
	__u32 next_seq;      /* where the record after those that were looked at begins                     */
	__u32 known;
};

/* key: socket · value: pn_aead_sock · writer, reader: aead_records · miss: the send at hand begins with a record. A send that
 * was taken in part is continued in the middle of one. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct pn_aead_sock);
	PN_PINNED;
} pn_aead_sock SEC(".maps") __weak;

#endif
