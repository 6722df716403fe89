/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The kernel types we read, with the fields we read: relocated against the running kernel's BTF when the object is loaded
 * (CO-RE), so that no header of a particular kernel is needed to build.
 */
#ifndef PENSTOCK_KERNEL_H
#define PENSTOCK_KERNEL_H

#define __VMLINUX_H__ /* bpf_tracing.h: registers have their kernel names (di, si, …)                         */

#include <linux/types.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>

#ifndef barrier_var
#define barrier_var(var) asm volatile("" : "+r"(var))
#endif

#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define ETH_P_IP 0x0800
#define TCP_SYN_SENT 2
#define TCP_CLOSE 7

struct pt_regs { /* x86-64; uprobe context: not relocated, this is ABI                                        */
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};
#include <bpf/bpf_tracing.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct in6_addr {
	union {
		__u8 u6_addr8[16];
	} in6_u;
};

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

struct sock {
	struct sock_common __sk_common;
	__u16 sk_type;
	__u16 sk_protocol;
};

struct tcp_sock {
	__u32 write_seq;
	__u32 copied_seq;
	__u32 snd_una;
	__u64 bytes_acked;
	__u64 bytes_received;
};

struct iovec {
	void *iov_base;
	unsigned long iov_len;
};

enum iter_type {
	ITER_UBUF,
	ITER_IOVEC,
};

struct iov_iter {
	__u8 iter_type;
	unsigned long iov_offset;
	unsigned long count;
	void *ubuf;
	const struct iovec *__iov;
	unsigned long nr_segs;
};

struct msghdr {
	struct iov_iter msg_iter;
};

struct sk_buff;

struct thread_struct {
	unsigned long fsbase;
};

struct task_struct {
	struct thread_struct thread;
	int pid;
	int tgid;
	__u64 start_boottime;
	unsigned int flags;
	int exit_code;
	struct task_struct *group_leader;
};

struct linux_binprm {
	const char *filename;
};

struct cgroup;

#pragma clang attribute pop

/* Packets, as on the wire. */
struct pn_ipv4 {
	__u8 ihl_version;
	__u8 tos;
	__be16 tot_len, id, frag_off;
	__u8 ttl, protocol;
	__be16 check;
	__be32 saddr, daddr;
};

struct pn_ipv6 {
	__be32 version_class_flow;
	__be16 payload_len;
	__u8 next_header, hop_limit;
	__u8 saddr[16], daddr[16];
};

struct pn_tcp {
	__be16 source, dest;
	__be32 seq, ack_seq;
	__u8 doff_reserved, flags;
	__be16 window, check, urg_ptr;
};

/*
 * What a program of a uprobe session (6.13, d920179b3d4c) says at the entry of a call: whether it wants to see the return.
 * Without that the return costs nothing.
 */
enum pn_session { PN_SEE_RETURN = 0, PN_SKIP_RETURN = 1 };

static __always_inline bool is_return(struct pt_regs *regs)
{
	return regs->ip != bpf_get_func_ip(regs);
}

/* 6.16 (a498ee7576de): any length of user memory into a dynptr in one call. */
extern int bpf_probe_read_user_dynptr(const struct bpf_dynptr *ptr, __u32 off, __u32 size, const void *unsafe_ptr) __ksym __weak;

/* How much the program has given to a connection so far, of what it connected itself: there the SYN is acknowledged too. */
static __always_inline __u64 sent_offset(const struct tcp_sock *tp)
{
	__u64 n = tp->bytes_acked + (__u32)(tp->write_seq - tp->snd_una);
	return n ? n - 1 : 0;
}

#endif
