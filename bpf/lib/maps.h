/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every map of Penstock. Each says key, value, writer, reader, what happens when it is full and what a miss means.
 * All are pinned by name, so that a killed or upgraded daemon leaves them, and what they enforce, in place.
 * __weak: each object file that includes this defines them; the BPF linker keeps one.
 */
#ifndef PENSTOCK_MAPS_H
#define PENSTOCK_MAPS_H

#include "lib/kernel.h"
#include "penstock/wire.h"

#define PN_PINNED __uint(pinning, LIBBPF_PIN_BY_NAME)

/* Only programs of the active epoch act (pn_ctl.epoch): an upgrade attaches new programs, flips the epoch, detaches the old. */
const volatile __u32 cfg_epoch __weak = 1;

/* key: 0 · value: pn_ctl_val · writer: daemon (mapped); `sleeping` is cleared by kernel programs · reader: all programs. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct pn_ctl_val);
	PN_PINNED;
} pn_ctl SEC(".maps") __weak;

/* Observed plaintext and life-cycle events · writer: capture programs · reader: daemon · full: pn_loss counts, the
 * stream's positions show the gap. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 << 20);
	PN_PINNED;
} pn_events SEC(".maps") __weak;

/* Verdict traffic: plaintext of gated writes, gate events · writer: tls_calls, egress · reader: daemon · full: pn_loss
 * counts; the gate is closed all the same, the daemon finds it in pn_gate. Apart from pn_events so that a flood of
 * observed traffic cannot delay a verdict. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 << 20);
	PN_PINNED;
} pn_verdicts SEC(".maps") __weak;

/* key: attach cookie · value: pn_probe_val · writer: daemon before it attaches · reader: tls_calls · miss: call ignored. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PN_MAX_PROBES);
	__type(key, __u32);
	__type(value, struct pn_probe_val);
	PN_PINNED;
} pn_probe SEC(".maps") __weak;

/* key: scope · value: pn_scope_val · writer: daemon; bucket and lease fields are drawn down by the kernel · reader: all. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PN_MAX_SCOPES);
	__type(key, __u32);
	__type(value, struct pn_scope_val);
	PN_PINNED;
} pn_scope SEC(".maps") __weak;

/* key: tgid · value: pn_proc_val · writer: daemon, fork hook (child inherits), exit hook (deletes) · reader: scope_of ·
 * full: the process falls back to its cgroup's scope · miss: likewise. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PN_MAX_PROCS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct pn_proc_val);
	PN_PINNED;
} pn_proc SEC(".maps") __weak;

/* key: cgroup2 id; descendants inherit, the deepest entry wins · value: scope · writer: daemon · reader: scope_of ·
 * full: daemon reports · miss: default scope. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PN_MAX_CGROUPS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u32);
	PN_PINNED;
} pn_cgroup SEC(".maps") __weak;

struct pn_ctx_key {
	__u64 ctx;
	__u32 tgid;
	__u32 _pad0;
};

struct pn_ctx_val {
	__u64 stream;
	__u64 cookie;       /* 0: not bound yet                                                             */
	__u64 pos[2];       /* next plaintext position, by direction                                        */
	__u64 retry_pos;    /* a gated write that reached its socket but returned "retry" started here …    */
	__u64 retry_len;    /* … and had this length; 0: none                                               */
	__u64 leased_at;    /* where the answers stood, plus one, when a write last passed on a lease        */
	__u32 server;       /* the process is the accepting side: not an agent's request                    */
	__u32 passed;       /* calls that were of no interest                                               */
};

