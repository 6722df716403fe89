#!/usr/bin/python3
"""Speaks MCP by hand over real pipes (the SDK's client uses socket pairs), to a server it starts through a shell as a wrapper.

One argument: {"command": [program, …], "calls": [{id, tool, a, b}], "junk": text written first}. Lines are those of mcp_sdk.mjs.
Each call consumes a line of stdin first.
"""
import json
import os
import subprocess
import sys

plan = json.loads(sys.argv[1])
sys.stdin.readline()
server = subprocess.Popen(['sh', '-c', '"$@"; :', 'sh', *plan['command']], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
answers = server.stdout


def emit(**fields):
    print(json.dumps(fields), flush=True)


def say(method, number=None, **params):
    message = {'jsonrpc': '2.0', 'method': method, 'params': params}
    if number is not None:
        message['id'] = number
    server.stdin.write(plan.pop('junk', '').encode() + json.dumps(message).encode() + b'\n')


def ask(method, number, **params):
    say(method, number, **params)
    while line := answers.readline():
        answer = json.loads(line)
        if answer.get('id') == number:
            return answer
    return None


ask('initialize', 0, protocolVersion='2025-06-18', capabilities={}, clientInfo={'name': 'test', 'version': '1'})
say('notifications/initialized')
emit(ready=True, pid=os.getpid(), server_pid=None)
for number, call in enumerate(plan['calls'], 1):
    sys.stdin.readline()
    try:
        answer = ask('tools/call', number, name=call['tool'], arguments={'a': call['a'], 'b': call['b']})
    except BrokenPipeError:
        answer = None
    text = answer['result']['content'][0]['text'] if answer else None
    emit(id=call['id'], text=text, error=None if answer else 'closed')
server.stdin.close()
server.wait()
