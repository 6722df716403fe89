#!/usr/bin/python3
"""python_sync, after it has tried to get out of sight. The plan's `evasion` says how:

restore   every byte of libssl and libcrypto that differs from the file (a breakpoint of somebody) is put back
copy      private copies of both libraries, made now, are loaded in place of the system's
premade   the socket is connected before the process enters the cgroup `enter` of the plan
passed    the socket is connected by another process, outside that cgroup, and passed on (SCM_RIGHTS)
"""
import ctypes
import os
import runpy
import shutil
import socket
import sys
import tempfile
import urllib.parse

import common

PAGE = 4096
LIBRARIES = ('libcrypto.so.3', 'libssl.so.3')


def mapped_code():
    with open('/proc/self/maps') as maps:
        for line in maps:
            fields = line.split()
            if len(fields) == 6 and 'x' in fields[1] and os.path.basename(fields[5]) in LIBRARIES:
                begin, end = (int(text, 16) for text in fields[0].split('-'))
                yield begin, end - begin, int(fields[2], 16), fields[5]


def restore():
    import ssl  # noqa: F401  maps the libraries
    libc = ctypes.CDLL(None, use_errno=True)
    restored = 0
    for begin, length, offset, path in mapped_code():
        with open(path, 'rb') as f:
            f.seek(offset)
            original = f.read(length)
        present = ctypes.string_at(begin, len(original))
        for at in (i for i in range(0, len(original), PAGE) if present[i:i + PAGE] != original[i:i + PAGE]):
            if libc.mprotect(ctypes.c_void_p(begin + at), ctypes.c_size_t(PAGE), 7) != 0:
                raise OSError(ctypes.get_errno(), 'mprotect')
            for i in range(at, min(at + PAGE, len(original))):
                if present[i] != original[i]:
                    ctypes.memset(begin + i, original[i], 1)
                    restored += 1
            libc.mprotect(ctypes.c_void_p(begin + at), ctypes.c_size_t(PAGE), 5)
    return restored


def copy():
    folder = tempfile.mkdtemp(prefix='private-')
    for name in LIBRARIES:
        shutil.copy(f'/usr/lib/x86_64-linux-gnu/{name}', folder)
    os.environ.update(LD_LIBRARY_PATH=folder, PENSTOCK_TEST_COPIED='1')
    os.execv(sys.executable, [sys.executable, *sys.argv])


def address():
    url = urllib.parse.urlsplit(plan['base'])
    return url.hostname, url.port


def enter():
    with open(os.path.join(plan['enter'], 'cgroup.procs'), 'w') as f:
        f.write('0')


def passed():
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    child = os.fork()
    if child == 0:
        with socket.create_connection(address()) as connection:
            socket.send_fds(theirs, [b'x'], [connection.fileno()])
        os._exit(0)
    enter()
    _, fds, _, _ = socket.recv_fds(ours, 1, 1)
    os.waitpid(child, 0)
    return socket.socket(fileno=fds[0])


def premade():
    connection = socket.create_connection(address())
    enter()
    return connection


def connect_with(first):
    """The next connection that is made is this one; any other is made as ever."""
    sockets, create = [first], socket.create_connection
    socket.create_connection = lambda *args, **options: sockets.pop() if sockets else create(*args, **options)


plan = common.load_plan()
if plan['evasion'] == 'restore':
    common.emit(restored=restore())
elif plan['evasion'] in ('premade', 'passed'):
    connect_with(premade() if plan['evasion'] == 'premade' else passed())
elif not os.environ.get('PENSTOCK_TEST_COPIED'):
    copy()
runpy.run_path(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'python_sync.py'), run_name='__main__')
