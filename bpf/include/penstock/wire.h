/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * wire.h - the contract between the kernel programs and user space: events, map keys and values, limits. The only file
 * both worlds include. Append; never renumber, reorder or pack. Any change here, or of a map in lib/maps.h, bumps
 * PN_WIRE_VERSION: the loader refuses pinned maps of another version.
 *
 * One clock everywhere: CLOCK_BOOTTIME in nanoseconds (fields *_boot_ns). Addresses are in network byte order, ports in
 * host byte order. Payload is the bytes after the struct.
 */
#ifndef PENSTOCK_WIRE_H
#define PENSTOCK_WIRE_H

#ifdef __cplusplus
#include <linux/types.h>

#include <type_traits>
#define PN_WIRE(type, n) static_assert(sizeof(struct type) == (n) && std::is_trivially_copyable_v<struct type>, #type)
#else
#define PN_WIRE(type, n) _Static_assert(sizeof(struct type) == (n), #type)
#endif

#define PN_WIRE_VERSION 8

/*
 * Streams. A *stream* is the plaintext of one TLS context (or cleartext socket) while it belongs to one connection; its
 * id is unique on the host. Positions count plaintext bytes per direction from the first byte seen. A connection is named
 * by its socket cookie (0: not known yet; a bind event follows).
 */
#define PN_EVENTS(X)      /* name, number, struct: a number is never reused                             */ \
	X(data, 1, pn_ev_data)        /* plaintext that passed a TLS call                               */ \
	X(bind, 2, pn_ev_bind)        /* a stream's connection became known                             */ \
	X(gate, 3, pn_ev_gate)        /* a gated write reached its socket: its plaintext is committed   */ \
	X(withdraw, 4, pn_ev_withdraw) /* a gated write produced nothing: its provisional data is void  */ \
	X(conn_close, 5, pn_ev_conn_close)                                                                  \
	X(fork, 6, pn_ev_fork)                                                                              \
	X(exec, 7, pn_ev_exec)                                                                              \
	X(exit, 8, pn_ev_exit)                                                                              \
	X(mmap, 9, pn_ev_mmap)        /* an executable file mapping appeared (library loaded later)     */ \
	X(hello, 12, pn_ev_hello)     /* the first bytes that a TLS client sends on a new connection    */ \
	X(wire_end, 13, pn_ev_wire_end) /* such a connection ended: what it moved, as TCP counts        */ \
	X(moved, 14, pn_ev_moved)     /* a process was put into another cgroup                          */

enum pn_event_kind {
#define PN_X(name, number, type) PN_EV_##name = number,
	PN_EVENTS(PN_X)
#undef PN_X
	PN_EV_KINDS = 16, /* size of the per-kind loss table                                               */
};

struct pn_ev_hdr {        /* first member of every event                                                   */
	__u16 kind;       /* enum pn_event_kind                                                            */
	__u16 version;    /* PN_WIRE_VERSION of the writer                                                 */
	__u32 size;       /* whole record, payload included                                                */
	__u64 boot_ns;    /* at the hook                                                                   */
	__u32 tgid;       /* process and thread, host pid namespace                                        */
	__u32 tid;
	__u64 cgroup_id;  /* cgroup2 id of the task                                                        */
};
PN_WIRE(pn_ev_hdr, 32);

enum pn_direction { PN_TO_SERVER = 0, PN_TO_CLIENT = 1 };

enum pn_data_flags {
	PN_DATA_PROVISIONAL = 1, /* offered by a gated write; committed by a later gate event, or withdrawn */
	PN_DATA_PARTIAL = 2,     /* the bytes of this call beyond `len` could not be copied: a gap follows  */
};

