#!/usr/bin/python3
"""Drives the curl program: one curl process per worker, whose transfers (--next) share one connection. See common.py.

With `wait`, a transfer's body comes from a FIFO: curl opens it when that transfer begins and waits there for the writer.
With `parallel` in the plan one curl makes all transfers at once, over connections of their own or, in HTTP/2, as streams of one.
"""
import json
import os
import subprocess
import sys
import tempfile
import threading

import common

plan = common.load_plan()
turn = threading.Lock()


def version(index):
    if plan.get('http') != 2:
        return '--http1.1'
    # A cleartext server cannot be asked first (but by an upgrade, which none of them does). That holds for the connection: told
    # the same for a later transfer, curl 7.88 begins HTTP/2 anew on it, and fails with CURLE_HTTP2 (16) before it sends anything.
    return '--http2-prior-knowledge' if plan['base'].startswith('http:') and index == 0 else '--http2'


def arguments(folder, index, request):
    source, sink = os.path.join(folder, f'{index}.body'), os.path.join(folder, f'{index}.answer')
    out = ['--silent', '--no-buffer', version(index), '--cacert', plan['ca'], '--max-time', str(plan['timeout_s']), '--output', sink,
           '--write-out', '%{stderr}%{json}\n', '--request', 'POST', '--header', 'Expect:']
    for name, value in common.headers(plan, request).items():
        out += ['--header', f'{name}: {value}']
    if plan['wait']:
        os.mkfifo(source)
        out += ['--upload-file', source]
    else:
        with open(source, 'wb') as f:
            f.write(common.body(plan, request))
        out += ['--data-binary', '@' + source]
    # With --upload-file curl appends the file's name to a URL whose path ends in a slash; ours never does.
    return out + [plan['base'] + common.PATHS[plan['api']]], source, sink


def report(curl, line, sink, request):
    seen = json.loads(line)
    answer = common.AnswerReader(plan['stream'])
    answer.saved(sink, seen['http_code'])
    fields = answer.fields()
    if seen['exitcode']:
        fields['error'] = f'curl_{seen["exitcode"]}'
    common.emit(id=request['id'], sha256=common.sha256(plan, request), status=seen['http_code'],
                elapsed_ms=seen['time_total'] * 1e3, port=seen['local_port'],
                pid=curl.pid, **fields)


def worker(requests):
    with tempfile.TemporaryDirectory(prefix='curl-client-') as folder:
        command, files = ['curl'], []
        for index, request in enumerate(requests):
            part, source, sink = arguments(folder, index, request)
            command += (['--next'] if index else []) + part
            files.append((source, sink))
        curl = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for request, (source, sink) in zip(requests, files):
            if plan['wait']:
                with turn:
                    go = sys.stdin.readline()
                if not go:
                    curl.terminate()  # it waits to open the next body
                    break
                try:
                    with open(source, 'wb') as fifo:
                        fifo.write(common.body(plan, request))
                except BrokenPipeError:
                    pass  # refused before it read its body: its report says why
            line = curl.stderr.readline()
            while line and not line.startswith(b'{'):
                line = curl.stderr.readline()
            if not line:
                break
            report(curl, line, sink, request)
        curl.wait()


def all_at_once(requests):
    with tempfile.TemporaryDirectory(prefix='curl-client-') as folder:
        command = ['curl', '--no-progress-meter', '--parallel', '--parallel-max', '300']
        # A connection each means not to wait for one that could be shared.
        command += [] if plan.get('http') == 2 else ['--parallel-immediate']
        sinks = {}
        for index, request in enumerate(requests):
            part, _, sink = arguments(folder, index, request)
            command += (['--next'] if index else []) + part
            sinks[sink] = request
        curl = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for line in curl.stderr:
            if line.startswith(b'{'):
                sink = json.loads(line)['filename_effective']
                report(curl, line, sink, sinks[sink])
        curl.wait()


common.ready()
if plan.get('parallel'):
    all_at_once(plan['requests'])
    sys.exit()
threads = [threading.Thread(target=worker, args=(r,)) for r in common.dealt(plan)]
for t in threads:
    t.start()
for t in threads:
    t.join()
