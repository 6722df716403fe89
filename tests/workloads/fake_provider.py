#!/usr/bin/python3
"""A fake model provider over real TLS 1.3 and over cleartext, and the judge of the gate's tests.

    fake_provider.py --log FILE [--port N] [--host 127.0.0.1] [--dir DIR]

HTTP/2 is spoken with clients that offer it to the name h2.fake.test (or offer nothing else), HTTP/1.1 otherwise; on the cleartext
port with clients that begin with it.
It answers as `answers.py` describes and writes one JSON line per event to FILE. TLS runs over memory BIOs, so that arrival
times and byte counts are those of the raw ciphertext, taken before anything is decrypted. Events (all with `event`, `conn`,
`mono_ns` CLOCK_MONOTONIC, `real_ns` Unix time):
    open       peer_port local_port
    handshake  version alpn; raw bytes counted by `raw_bytes` below begin after it
    request    id seq method path host model stream head_bytes body_bytes body_sha256 first_mono_ns first_rx_ns: when the first
               raw byte of this request reached this program, and (Unix time) the kernel
    answer     id status response_id provider model stream gzip usage tools finish_reason: what is about to be sent; usage is
               null when not told
    chunk      id n bytes: a content event of a stream was handed to the kernel
    done       id chunks: the whole answer was handed to the kernel
    aborted    id chunks: the connection ended before the answer did
    end        how (close | reset | tls_error | error) and the connection's totals: requests raw_bytes plain_bytes sent_bytes
               leftover_bytes leftover: `leftover` is plaintext that never became a whole request (its start, as text)
    state      the same totals of a connection that is still open, on {"report": TAG}; then `reported` with that tag
The first line of stdout is {"port":…,"clear_port":…,"ca":…}. Commands are read from stdin, one JSON object per line: {"permit": ID, "count": N}
lets N held steps of request ID pass (`hold`, `step` in the script); {"report": TAG} as above. The program ends when stdin does.
"""
import argparse
import asyncio
import ctypes
import hashlib
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
import zlib

import h2.exceptions

import answers
import http2

MAX_HEAD = 256 * 1024
MAX_BODY = 64 * 1024 * 1024
SO_TIMESTAMPNS = 35
H2_NAME = 'h2.fake.test'
NAMES = ['anthropic.fake.test', 'api.openai.com', 'api.anthropic.com', 'fake.test', H2_NAME, 'localhost']


