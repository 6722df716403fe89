/*
 * One HTTPS request with a TLS library of its own (OpenSSL, linked statically), whose ciphertext leaves by a way of its own:
 *
 *   evade HOW NAME ADDRESS PORT CA REQUEST > ANSWER
 *
 * HOW       direct    SSL_write on the socket
 *           sendfile  every record by way of a file
 *           io_uring  IORING_OP_SEND, by the raw system calls
 *           split     the ClientHello in writes of one byte
 *           …,nosni   the same without saying whom it asks for
 * REQUEST   a file with the whole request, which asks for the connection to be closed
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/io_uring.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum how { DIRECT, SENDFILE, IO_URING, SPLIT };
#define SINGLE_BYTES 600

static void fail(const char *what)
{
	fprintf(stderr, "%s\n", what);
	exit(1);
}

static int connect_to(const char *address, const char *port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(port))};
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	inet_pton(AF_INET, address, &to.sin_addr);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to))
		fail("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return fd;
}

static void send_all(int fd, const unsigned char *data, size_t n)
{
	while (n) {
		ssize_t sent = send(fd, data, n, MSG_NOSIGNAL);
		if (sent <= 0)
			fail("send");
		data += sent;
		n -= (size_t)sent;
	}
}

static void by_file(int fd, const unsigned char *data, size_t n)
{
	int file = memfd_create("out", MFD_CLOEXEC);
	off_t at = 0;
	if (file < 0 || write(file, data, n) != (ssize_t)n)
		fail("memfd");
	while ((size_t)at < n)
		if (sendfile(fd, file, &at, n - (size_t)at) <= 0)
			fail("sendfile");
	close(file);
}

static void by_ring(int fd, const unsigned char *data, size_t n)
{
	static struct io_uring_params p;
	static int ring = -1;
	static char *rings;
	static struct io_uring_sqe *sqe;
	if (ring < 0) {
		ring = (int)syscall(SYS_io_uring_setup, 4, &p);
		size_t bytes = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
		if (ring < 0 || !(p.features & IORING_FEAT_SINGLE_MMAP))
			fail("io_uring_setup");
		rings = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
		sqe = mmap(NULL, p.sq_entries * sizeof *sqe, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
		if (rings == MAP_FAILED || sqe == MAP_FAILED)
			fail("mmap");
	}
	while (n) {
		unsigned *tail = (unsigned *)(rings + p.sq_off.tail), mask = *(unsigned *)(rings + p.sq_off.ring_mask);
		unsigned *head = (unsigned *)(rings + p.cq_off.head), at = *tail & mask;
		memset(&sqe[at], 0, sizeof *sqe);
		sqe[at].opcode = IORING_OP_SEND;
		sqe[at].fd = fd;
		sqe[at].addr = (unsigned long)data;
		sqe[at].len = (unsigned)n;
		sqe[at].msg_flags = MSG_NOSIGNAL;
		((unsigned *)(rings + p.sq_off.array))[at] = at;
		__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
		if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
			fail("io_uring_enter");
		struct io_uring_cqe *cqes = (struct io_uring_cqe *)(rings + p.cq_off.cqes);
		int sent = cqes[*head & *(unsigned *)(rings + p.cq_off.ring_mask)].res;
		__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
		if (sent <= 0)
			fail("io_uring send");
		data += sent;
		n -= (size_t)sent;
	}
}

static void put(enum how how, int fd, const unsigned char *data, size_t n)
{
	static size_t singles;
	switch (how) {
	case SENDFILE:
		return by_file(fd, data, n);
	case IO_URING:
		return by_ring(fd, data, n);
	default:
		for (; n && singles < SINGLE_BYTES; singles++, data++, n--) {
			volatile unsigned char alone[8] = {*data}; /* nothing of the next byte is near it */
			send_all(fd, (const unsigned char *)alone, 1);
		}
		return send_all(fd, data, n);
	}
}

static void flush(enum how how, SSL *ssl, int fd)
{
	static unsigned char records[1 << 20];
	int n;
	while ((n = BIO_read(SSL_get_wbio(ssl), records, sizeof records)) > 0)
		put(how, fd, records, (size_t)n);
}

/* After a call that returned `result`: sends what it made, and receives what it waits for. */
static int again(enum how how, SSL *ssl, int fd, int result)
{
	char data[65536];
	int error = SSL_get_error(ssl, result);
	if (how == DIRECT)
		return 0;
	flush(how, ssl, fd);
	if (result > 0 || error != SSL_ERROR_WANT_READ)
		return 0;
	ssize_t n = recv(fd, data, sizeof data, 0);
	if (n <= 0)
		return 0;
	BIO_write(SSL_get_rbio(ssl), data, (int)n);
	return 1;
}

int main(int argc, char **argv)
{
	if (argc != 7)
		fail("usage: evade HOW NAME ADDRESS PORT CA REQUEST");
	enum how how = strstr(argv[1], "sendfile") ? SENDFILE
		       : strstr(argv[1], "io_uring") ? IO_URING
		       : strstr(argv[1], "split")    ? SPLIT
						     : DIRECT;
	static char request[1 << 20], answer[65536];
	FILE *file = fopen(argv[6], "rb");
	size_t size = file ? fread(request, 1, sizeof request, file) : 0;
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	if (!size || SSL_CTX_load_verify_locations(context, argv[5], NULL) != 1)
		fail("inputs");
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	SSL *ssl = SSL_new(context);
	SSL_set1_host(ssl, argv[2]);
	if (!strstr(argv[1], "nosni"))
		SSL_set_tlsext_host_name(ssl, argv[2]);
	int n, fd = connect_to(argv[3], argv[4]);
	if (how == DIRECT)
		SSL_set_fd(ssl, fd);
	else
		SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	do
		n = SSL_connect(ssl);
	while (again(how, ssl, fd, n));
	if (n != 1)
		fail("handshake");
	do
		n = SSL_write(ssl, request, (int)size);
	while (again(how, ssl, fd, n));
	if (n <= 0)
		fail("write");
	for (;;) {
		do
			n = SSL_read(ssl, answer, sizeof answer);
		while (again(how, ssl, fd, n));
		if (n <= 0)
			return 0;
		if (fwrite(answer, 1, (size_t)n, stdout) != (size_t)n)
			fail("stdout");
	}
}