struct pn_ev_data {
	struct pn_ev_hdr hdr;
	__u64 cookie;
	__u64 stream;
	__u64 pos;        /* of the first payload byte                                                     */
	__u32 len;        /* payload bytes                                                                 */
	__u32 scope;
	__u8 direction;   /* enum pn_direction                                                             */
	__u8 flags;       /* enum pn_data_flags                                                            */
	__u16 _pad0;
	__u32 probe;      /* row in pn_probe that saw it; PN_PROBE_NONE: cleartext                         */
};
PN_WIRE(pn_ev_data, 72);

#define PN_PROBE_NONE (~0u)

enum pn_bind_how {        /* how a stream was tied to its socket; nested, print and clear are certain       */
	PN_BIND_NESTED = 1,  /* the socket call ran inside the TLS call                                    */
	PN_BIND_LENGTH = 2,  /* next TLS send of the thread, and its length fits the plaintext             */
	PN_BIND_ADJACENT = 3, /* next TLS send (or last receive) of the thread                             */
	PN_BIND_PRINT = 4,   /* the send carries the very ciphertext that the TLS call made                */
	PN_BIND_CLEAR = 5,   /* cleartext: the bytes were taken at the socket itself                       */
	PN_BIND_STDIO = 6,   /* standard input and output of a server that its client started: no socket    */
};

struct pn_ev_bind {
	struct pn_ev_hdr hdr;
	__u64 cookie;
	__u64 stream;
	__u8 local_addr[16];  /* IPv4 in the first four bytes                                              */
	__u8 remote_addr[16];
	__u16 local_port;
	__u16 remote_port;
	__u16 family;     /* AF_INET or AF_INET6                                                           */
	__u8 how;         /* enum pn_bind_how                                                              */
	__u8 joined;      /* 1: the connection existed before it was observed                              */
	__u32 scope;
	__u32 client_tgid; /* stdio: whoever speaks to the server, which hdr names; else 0                 */
};
PN_WIRE(pn_ev_bind, 96);

enum pn_gate_what {
	PN_GATE_CLOSED = 1,  /* this write is held; user space owes a verdict                              */
	PN_GATE_BEHIND = 2,  /* the connection was closed already: this write queues behind                */
	PN_GATE_ADMITTED = 3, /* inside the admitted range: passed                                         */
	PN_GATE_REFUSED = 4, /* the daemon is away and on_failure is closed: refused by the kernel         */
	PN_GATE_LEASED = 5,  /* the daemon is away and on_failure is open: passed on the scope's lease     */
	PN_GATE_OPAQUE = 6,  /* strict scope: ciphertext for which no plaintext was seen; held             */
	PN_GATE_OBSERVED = 7, /* not gated: this plaintext reached its socket; no verdict is owed          */
};

struct pn_ev_gate {
	struct pn_ev_hdr hdr;
	__u64 cookie;
	__u64 stream;
	__u64 pos;        /* plaintext position of the write                                               */
	__u64 len;        /* its length                                                                    */
	__u64 deadline_boot_ns; /* after it the kernel applies on_failure by itself                        */
	__u32 scope;
	__s32 fd;         /* descriptor the program used, as far as its registers tell; verify by SO_COOKIE */
	__u32 limit_seq;  /* TCP sequence number of the first held byte                                    */
	__u8 what;        /* enum pn_gate_what                                                             */
	__u8 _pad0[3];
	/* A record is sealed before its socket is known: its plaintext was offered as provisional data of this stream, at
	 * this position, and belongs to `stream` at `pos` from now on. 0: it was offered there already.        */
	__u64 data_stream;
	__u64 data_pos;
};
PN_WIRE(pn_ev_gate, 104);

struct pn_ev_withdraw {
	struct pn_ev_hdr hdr;
	__u64 cookie;
	__u64 stream;
	__u64 pos;        /* provisional data at and after this position is void                           */
};
PN_WIRE(pn_ev_withdraw, 56);

struct pn_ev_conn_close {
	struct pn_ev_hdr hdr; /* the task is whoever ran when the socket ended: not the owner              */
	__u64 cookie;
	__u64 stream;
	__u64 to_server_bytes; /* plaintext seen                                                           */
	__u64 to_client_bytes;
};
PN_WIRE(pn_ev_conn_close, 64);