def make_certificate(folder):
    """A throw-away CA and a server certificate signed by it. Returns (ca, chain, key) paths."""
    def path(name):
        return os.path.join(folder, name)

    def openssl(*args):
        subprocess.run(['openssl', *args], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    with open(path('leaf.ext'), 'w') as f:
        f.write('basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth\nsubjectAltName='
                + ','.join(f'DNS:{n}' for n in NAMES) + ',IP:127.0.0.1\n')
    curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
    openssl('req', '-x509', *curve, '-keyout', path('ca.key'), '-out', path('ca.pem'), '-days', '7', '-subj', '/CN=throw-away CA',
            '-addext', 'keyUsage=critical,keyCertSign', '-addext', 'basicConstraints=critical,CA:TRUE')
    openssl('req', *curve, '-keyout', path('leaf.key'), '-out', path('leaf.csr'), '-subj', '/CN=fake.test')
    openssl('x509', '-req', '-in', path('leaf.csr'), '-CA', path('ca.pem'), '-CAkey', path('ca.key'), '-CAcreateserial',
            '-days', '7', '-extfile', path('leaf.ext'), '-out', path('leaf.pem'))
    return path('ca.pem'), path('leaf.pem'), path('leaf.key')


class Log:
    """One JSON line per event, each written with one write(2): a reader never sees half a line of a live server."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def write(self, event, conn=0, **fields):
        line = {'event': event, 'conn': conn, 'mono_ns': time.monotonic_ns(), 'real_ns': time.time_ns(), **fields}
        os.write(self.fd, json.dumps(line, separators=(',', ':')).encode() + b'\n')


class Request:
    def __init__(self, method, target, headers, body):
        self.method = method
        self.path = target.partition('?')[0]
        self.headers = headers
        self.body = body
        try:
            parsed = json.loads(body) if body else {}
        except ValueError:
            parsed = {}
        self.json = parsed if isinstance(parsed, dict) else {}


class BadRequest(Exception):
    pass


class RequestReader:
    """Incremental HTTP/1.1 requests: content-length and chunked bodies, pipelining. Feed bytes, take whole requests."""

    def __init__(self):
        self.buffer = bytearray()
        self.head = None          # (method, target, headers, head length) while the body is being read
        self.expects_continue = False

    def feed(self, data):
        self.buffer += data

    def next(self):
        """The next whole request as (Request, head_bytes), or None when more bytes are needed."""
        if self.head is None:
            end = self.buffer.find(b'\r\n\r\n')
            if end < 0:
                if len(self.buffer) > MAX_HEAD:
                    raise BadRequest('head too long')
                return None
            lines = bytes(self.buffer[:end]).decode('latin-1').split('\r\n')
            parts = lines[0].split(' ')
            if len(parts) != 3:
                raise BadRequest('request line')
            headers = {}
            for line in lines[1:]:
                name, _, value = line.partition(':')
                headers[name.strip().lower()] = value.strip()
            self.head = (parts[0], parts[1], headers, end + 4)
            self.expects_continue = headers.get('expect', '').lower() == '100-continue'
        method, target, headers, start = self.head
        if 'chunked' in headers.get('transfer-encoding', '').lower():
            taken = self._chunked(start)
        else:
            length = int(headers.get('content-length', '0'))
            if length > MAX_BODY:
                raise BadRequest('body too long')
            taken = (bytes(self.buffer[start:start + length]), start + length) if len(self.buffer) >= start + length else None
        if taken is None:
            return None
        body, end = taken
        del self.buffer[:end]
        self.head = None
        self.expects_continue = False
        return Request(method, target, headers, body), start

    def _chunked(self, at):
        body = bytearray()
        while True:
            eol = self.buffer.find(b'\r\n', at)
            if eol < 0:
                return None
            size = int(bytes(self.buffer[at:eol]).split(b';')[0], 16)
            at = eol + 2
            if size == 0:
                while True:  # trailers, up to the empty line
                    eol = self.buffer.find(b'\r\n', at)
                    if eol < 0:
                        return None
                    if eol == at:
                        return bytes(body), eol + 2
                    at = eol + 2
            if len(body) + size > MAX_BODY:
                raise BadRequest('body too long')
            if len(self.buffer) < at + size + 2:
                return None
            body += self.buffer[at:at + size]
            at += size + 2


class Connection:
    """One connection, over TLS unless `clear`, driven by the event loop's readiness callbacks; answers are sent by one task, in order."""

    def __init__(self, server, sock, number, peer_port, clear):
        self.server, self.loop, self.log = server, server.loop, server.log
        self.sock, self.number, self.peer_port = sock, number, peer_port
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = None if clear else server.context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.established = clear
        self.reader = RequestReader()
        self.first = None            # (mono_ns, rx_real_ns) of the first raw byte of the request being read
        self.raw_bytes = self.plain_bytes = self.sent_bytes = self.requests = 0
        self.unsent = bytearray()
        self.writable = asyncio.Event()
        self.queue = asyncio.Queue()
        self.http2 = None            # set once ALPN has chosen it
        self.current = {}            # id -> chunks sent, of the answers under way
        self.answering = set()       # tasks, HTTP/2 only: its answers do not wait for each other
        self.open = True
        self.log.write('open', number, peer_port=peer_port, local_port=server.clear_port if clear else server.port)
        self.loop.add_reader(sock.fileno(), self.on_readable)
        self.task = self.loop.create_task(self.serve())

    # --- receiving

    def on_readable(self):
        for _ in range(8):
            try:
                data, ancillary, _, _ = self.sock.recvmsg(1 << 18, 64)
            except BlockingIOError:
                return
            except ConnectionResetError:
                return self.end('reset')
            except OSError as e:
                return self.end('error', str(e))
            if not data:
                return self.end('close')
            now = time.monotonic_ns()
            rx = 0
            for level, kind, value in ancillary:
                if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                    seconds, nanoseconds = struct.unpack('qq', value[:16])
                    rx = seconds * 10**9 + nanoseconds
            try:
                self.on_raw(data, now, rx)
            except ssl.SSLZeroReturnError:
                return self.end('close')
            except ssl.SSLError as e:
                return self.end('tls_error', str(e))
            except (BadRequest, ValueError, h2.exceptions.H2Error) as e:
                return self.end('error', f'bad request: {e}')
            if not self.open:
                return

    def on_raw(self, data, now, rx):
        if self.tls is not None:
            self.incoming.write(data)
        if not self.established:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                return self.flush()
            self.established = True
            self.log.write('handshake', self.number, version=self.tls.version(), alpn=self.tls.selected_alpn_protocol())
            if self.tls.selected_alpn_protocol() == 'h2':
                self.http2 = http2.Http2(self.send)
            self.flush()
            data = data[len(data) - self.incoming.pending:]  # the handshake's own bytes are not a request's
        if data:
            self.raw_bytes += len(data)
            if self.first is None:
                self.first = (now, rx)
        if self.tls is None:
            if self.http2 is None and not self.plain_bytes and data.startswith(b'PRI * HTTP/2.0'):
                self.http2 = http2.Http2(self.send)
            self.on_plain(data, now, rx)
        while self.tls is not None:
            try:
                plain = self.tls.read(1 << 18)
            except ssl.SSLWantReadError:
                break
            if not plain:
                raise ssl.SSLZeroReturnError
            self.on_plain(plain, now, rx)
        self.flush()
        while (taken := self.reader.next()) is not None:
            self.on_request(*taken, now, rx)
        if self.reader.expects_continue:
            self.reader.expects_continue = False
            self.send(b'HTTP/1.1 100 Continue\r\n\r\n')

    def on_plain(self, plain, now, rx):
        self.plain_bytes += len(plain)
        if self.http2 is None:
            return self.reader.feed(plain)
        for stream, method, target, headers, head_bytes, body in self.http2.feed(plain):
            self.on_request(Request(method, target, headers, body), head_bytes, now, rx, stream)

    def on_request(self, request, head_bytes, now, rx, stream=None):
        self.requests += 1
        first = self.first or (now, rx)
        # What follows in the same read belongs to the next request, which arrived no earlier than this read.
        more = self.http2.streams if self.http2 else self.reader.buffer
        self.first = (now, rx) if more or self.incoming.pending else None
        script = answers.script_of(request.headers, request.json)
        self.log.write('request', self.number, id=script.id, seq=self.requests, method=request.method, path=request.path,
                       host=request.headers.get('host', ''), model=request.json.get('model'),
                       stream=bool(request.json.get('stream')), head_bytes=head_bytes, body_bytes=len(request.body),
                       body_sha256=hashlib.sha256(request.body).hexdigest(), peer_port=self.peer_port,
                       first_mono_ns=first[0], first_rx_ns=first[1])
        if stream is None:
            return self.queue.put_nowait((request, script))
        task = self.loop.create_task(self.serve_one(request, script, False, stream))
        self.answering.add(task)
        task.add_done_callback(self.answering.discard)

    # --- sending

    def send(self, plain):
        self.sent_bytes += len(plain)
        if self.tls is None:
            self.unsent += plain
        else:
            self.tls.write(plain)
        self.flush()

    def flush(self):
        self.unsent += self.outgoing.read()
        self.push()

    def push(self):
        if not self.open:
            return
        try:
            while self.unsent:
                sent = self.sock.send(self.unsent)
                del self.unsent[:sent]
        except BlockingIOError:
            self.loop.add_writer(self.sock.fileno(), self.push)
            return
        except ConnectionError:
            return self.end('reset')
        self.loop.remove_writer(self.sock.fileno())
        self.writable.set()

    async def drain(self):
        while self.open and len(self.unsent) > (1 << 20):
            self.writable.clear()
            await self.writable.wait()

    async def serve(self):
        while True:
            request, script = await self.queue.get()
            close = script.close or request.headers.get('connection', '').lower() == 'close'
            await self.serve_one(request, script, close)
            if self.open and close:
                return self.end('close')

    async def serve_one(self, request, script, close, stream=None):
        self.current[script.id] = 0
        await self.answer(request, script, close, stream)
        if self.open:
            self.log.write('done', self.number, id=script.id, chunks=self.current.pop(script.id))

    async def answer(self, request, script, close, stream):
        route = answers.ROUTES.get(request.path) if request.method == 'POST' else None
        number = self.server.next_number()
        if script.hold:
            await self.server.permit(script.id)
        if script.first_ms:
            await asyncio.sleep(script.first_ms / 1000)
        compress = bool(script.gzip) and 'gzip' in request.headers.get('accept-encoding', '').lower()
        head = ['date: Thu, 09 Oct 2025 08:53:20 GMT', f'x-request-id: req_{number}', f'request-id: req_{number}',
                'keep-alive: timeout=600']  # some clients else close an idle connection after a few seconds
        if compress:
            head.append('content-encoding: gzip')
        if close:
            head.append('connection: close')
        status = 404 if route is None else script.status
        if status != 200:
            if script.retry_after:
                head.append(f'retry-after: {script.retry_after}')
            self.log.write('answer', self.number, id=script.id, status=status, model=None, stream=False, gzip=compress,
                           usage=None, tools=[], finish_reason=None, response_id=None,
                           provider=route.provider if route else None)
            return self.whole(status, head, answers.error_body(route, status, number), compress, stream)
        answer = route(script, request.json, number)
        usage = answers.expected_usage(script) if answer.tells_usage() else None
        self.log.write('answer', self.number, id=script.id, status=status, model=answer.model, stream=answer.stream,
                       gzip=compress, usage=usage, tools=answer.tools, finish_reason=answer.finish_reason(),
                       response_id=answer.response_id(), provider=answer.provider)
        if not answer.stream:
            return self.whole(status, head, answer.body(), compress, stream)
        await self.streamed(answer, script, head, compress, stream)

    def whole(self, status, head, body, compress, stream):
        data = json.dumps(body).encode()
        if compress:
            deflate = zlib.compressobj(wbits=31)
            data = deflate.compress(data) + deflate.flush()
        head = head + ['content-type: application/json', f'content-length: {len(data)}']
        if stream is None:
            return self.send(self.head_bytes(status, head) + data)
        self.http2.begin(stream, status, head)
        self.http2.data(stream, data, last=True)

    async def streamed(self, answer, script, head, compress, stream):
        deflate = zlib.compressobj(wbits=31) if compress else None
        head = head + ['content-type: text/event-stream; charset=utf-8', 'cache-control: no-cache']
        if stream is None:
            self.send(self.head_bytes(200, head + ['transfer-encoding: chunked']))
        else:
            self.http2.begin(stream, 200, head)

        def send_piece(data):
            if stream is None:
                self.send(b'%x\r\n%s\r\n' % (len(data), data))
            else:
                self.http2.data(stream, data)
        for kind, data in answer.events():
            if kind == 'reset':
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
                return self.end('error', 'scripted reset')
            if kind == 'content':
                if script.step:
                    await self.server.permit(script.id)
                if script.delay_ms:
                    await asyncio.sleep(script.delay_ms / 1000)
            if deflate:
                data = deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH)
            if not self.open:
                return
            send_piece(data)
            if kind == 'content':
                self.current[script.id] += 1
                self.log.write('chunk', self.number, id=script.id, n=self.current[script.id], bytes=len(data))
            await self.drain()
            if not self.open:
                return
        tail = deflate.flush() if deflate else b''
        if tail:
            send_piece(tail)
        if stream is None:
            self.send(b'0\r\n\r\n')
        else:
            self.http2.data(stream, b'', last=True)

    @staticmethod
    def head_bytes(status, lines):
        reason = {200: 'OK', 400: 'Bad Request', 404: 'Not Found', 429: 'Too Many Requests', 500: 'Internal Server Error'}
        return ('\r\n'.join([f'HTTP/1.1 {status} {reason.get(status, "Error")}', *lines]) + '\r\n\r\n').encode()

    def totals(self):
        left = self.http2.pending_bytes() if self.http2 else self.reader.buffer
        return {'peer_port': self.peer_port, 'requests': self.requests, 'raw_bytes': self.raw_bytes,
                'plain_bytes': self.plain_bytes, 'sent_bytes': self.sent_bytes, 'leftover_bytes': len(left),
                'leftover': bytes(left[:200]).decode('latin-1')}

    def end(self, how, why=''):
        if not self.open:
            return
        self.open = False
        for name, chunks in self.current.items():
            self.log.write('aborted', self.number, id=name, chunks=chunks)
        self.log.write('end', self.number, how=how, why=why, **self.totals())
        self.loop.remove_reader(self.sock.fileno())
        self.loop.remove_writer(self.sock.fileno())
        self.sock.close()
        self.writable.set()
        self.server.connections.discard(self)
        for task in {self.task, *self.answering} - {asyncio.current_task()}:
            task.cancel()