/* key: TLS context in a process · value: pn_ctx_val · writer, reader: tls_calls, sock_life · full: observed call lost and
 * counted; a gated one is held as opaque · miss: a new stream begins. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PN_MAX_CTXS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct pn_ctx_key);
	__type(value, struct pn_ctx_val);
	PN_PINNED;
} pn_ctx SEC(".maps") __weak;

/* key: socket cookie · value: pn_conn_val · writer: bind (tls_calls) · reader: sock_life, daemon · full: counted, the
 * connection is observed but missing from lists · miss: not a followed connection. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PN_MAX_CONNS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct pn_conn_val);
	PN_PINNED;
} pn_conn SEC(".maps") __weak;

/* key: socket cookie · value: pn_gate_val · writer: tls_calls (under the socket's lock) · reader: egress, daemon · full:
 * the socket is refused for good (pn_sock) · miss: not gated, allow. A plain hash: an LRU would open a held socket by
 * evicting it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PN_MAX_CONNS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct pn_gate_val);
	PN_PINNED;
} pn_gate SEC(".maps") __weak;

/* key: socket cookie · value: pn_admit_val · writer: daemon; sock_life deletes when the socket ends · reader: egress,
 * tls_calls · full: daemon reports, connection stays held · miss: nothing admitted. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PN_MAX_CONNS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct pn_admit_val);
	PN_PINNED;
} pn_admit SEC(".maps") __weak;

/* key: tgid · value: pn_stdio_val · writer: daemon (inserts), pipe_io, exit hook (deletes) · reader: pipe_io, daemon · full: daemon
 * reports, that server is not followed · miss: not a server over pipes that is of interest. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PN_MAX_PROCS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct pn_stdio_val);
	PN_PINNED;
} pn_stdio SEC(".maps") __weak;

/* key: address and port · value: unused · writer: daemon (learnt from traffic, configured) · reader: connect hooks of
 * blocked scopes · full: oldest forgotten; the gate still denies · miss: connect allowed. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, PN_MAX_ENDPOINTS);
	__type(key, struct pn_endpoint_key);
	__type(value, __u8);
	PN_PINNED;
} pn_endpoint SEC(".maps") __weak;

/* key: socket cookie · value: pn_datagram_val · writer: connect hooks, egress, datagrams · reader: daemon · full: least recently used
 * forgotten, its bytes are not shown · miss: no UDP that is of interest. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, PN_MAX_DATAGRAMS);
	__type(key, __u64);
	__type(value, struct pn_datagram_val);
	PN_PINNED;
} pn_datagram SEC(".maps") __weak;

/* key: event kind · value: pn_loss_val per CPU · writer: emit · reader: daemon. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PN_EV_KINDS);
	__type(key, __u32);
	__type(value, struct pn_loss_val);
	PN_PINNED;
} pn_loss SEC(".maps") __weak;

/* key: enum pn_stat · value: count per CPU · writer: all programs · reader: daemon. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PN_STATS);
	__type(key, __u32);
	__type(value, __u64);
	PN_PINNED;
} pn_stats SEC(".maps") __weak;

/* key: 0 · value: last stream number handed out on this CPU · writer, reader: tls_calls. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
	PN_PINNED;
} pn_stream_no SEC(".maps") __weak;

#define PN_PENDING 4 /* TLS contexts of one thread whose ciphertext waits in memory at once; more: the oldest is forgotten */

struct pn_call {             /* the outermost write, or read, in flight on this thread                       */
	__u64 sp;            /* its stack pointer; 0: none. A nested probed call has a lower one, a stale record a higher */
	__u64 ctx, buf, len, out;
	__u64 stream, pos;   /* gated write: where its provisional data went                                */
	__u64 print;         /* fingerprint of the first record it made; 0: not known                       */
	__u32 row;
	__u8 shape;
	__u8 gated;          /* enum pn_call_gate                                                           */
	__u8 sent;           /* a send carried this call's ciphertext                                       */
	__u8 _pad0;
};

struct pn_pending {          /* plaintext whose ciphertext sits in a memory BIO, waiting for its send        */
	__u64 ctx, stream, pos, len;
	__u64 print;         /* as in pn_call                                                               */
	__u32 gated;
	__u32 no;            /* in order of time                                                            */
};

struct pn_socket {
	__u64 cookie;
	__u32 passive;
	__u32 len;               /* bytes of the receive that noted it                                      */
	struct pn_conn_val conn; /* addresses, joined                                                       */
};

