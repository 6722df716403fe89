#!/usr/bin/python3
"""http.client, one keep-alive connection per worker thread. See common.py. `piece_bytes` in the plan: the body is
written in pieces of that size."""
import http.client
import os
import ssl
import sys
import threading
import time
import urllib.parse

import common

plan = common.load_plan()
url = urllib.parse.urlsplit(plan['base'])
context = ssl.create_default_context(cafile=plan['ca'])
turn = threading.Lock()


def send_one(connection, request):
    start = time.monotonic()
    result = {'id': request['id'], 'sha256': common.sha256(plan, request), 'status': 0, 'model': None, 'usage': None,
              'text_bytes': 0, 'error': None, 'port': 0}
    answer = common.AnswerReader(plan['stream'])
    try:
        if connection.sock is None:
            connection.connect()
        result['port'] = connection.sock.getsockname()[1]
        body, headers = common.body(plan, request), common.headers(plan, request)
        if size := plan.get('piece_bytes'):
            headers['content-length'] = str(len(body))
            body = [body[i:i + size] for i in range(0, len(body), size)]
        connection.request('POST', common.PATHS[plan['api']], body, headers)
        response = connection.getresponse()
        result['status'] = response.status
        if plan['stream'] and response.status == 200:
            # read1, not readline: the latter takes a connection that ends inside the body for the end of the body.
            pending = b''
            while data := response.read1():
                *lines, pending = (pending + data).split(b'\n')
                for line in lines:
                    answer.line(line)
        else:
            answer.whole(response.read())
        result.update(answer.fields())
    except (OSError, http.client.HTTPException) as e:
        result.update(answer.fields())
        result['error'] = common.error_class(e)
        connection.close()
    common.emit(**result, elapsed_ms=(time.monotonic() - start) * 1e3, pid=os.getpid())


def worker(requests):
    if url.scheme == 'https':
        connection = http.client.HTTPSConnection(url.hostname, url.port, context=context, timeout=plan['timeout_s'])
    else:
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=plan['timeout_s'])
    for request in requests:
        if plan['wait']:
            with turn:
                if not sys.stdin.readline():
                    break
        send_one(connection, request)
    connection.close()


common.ready()
threads = [threading.Thread(target=worker, args=(r,)) for r in common.dealt(plan)]
for t in threads:
    t.start()
for t in threads:
    t.join()