struct pn_ev_fork {       /* new process (threads are not reported); hdr is the parent                     */
	struct pn_ev_hdr hdr;
	__u32 child_tgid;
	__u32 scope;      /* inherited                                                                     */
	__u64 child_start_boot_ns;
};
PN_WIRE(pn_ev_fork, 48);

#define PN_PATH_BYTES 192
struct pn_ev_exec {
	struct pn_ev_hdr hdr;
	__u64 start_boot_ns;
	char path[PN_PATH_BYTES]; /* as given to execve, NUL-terminated, cut when longer                   */
};
PN_WIRE(pn_ev_exec, 232);

struct pn_ev_exit {
	struct pn_ev_hdr hdr;
	__u64 start_boot_ns;
	__s32 code;       /* as in wait(2)                                                                 */
	__u32 _pad0;
};
PN_WIRE(pn_ev_exit, 48);

struct pn_ev_mmap {
	struct pn_ev_hdr hdr;
	__u64 dev;
	__u64 ino;
};
PN_WIRE(pn_ev_mmap, 48);

/* In the clear on the wire: the ClientHello, and what follows it up to PN_HELLO_BYTES (ciphertext by then). Whoever sends is
 * the task of the header. A connection whose first byte begins no TLS record is not told of. */
#define PN_HELLO_BYTES 4096
enum pn_hello_flags {
	PN_HELLO_SPLICED = 1, /* bytes came from a file or pipe (sendfile, splice): they could not be read  */
	PN_HELLO_RING = 2,    /* sent through io_uring                                                      */
};

struct pn_ev_hello {
	struct pn_ev_hdr hdr;
	__u64 cookie;
	__u8 local_addr[16];  /* IPv4 in the first four bytes                                              */
	__u8 remote_addr[16];
	__u16 local_port;
	__u16 remote_port;
	__u16 family;
	__u16 flags;      /* enum pn_hello_flags: of this send                                             */
	__u32 scope;
	__u32 pos;        /* of the first payload byte in what the connection sent                         */
	__u32 len;        /* payload bytes                                                                 */
	__u32 _pad0;
};
PN_WIRE(pn_ev_hello, 96);

struct pn_ev_wire_end {
	struct pn_ev_hdr hdr; /* the task is whoever ran when the socket ended: not the owner              */
	__u64 cookie;
	__u64 sent_bytes;     /* acknowledged by the peer                                                  */
	__u64 received_bytes;
};
PN_WIRE(pn_ev_wire_end, 56);

struct pn_ev_moved {
	struct pn_ev_hdr hdr; /* whoever moved it, often itself                                            */
	__u32 moved_tgid;
	__u32 _pad0;
};
PN_WIRE(pn_ev_moved, 40);

/* ---- maps ---------------------------------------------------------------------------------------------- */

enum pn_limits {
	PN_MAX_PROBES = 4096,
	PN_MAX_SCOPES = 1024,
	PN_MAX_CONNS = 65536,   /* connections followed at once: pn_conn, pn_gate, pn_admit                 */
	PN_MAX_CTXS = 131072,   /* TLS contexts followed at once                                            */
	PN_MAX_PROCS = 65536,
	PN_MAX_CALLS = 65536,   /* calls of goroutines in flight; records sealed and not sent yet           */
	PN_MAX_CGROUPS = 16384,
	PN_MAX_ENDPOINTS = 8192,
	PN_MAX_DATAGRAMS = 4096,
	PN_MAX_DATA_BYTES = 16 << 20,/* of one TLS call; more is a counted gap                              */
};

