#!/usr/bin/python3
"""Drives a program that takes a URL and a CA (DER), then names of files with requests (rust/src/main.rs, java/Client.java): one
process per worker, whose requests share one connection. See common.py; the port is the provider's to tell.

`program` in the plan is the command that runs it.
"""
import os
import ssl
import subprocess
import sys
import tempfile
import threading
import time

import common

plan = common.load_plan()
turn = threading.Lock()


def send_one(program, folder, request):
    path = os.path.join(folder, request['id'])
    with open(path, 'wb') as f:
        f.write(''.join(f'{name}: {value}\n' for name, value in common.headers(plan, request).items()).encode() + b'\n')
        f.write(common.body(plan, request))
    start = time.monotonic()
    program.stdin.write(path + '\n')
    program.stdin.flush()
    said = program.stdout.readline().strip()
    status = int(said) if said.isdigit() else 0
    answer = common.AnswerReader(plan['stream'])
    if status or plan['stream']:  # what was cut is judged by as much of it as arrived
        answer.saved(path + '.answer', status or 200)
    fields = answer.fields()
    if not status:
        fields['error'] = said or 'ended'
    common.emit(id=request['id'], sha256=common.sha256(plan, request), status=status, elapsed_ms=(time.monotonic() - start) * 1e3,
                port=0, pid=program.pid, **fields)


def worker(requests):
    with tempfile.TemporaryDirectory(prefix='by-file-') as folder:
        authority = os.path.join(folder, 'ca.der')
        with open(plan['ca']) as pem, open(authority, 'wb') as der:
            der.write(ssl.PEM_cert_to_DER_cert(pem.read()))
        program = subprocess.Popen([*plan['program'], plan['base'] + common.PATHS[plan['api']], authority],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for request in requests:
            if plan['wait']:
                with turn:
                    if not sys.stdin.readline():
                        break
            send_one(program, folder, request)
        program.stdin.close()
        program.wait()


common.ready()
threads = [threading.Thread(target=worker, args=(r,)) for r in common.dealt(plan)]
for t in threads:
    t.start()
for t in threads:
    t.join()