#define PN_PRINTS 4

struct pn_records {          /* what a send is made of, as TLS records                                      */
	__u64 print[PN_PRINTS]; /* of the first application-data records                                    */
	__u64 app_bytes;       /* application-data records, headers included                                */
	__u32 app_records;
	__u32 tls;             /* at least one record                                                       */
	__u32 torn;            /* one of the first records is torn between two vectors: its print is not known */
};

struct pn_task_val {
	__u32 scope;
	__u32 scope_gen;     /* pn_ctl.scope_gen for which `scope` was resolved                             */
	struct pn_call write, read; /* apart: a program may write from a callback of its read (Node does)   */
	struct pn_pending pending[PN_PENDING];
	struct pn_socket received; /* socket this thread last received from, while note_receives            */
	__u32 note_receives;       /* a context was read from that no send has tied yet                     */
	__u32 pending_no;          /* last number given out                                                 */
	struct pn_records records; /* of the send at hand: too large for the stack                          */
};

/* key: thread · value: pn_task_val · writer, reader: tls_calls · full (allocation failed): call counted and ignored in
 * observe, opaque in strict · miss: created at the thread's first TLS call. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct pn_task_val);
	PN_PINNED;
} pn_task SEC(".maps") __weak;

enum pn_plain { PN_PLAIN_UNKNOWN = 0, PN_PLAIN_HTTP, PN_PLAIN_NEVER };

enum pn_first {              /* what a connection began with                                                */
	PN_FIRST_UNSEEN,
	PN_FIRST_TLS,        /* a handshake record, or bytes that could not be read                         */
	PN_FIRST_OTHER,
};

struct pn_sock_val {
	__u32 passive;       /* accepted, not connected: its process is the server                          */
	__u32 fresh;         /* its establishment was seen: observation covers it from the first byte       */
	__u32 refused;       /* it may not be judged any more: payload does not leave                       */
	__u16 plain;         /* enum pn_plain: does its process speak cleartext HTTP on it?                  */
	__u16 plain_tries;   /* sends that were looked at for that                                          */
	__u32 first;         /* enum pn_first                                                               */
	__u32 told;          /* bytes of its beginning that user space was given                            */
	/* Scopes that refuse what nobody can read (gate/opaque.bpf.c): */
	__u32 looked;
	__u64 explained;     /* most ciphertext that the plaintext seen can have made                       */
	__u64 base;          /* offset at the first look: what was sent before is nobody's                  */
	__u64 handshake;     /* bytes of handshake, CCS and alert records since                             */
	__u64 app_bytes;     /* of application records, until `talking`                                     */
	__u64 walked;        /* records were followed up to here; in the middle of one:                     */
	__u32 left;          /* … so much of it is to come                                                  */
	__u16 length;
	__u8 type;
	__u8 have;           /* bytes of its header                                                         */
	__u32 tls;           /* a TLS record was seen, or something that could not be read                  */
	__u32 talking;       /* the handshake is over: nothing counts as one any more                       */
};

/* key: socket · value: pn_sock_val · writer: sockops, client_hello, plain_io, tls_calls, opaque · reader: bind, egress · miss: the socket is older than the programs. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct pn_sock_val);
	PN_PINNED;
} pn_sock SEC(".maps") __weak;

struct pn_plain_val {
	struct pn_ctx_val c;
	__u32 seq[2];        /* TCP sequence number of the byte at c.pos, by direction                      */
	__u32 asleep;        /* no AI traffic so far: nothing is copied until a request could be one        */
	__u32 woken;         /* how often that was so                                                       */
};

/* key: socket on which cleartext HTTP was begun · value: pn_plain_val, its stream · writer: plain_io · reader: plain_io,
 * sock_life · full (allocation failed): counted; not followed · miss: nothing of interest. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct pn_plain_val);
	PN_PINNED;
} pn_plain SEC(".maps") __weak;

#endif
