#!/usr/bin/python3
"""Drives native/evade.c: one process and one connection per request, as the plan's `evasion` says. See common.py.

`evade` in the plan names the program, which has a TLS library of its own inside.
"""
import socket
import subprocess
import tempfile
import time
import urllib.parse

import common

plan = common.load_plan()
url = urllib.parse.urlsplit(plan['base'])


def request_bytes(request):
    body = common.body(plan, request)
    head = [f'POST {common.PATHS[plan["api"]]} HTTP/1.1', f'host: {url.netloc}', f'content-length: {len(body)}', 'connection: close']
    head += [f'{name}: {value}' for name, value in common.headers(plan, request).items()]
    return '\r\n'.join(head).encode() + b'\r\n\r\n' + body


def send_one(request):
    start = time.monotonic()
    answer = common.AnswerReader(False)
    fields, status = answer.fields(), 0
    with tempfile.NamedTemporaryFile(prefix='request-') as file:
        file.write(request_bytes(request))
        file.flush()
        child = subprocess.Popen([plan['evade'], plan['evasion'], url.hostname, socket.gethostbyname(url.hostname), str(url.port),
                                  plan['ca'], file.name], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = child.communicate()
    if child.returncode == 0 and out:
        head, _, body = out.partition(b'\r\n\r\n')
        status = int(head.split()[1])
        answer.whole(body)
        fields = answer.fields()
    else:
        fields['error'] = err.decode().strip() or 'no answer'
    common.emit(id=request['id'], sha256=common.sha256(plan, request), status=status, elapsed_ms=(time.monotonic() - start) * 1e3,
                port=0, pid=child.pid, **fields)


common.ready()
for request in plan['requests']:
    send_one(request)
