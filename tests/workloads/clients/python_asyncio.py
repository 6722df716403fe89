#!/usr/bin/python3
"""asyncio streams: TLS over memory BIOs, so the socket call does not nest in the TLS call. See common.py."""
import asyncio
import os
import ssl
import sys
import time
import urllib.parse

import common

plan = common.load_plan()
url = urllib.parse.urlsplit(plan['base'])
context = ssl.create_default_context(cafile=plan['ca'])


class Worker:
    def __init__(self):
        self.reader = self.writer = None

    async def connect(self):
        self.reader, self.writer = await asyncio.open_connection(url.hostname, url.port, ssl=context if url.scheme == 'https' else None)

    def disconnect(self):
        if self.writer is not None:
            self.writer.transport.abort()
            self.writer = None

    async def exchange(self, request, result, answer):
        if self.writer is None:
            await self.connect()
        name = self.writer.get_extra_info('sockname')
        if name is None:  # asyncio's way to say that the transport is gone
            raise ConnectionResetError('the connection was lost before the request')
        result['port'] = name[1]
        body = common.body(plan, request)
        head = [f'POST {common.PATHS[plan["api"]]} HTTP/1.1', f'host: {url.netloc}', f'content-length: {len(body)}']
        head += [f'{k}: {v}' for k, v in common.headers(plan, request).items()]
        self.writer.write(('\r\n'.join(head) + '\r\n\r\n').encode())
        self.writer.write(body)
        await self.writer.drain()
        lines = (await self.reader.readuntil(b'\r\n\r\n')).decode().split('\r\n')
        result['status'] = int(lines[0].split(' ')[1])
        fields = {k.strip().lower(): v.strip() for k, _, v in (line.partition(':') for line in lines[1:] if line)}
        if 'chunked' not in fields.get('transfer-encoding', ''):
            answer.whole(await self.reader.readexactly(int(fields['content-length'])))
            return
        pending = b''
        while size := int(await self.reader.readline(), 16):
            *whole, pending = (pending + (await self.reader.readexactly(size + 2))[:-2]).split(b'\n')
            for line in whole:
                answer.line(line)
        await self.reader.readline()

    async def send_one(self, request):
        start = time.monotonic()
        result = {'id': request['id'], 'sha256': common.sha256(plan, request), 'status': 0, 'model': None, 'usage': None,
                  'text_bytes': 0, 'error': None, 'port': 0}
        answer = common.AnswerReader(plan['stream'])
        try:
            await asyncio.wait_for(self.exchange(request, result, answer), plan['timeout_s'])
            result.update(answer.fields())
        except (OSError, EOFError, asyncio.TimeoutError) as e:
            result.update(answer.fields())
            result['error'] = common.error_class(e)
            self.disconnect()
        common.emit(**result, elapsed_ms=(time.monotonic() - start) * 1e3, pid=os.getpid())


async def main():
    lines = asyncio.StreamReader()
    if plan['wait']:
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    turn = asyncio.Lock()

    async def work(requests):
        worker = Worker()
        for request in requests:
            if plan['wait']:
                async with turn:
                    if not await lines.readline():
                        break
            await worker.send_one(request)
        worker.disconnect()

    common.ready()
    await asyncio.gather(*(work(r) for r in common.dealt(plan)))


asyncio.run(main())