enum pn_shape {           /* call shapes: what the arguments and the result of a probed function mean       */
	PN_SHAPE_NONE = 0,
	PN_SHAPE_WRITE_OUT = 1,  /* f(ctx, buf, size_t len, size_t *written) -> > 0 when ok                 */
	PN_SHAPE_READ_OUT = 2,   /* f(ctx, buf, size_t len, size_t *readbytes) -> > 0 when ok               */
	PN_SHAPE_WRITE_RET = 3,  /* f(ctx, buf, len) -> bytes written, <= 0 when not                        */
	PN_SHAPE_READ_RET = 4,
	PN_SHAPE_FREE = 5,       /* f(ctx): the context ends; entry only                                    */
	PN_SHAPE_WRITE_FLAGS_OUT = 6, /* f(ctx, buf, size_t len, flags, size_t *written) -> > 0 when ok     */
	PN_SHAPE_RECORD = 7,     /* f(bio, records, int len): the library hands on its ciphertext; entry only */
	/* Go: receiver, slice pointer and slice length in rax, rbx, rcx; a RET of the function with n in rax */
	PN_SHAPE_GO_WRITE = 8,
	PN_SHAPE_GO_READ = 9,
	PN_SHAPE_GO_READ_RETURN = 10,
	/* One TLS record: EVP_AEAD_CTX_* of BoringSSL and AWS-LC (userspace/locators/core/attach_plan.h)       */
	PN_SHAPE_AEAD_SEAL = 11,
	PN_SHAPE_AEAD_SEAL_SCATTER = 12,
	PN_SHAPE_AEAD_OPEN = 13,
	PN_SHAPE_AEAD_OPEN_GATHER = 14,
	PN_SHAPE_READ_FLAGS_RET = 15, /* f(ctx, buf, len, flags) -> bytes read, or only looked at (PN_FLAG_PEEK) */
	/* The same record with arguments that are where the compiler put them: ring below rustls             */
	PN_SHAPE_RING_SEAL = 16,
	PN_SHAPE_RING_OPEN = 17,
};

#define PN_FLAG_PEEK 2    /* of NSPR, and of recv(2)                                                        */

enum pn_probe_flags {
	PN_PROBE_ENDS_TOLD = 1, /* the library is probed where its contexts end, too                        */
};

struct pn_probe_val {     /* pn_probe[row]; the row is the attach cookie                                   */
	__u32 shape;      /* enum pn_shape                                                                 */
	__u32 flags;      /* enum pn_probe_flags                                                           */
};
PN_WIRE(pn_probe_val, 8);

enum pn_mode { PN_MODE_OBSERVE = 0, PN_MODE_ENFORCE = 1, PN_MODE_STRICT = 2 };
enum pn_on_failure { PN_FAIL_HOLD_LAST = 0, PN_FAIL_OPEN = 1, PN_FAIL_CLOSED = 2 };
enum pn_scope_flags {
	PN_SCOPE_BLOCK_ENDPOINTS = 1, /* connects to known AI endpoints are refused (kill switch)           */
	PN_SCOPE_BLOCK_ALL = 2,       /* every TCP and UDP connect is refused                               */
	PN_SCOPE_OPAQUE_ALLOW = 4,    /* strict: ciphertext without plaintext may pass                      */
};

struct pn_scope_val {     /* pn_scope[scope]; 0 is the default scope                                       */
	__u32 mode;       /* enum pn_mode                                                                  */
	__u32 on_failure; /* enum pn_on_failure                                                            */
	__u32 flags;      /* enum pn_scope_flags                                                           */
	__u32 _pad0;
	__u64 deadline_ns;      /* how long a held write waits for a verdict                               */
	__s64 lease_requests;   /* what may still pass while the daemon is away (on_failure open)          */
	__s64 lease_bytes;
	__u64 rate_bytes_per_s; /* observed plaintext; 0: unlimited                                        */
	__u64 bucket_bytes;     /* kernel-owned token bucket                                               */
	__u64 bucket_boot_ns;
};
PN_WIRE(pn_scope_val, 64);

