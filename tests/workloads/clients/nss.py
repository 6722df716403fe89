#!/usr/bin/python3
"""libcurl in its NSS flavour, called from Python: one handle, and so one keep-alive connection, per worker thread. See common.py."""
import ctypes
import os
import sys
import threading
import time

import common

URL, POST_FIELDS, HEADERS, CA_INFO, WRITE = 10002, 10015, 10023, 10065, 20011
POST_BYTES, NO_SIGNAL, HTTP_VERSION, TIMEOUT_MS = 60, 99, 84, 155
STATUS, LOCAL_PORT = 0x200002, 0x20002a
HTTP_1_1 = 2
WRITE_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p)

plan = common.load_plan()
turn = threading.Lock()
curl = ctypes.CDLL('libcurl-nss.so.4')
for function in (curl.curl_easy_init, curl.curl_slist_append):
    function.restype = ctypes.c_void_p


def option(handle, which, value):
    if isinstance(value, int):
        value = ctypes.c_long(value)
    code = curl.curl_easy_setopt(ctypes.c_void_p(handle), which, value)
    if code:
        sys.exit(f'curl_easy_setopt({which}): {code}')


def told(handle, what):
    value = ctypes.c_long()
    curl.curl_easy_getinfo(ctypes.c_void_p(handle), what, ctypes.byref(value))
    return value.value


def send_one(handle, request):
    start = time.monotonic()
    body, received = common.body(plan, request), bytearray()

    @WRITE_CALLBACK
    def write(data, size, count, _):
        received.extend(ctypes.string_at(data, size * count))
        return size * count

    headers = None
    for name, value in {**common.headers(plan, request), 'Expect': ''}.items():
        headers = curl.curl_slist_append(ctypes.c_void_p(headers), f'{name}:{" " if value else ""}{value}'.encode())
    option(handle, POST_FIELDS, ctypes.c_char_p(body))
    option(handle, POST_BYTES, len(body))
    option(handle, HEADERS, ctypes.c_void_p(headers))
    option(handle, WRITE, write)
    code = curl.curl_easy_perform(ctypes.c_void_p(handle))
    curl.curl_slist_free_all(ctypes.c_void_p(headers))
    status, answer = told(handle, STATUS), common.AnswerReader(plan['stream'])
    answer.taken(bytes(received), status)
    fields = answer.fields()
    if code:
        fields['error'] = f'curl_{code}'
    common.emit(id=request['id'], sha256=common.sha256(plan, request), status=status, elapsed_ms=(time.monotonic() - start) * 1e3,
                port=told(handle, LOCAL_PORT), pid=os.getpid(), **fields)


def worker(requests):
    handle = curl.curl_easy_init()
    option(handle, URL, ctypes.c_char_p((plan['base'] + common.PATHS[plan['api']]).encode()))
    option(handle, CA_INFO, ctypes.c_char_p(plan['ca'].encode()))
    option(handle, HTTP_VERSION, HTTP_1_1)
    option(handle, NO_SIGNAL, 1)
    option(handle, TIMEOUT_MS, int(plan['timeout_s'] * 1000))
    for request in requests:
        if plan['wait']:
            with turn:
                if not sys.stdin.readline():
                    break
        send_one(handle, request)
    curl.curl_easy_cleanup(ctypes.c_void_p(handle))


curl.curl_global_init(3)
common.ready()
threads = [threading.Thread(target=worker, args=(r,)) for r in common.dealt(plan)]
for t in threads:
    t.start()
for t in threads:
    t.join()
