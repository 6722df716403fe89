#!/usr/bin/python3
"""Drives wget (GnuTLS): one process, and so one connection, per request. See common.py; the port is the provider's to tell."""
import os
import subprocess
import sys
import tempfile
import threading
import time

import common

plan = common.load_plan()
turn = threading.Lock()


def one(folder, request):
    source, sink = os.path.join(folder, f'{request["id"]}.body'), os.path.join(folder, f'{request["id"]}.answer')
    with open(source, 'wb') as f:
        f.write(common.body(plan, request))
    command = ['wget', '--quiet', '--no-config', '--tries=1', f'--timeout={plan["timeout_s"]}', '--ca-certificate', plan['ca'],
               '--server-response', '--content-on-error', '--output-document', sink, '--post-file', source]
    for name, value in common.headers(plan, request).items():
        command += ['--header', f'{name}: {value}']
    start = time.monotonic()
    wget = subprocess.Popen(command + [plan['base'] + common.PATHS[plan['api']]], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    _, said = wget.communicate()
    status = [0] + [int(line.split()[1]) for line in said.splitlines() if line.strip().startswith('HTTP/')]
    answer = common.AnswerReader(plan['stream'])
    answer.saved(sink, status[-1])
    fields = answer.fields()
    if wget.returncode and not fields['error']:
        fields['error'] = f'wget_{wget.returncode}'
    common.emit(id=request['id'], sha256=common.sha256(plan, request), status=status[-1],
                elapsed_ms=(time.monotonic() - start) * 1e3, port=0, pid=wget.pid, **fields)


def worker(requests):
    with tempfile.TemporaryDirectory(prefix='wget-client-') as folder:
        for request in requests:
            if plan['wait']:
                with turn:
                    if not sys.stdin.readline():
                        break
            one(folder, request)


common.ready()
threads = [threading.Thread(target=worker, args=(r,)) for r in common.dealt(plan)]
for t in threads:
    t.start()
for t in threads:
    t.join()