struct pn_conn_val {      /* pn_conn[cookie]                                                               */
	__u64 ctx;        /* TLS context address in its process; with tgid the key of pn_ctx               */
	__u64 stream;
	__u32 tgid;
	__u32 scope;
	__u8 local_addr[16];
	__u8 remote_addr[16];
	__u16 local_port;
	__u16 remote_port;
	__u16 family;
	__u8 how;
	__u8 joined;
};
PN_WIRE(pn_conn_val, 64);

#define PN_ADMIT_ALL (~0ull)
#define PN_OPAQUE_POS (PN_ADMIT_ALL - 1) /* a hold that nothing but PN_ADMIT_ALL releases                     */

/* A held write. It is released when pn_admit.pos passes its position; until then nothing from `seq` on leaves. */
struct pn_hold {
	__u64 pos;        /* plaintext position at which it starts                                         */
	__u32 seq;        /* TCP sequence number of its first byte                                         */
	__u32 _pad0;
};
PN_WIRE(pn_hold, 16);

#define PN_HOLDS 8
struct pn_gate_val {      /* pn_gate[cookie]: written by the kernel only                                   */
	__u64 pos;        /* plaintext bytes bound to this socket so far                                   */
	__u64 closed_boot_ns;
	__u64 deadline_boot_ns;
	__u32 scope;
	__u32 expired;    /* on_failure has been applied to this hold                                      */
	__u32 holds;      /* how many of `hold` are in use, in order of position                           */
	__u32 overflow;   /* writes were queued that found no room in `hold`: the last one stands for them
			   * all and is released when everything up to `pos` is admitted               */
	struct pn_hold hold[PN_HOLDS];
};
PN_WIRE(pn_gate_val, 168);

enum pn_admit_flags {
	PN_ADMIT_IGNORE = 1,  /* no AI traffic here: stop copying                                           */
	PN_ADMIT_URGENT = 2,  /* wake user space for every read: a budget is close to its limit             */
};

struct pn_admit_val {     /* pn_admit[cookie]: written by user space only                                  */
	__u64 pos;        /* plaintext position up to which the connection may send                        */
	__u32 flags;      /* enum pn_admit_flags                                                           */
	__u32 _pad0;
};
PN_WIRE(pn_admit_val, 16);

struct pn_proc_val {      /* pn_proc[tgid]: written by user space, copied to children by the fork hook     */
	__u32 scope;
	__u32 inherited;  /* set by the fork hook (its parent's) and when it moves: user space has not looked since */
};
PN_WIRE(pn_proc_val, 8);

/*
 * pn_stdio[tgid]: a process whose standard input and output are pipes (or socket pairs) that another process holds the other
 * ends of. Written by user space once; from then on the kernel's. Its streams have no socket: their cookie is the stream's number
 * with PN_STDIO_COOKIE.
 */
#define PN_STDIO_COOKIE (1ull << 63)
enum pn_stdio_state { PN_STDIO_UNKNOWN = 0, PN_STDIO_SPEAKS, PN_STDIO_NEVER };
struct pn_stdio_val {
	__u64 stream;     /* 0: nothing was read yet                                                       */
	__u64 pos[2];
	__u32 client_tgid;
	__u32 state;      /* enum pn_stdio_state: does it speak JSON lines?                                */
};
PN_WIRE(pn_stdio_val, 32);

struct pn_endpoint_key {  /* pn_endpoint: addresses known to be AI endpoints                               */
	__u8 addr[16];    /* IPv4 in the first four bytes, rest 0                                          */
	__u16 port;
	__u16 family;
};
PN_WIRE(pn_endpoint_key, 20);