class Server:
    def __init__(self, loop, host, port, folder, log):
        self.loop, self.log = loop, log
        self.ca, chain, key = make_certificate(folder)
        self.context = self.make_context(chain, key, ['http/1.1', 'h2'])
        # A name of its own for HTTP/2: which protocol is spoken is the test's choice, not that of the client's offer.
        preferring_h2 = self.make_context(chain, key, ['h2', 'http/1.1'])

        def choose(tls, name, _):
            if name == H2_NAME:
                tls.context = preferring_h2
        self.context.sni_callback = choose
        self.connections = set()
        self.accepted = self.answered = 0
        self.permits = {}
        self.listener, self.port = self.listen(host, port, False)
        self.clear_listener, self.clear_port = self.listen(host, 0, True)

    def listen(self, host, port, clear):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
        listener.setblocking(False)
        self.loop.add_reader(listener.fileno(), self.on_connection, listener, clear)
        return listener, listener.getsockname()[1]

    @staticmethod
    def make_context(chain, key, protocols):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(chain, key)
        context.set_alpn_protocols(protocols)
        return context

    def next_number(self):
        self.answered += 1
        return self.answered

    def semaphore(self, name):
        return self.permits.setdefault(name, asyncio.Semaphore(0))

    async def permit(self, name):
        await self.semaphore(name).acquire()

    def on_connection(self, listener, clear):
        while True:
            try:
                sock, peer = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            self.accepted += 1
            self.connections.add(Connection(self, sock, self.accepted, peer[1], clear))

    def command(self, line):
        command = json.loads(line)
        if 'report' in command:
            for connection in self.connections:
                self.log.write('state', connection.number, tag=command['report'], **connection.totals())
            return self.log.write('reported', tag=command['report'])
        for _ in range(command.get('count', 1)):
            self.semaphore(command['permit']).release()


async def run(args):
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory(prefix='fake-provider-') as temporary:
        folder = args.dir or temporary
        server = Server(loop, args.host, args.port, folder, Log(args.log))
        print(json.dumps({'port': server.port, 'clear_port': server.clear_port, 'ca': server.ca}), flush=True)
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            server.command(line)
        for connection in list(server.connections):
            connection.end('error', 'server stops')


def main():
    parser = argparse.ArgumentParser(description='A fake model provider that records what arrives.')
    parser.add_argument('--log', required=True)
    parser.add_argument('--port', type=int, default=0)
    parser.add_argument('--host', default='127.0.0.1')
    parser.add_argument('--dir', help='where to put the CA and the certificate (default: a temporary folder)')
    # A test that is killed must not leave its provider behind.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
    asyncio.run(run(parser.parse_args()))


if __name__ == '__main__':
    main()
