/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The program's own buffers, as system calls name them: where they are, what they begin with, and their bytes as data events. */
#ifndef PENSTOCK_VECTORS_H
#define PENSTOCK_VECTORS_H

#include "lib/emit.h"

#define PN_VECTORS 1024 /* UIO_MAXIOV: more cannot be passed to one call                                       */

struct pn_vectors {
	const struct iovec *vec; /* NULL: one buffer, at `at`                                               */
	__u64 at;
	__u32 vecs;
	__u32 of_program;        /* the vectors are in the program's memory, not in the kernel's             */
	__u64 skip;              /* bytes to pass over                                                      */
	__u64 left;              /* bytes to take                                                           */
	__u64 wake;              /* flags for the record that ends it                                       */
	struct pn_copy copy;
};

static __always_inline bool read_vector(const struct pn_vectors *w, __u32 i, struct iovec *out)
{
	const struct iovec *from = w->vec + i;
	return w->of_program ? !bpf_probe_read_user(out, sizeof(*out), from) : !bpf_probe_read_kernel(out, sizeof(*out), from);
}

static long copy_vector(__u32 i, struct pn_vectors *w)
{
	struct iovec v = {.iov_base = (void *)w->at, .iov_len = w->skip + w->left};
	__u64 n;

	if (w->vec && (i >= w->vecs || !read_vector(w, i, &v)))
		return 1;
	if (v.iov_len <= w->skip) {
		w->skip -= v.iov_len;
		return 0;
	}
	n = v.iov_len - w->skip;
	if (n > w->left)
		n = w->left;
	w->copy.buf = v.iov_base + w->skip;
	w->copy.flags = n == w->left ? w->wake : BPF_RB_NO_WAKEUP;
	w->skip = 0;
	pn_emit_data(&w->copy, n);
	w->copy.ev.pos += n;
	w->left -= n;
	return !w->left;
}

/* Takes `left` bytes as `copy` says. What cannot be read is a gap, and counted. */
static __always_inline void copy_vectors(struct pn_vectors *w)
{
	bpf_loop(PN_VECTORS, copy_vector, w, 0);
	if (w->left)
		pn_lost_fault(PN_EV_data, w->left);
}

/* Where a send takes its bytes from: vectors, or one buffer. False: not from memory of the program (sendfile, splice). */
static __always_inline bool memory_of_send(const struct msghdr *msg, const struct iovec **vec, __u32 *vecs, __u64 *at)
{
	const struct iov_iter *it = &msg->msg_iter;
	__u8 type = BPF_CORE_READ(it, iter_type);

	*vec = NULL;
	*vecs = 1;
	if (bpf_core_enum_value_exists(enum iter_type, ITER_UBUF) && type == bpf_core_enum_value(enum iter_type, ITER_UBUF)) {
		*at = (__u64)BPF_CORE_READ(it, ubuf);
		return true;
	}
	if (type != bpf_core_enum_value(enum iter_type, ITER_IOVEC))
		return false;
	*vec = BPF_CORE_READ(it, __iov);
	*vecs = (__u32)BPF_CORE_READ(it, nr_segs);
	return true;
}

/* What a send is about to take. */
static __always_inline bool vectors_of_send(struct pn_vectors *w, const struct msghdr *msg)
{
	w->skip = BPF_CORE_READ(msg, msg_iter.iov_offset);
	w->left = BPF_CORE_READ(msg, msg_iter.count);
	w->of_program = 0;
	return memory_of_send(msg, &w->vec, &w->vecs, &w->at);
}

/* A place in what a send is about to take. */
struct pn_cursor {
	__u64 at, end;           /* in the current vector                                                   */
	const struct iovec *vec; /* NULL: one plain buffer                                                  */
	__u32 vecs, i;
};