struct pn_datagram_val {  /* pn_datagram[cookie]: a UDP socket that speaks to port 443 or an AI endpoint       */
	__u8 remote_addr[16]; /* the last one                                                              */
	__u16 remote_port;
	__u16 family;
	__u32 tgid;       /* who connected it, or sent to that address                                     */
	__u32 scope;
	__u32 refused;    /* datagrams and connects that were refused                                      */
	__u64 cgroup_id;
	__u64 first_boot_ns;
	__u64 sent_bytes;
	__u64 received_bytes;
};
PN_WIRE(pn_datagram_val, 64);

enum pn_gating {
	PN_GATING_ON = 1,     /* some scope gates                                                           */
	PN_GATING_FULL = 2,   /* set by the kernel: pn_gate was full once, egress must look at pn_sock too  */
	PN_GATING_OPAQUE = 4, /* some scope refuses what nobody can read: ciphertext is held against plaintext */
};

enum pn_sleep {
	PN_AWAKE = 0,
	PN_DOZING = 1, /* a short timer runs: whoever waits for a verdict wakes the daemon                  */
	PN_ASLEEP = 2, /* any event wakes it                                                                */
};

struct pn_ctl_val {       /* pn_ctl[0], mapped by the daemon                                               */
	__u64 heartbeat_boot_ns; /* written by the daemon's event loop                                     */
	__u64 dead_after_ns;     /* older heartbeat: the daemon is away                                    */
	__u32 gating;            /* enum pn_gating; 0: nothing is gated, one load and out                  */
	__u32 scope_gen;         /* bumped when scopes, processes or cgroups change: caches are void       */
	__u32 epoch;             /* only programs of this epoch act: upgrades flip it in one store          */
	__u32 sleeping;          /* enum pn_sleep                                                          */
	__u32 wire_version;      /* PN_WIRE_VERSION of whoever made these maps; 0: just made               */
	__u32 datagrams;         /* set by the kernel: some socket has used UDP towards port 443           */
};
PN_WIRE(pn_ctl_val, 40);

/* Per-CPU counters, by event kind. lost = not delivered: ring full, copy fault, rate limit, table full. */
struct pn_loss_val {
	__u64 sent;
	__u64 sent_bytes;
	__u64 lost_ring;
	__u64 lost_ring_bytes;
	__u64 lost_fault;
	__u64 lost_fault_bytes;
	__u64 lost_rate;
	__u64 lost_rate_bytes;
};
PN_WIRE(pn_loss_val, 64);

enum pn_stat {            /* pn_stats[index], per CPU                                                      */
	PN_STAT_GATE_CLOSED,
	PN_STAT_GATE_BEHIND,
	PN_STAT_GATE_ADMITTED,
	PN_STAT_GATE_VOID,
	PN_STAT_GATE_CONTINUED,   /* retried writes recognised as one intent                               */
	PN_STAT_SKB_HELD,         /* segments refused by the egress hook                                   */
	PN_STAT_EXPIRED_OPEN,
	PN_STAT_EXPIRED_CLOSED,
	PN_STAT_LEASED,
	PN_STAT_CONNECT_REFUSED,
	PN_STAT_UDP_REFUSED,
	PN_STAT_BIND_NESTED,
	PN_STAT_BIND_LENGTH,
	PN_STAT_BIND_ADJACENT,
	PN_STAT_BIND_CHANGED,
	PN_STAT_TABLE_FULL_CTX,
	PN_STAT_TABLE_FULL_CONN,
	PN_STAT_TABLE_FULL_GATE,
	PN_STAT_TASK_STORAGE_FAILED,
	PN_STAT_OPAQUE_HELD,
	PN_STAT_IGNORED_CALLS,
	PN_STAT_BIND_PRINT,
	PN_STAT_TABLE_FULL_CALLS, /* pn_go_call, pn_sealed                                                 */
	PN_STAT_RECORDS_UNSENT,   /* sealed records whose send was not recognised                          */
	PN_STAT_BIND_CLEAR,
	PN_STAT_STDIO_STOPPED,    /* reads that stopped a server over pipes                                */
	PN_STATS = 32,
};

#endif