static __always_inline bool enter_vector(struct pn_cursor *c, __u64 offset)
{
	struct iovec v = {};
	bpf_probe_read_kernel(&v, sizeof(v), c->vec + c->i);
	c->at = (__u64)v.iov_base + offset;
	c->end = (__u64)v.iov_base + v.iov_len;
	return true;
}

static __always_inline bool first_vector(const struct msghdr *msg, struct pn_cursor *c)
{
	__u64 offset = BPF_CORE_READ(msg, msg_iter.iov_offset), start = 0;

	*c = (struct pn_cursor){};
	if (!memory_of_send(msg, &c->vec, &c->vecs, &start))
		return false;
	if (c->vec)
		return enter_vector(c, offset);
	c->at = start + offset;
	c->end = c->at + BPF_CORE_READ(msg, msg_iter.count);
	return true;
}

/* Past the end of a vector: goes on in the next one, at the same distance. */
static __always_inline bool next_vector(struct pn_cursor *c)
{
	return c->vec && ++c->i < c->vecs && enter_vector(c, c->at - c->end);
}

#define NR_READ 0
#define NR_WRITE 1
#define NR_READV 19
#define NR_WRITEV 20
#define NR_SENDTO 44
#define NR_RECVFROM 45
#define NR_SENDMSG 46
#define NR_RECVMSG 47
#define CS_64BIT 0x33

struct pn_user_msghdr { /* of recvmsg(2) and sendmsg(2)                                                        */
	__u64 name;
	__u64 name_len;
	__u64 vec;
	__u64 vecs;
};

/* The `n` bytes that the system call which is about to return moved; false: its registers do not tell (io_uring, 32 bits). */
static __always_inline bool vectors_of_syscall(struct pn_vectors *w, __u64 n)
{
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
	struct pn_user_msghdr msg = {};
	unsigned long nr = ~0ul, second = 0, third = 0, cs = 0;

	bpf_probe_read_kernel(&nr, sizeof(nr), &regs->orig_ax);
	bpf_probe_read_kernel(&second, sizeof(second), &regs->si);
	bpf_probe_read_kernel(&third, sizeof(third), &regs->dx);
	bpf_probe_read_kernel(&cs, sizeof(cs), &regs->cs);
	if (cs != CS_64BIT)
		return false;
	w->skip = 0;
	w->left = n;
	w->of_program = 1;
	switch (nr) {
	case NR_READ:
	case NR_WRITE:
	case NR_RECVFROM:
	case NR_SENDTO:
		w->vec = NULL;
		w->at = second;
		return true;
	case NR_READV:
	case NR_WRITEV:
		w->vec = (const struct iovec *)second;
		w->vecs = (__u32)third;
		return true;
	case NR_RECVMSG:
	case NR_SENDMSG:
		if (bpf_probe_read_user(&msg, sizeof(msg), (const void *)second))
			return false;
		w->vec = (const struct iovec *)msg.vec;
		w->vecs = (__u32)msg.vecs;
		return true;
	}
	return false;
}

/* Up to eight bytes with which it begins, in the order of memory. Returns how many. */
static __always_inline __u32 first_bytes(const struct pn_vectors *w, __u64 *word)
{
	struct iovec v = {.iov_base = (void *)w->at, .iov_len = w->skip + w->left};
	__u64 n = 0;

	*word = 0;
	for (__u32 i = 0; i < 4; i++) { /* vectors may be empty */
		if (w->vec && (i >= w->vecs || !read_vector(w, i, &v)))
			return 0;
		n = v.iov_len > (i ? 0 : w->skip) ? v.iov_len - (i ? 0 : w->skip) : 0;
		if (n) {
			v.iov_base += i ? 0 : w->skip;
			break;
		}
	}
	if (!n)
		return 0;
	if (n > sizeof(*word))
		n = sizeof(*word);
	barrier_var(n);
	if (n > sizeof(*word) || bpf_probe_read_user(word, (__u32)n, v.iov_base))
		return 0;
	return (__u32)n;
}

#endif
