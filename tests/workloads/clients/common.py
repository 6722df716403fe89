"""Shared by the Python clients. Every client takes one argument, a plan in JSON or @FILE with one, and prints one JSON line per answer.

Plan:   base ca api(chat|responses|messages) model stream requests:[{id, script, model}] concurrency wait prompt_bytes
        max_tokens timeout_s
Line 1: {"ready": true, "pid": N}
Answer: {"id", "sha256" of the body sent, "status", "model", "usage": {"in", "out"} or null, "error": class or null,
        "text_bytes", "elapsed_ms", "port" (local), "pid"}

Requests are dealt to `concurrency` workers in turn; a worker keeps one connection and sends its requests in order. With `wait`,
each request consumes one line of stdin first, so that a test decides what happens between two requests of a connection;
the end of stdin ends the client.
"""
import hashlib
import json
import os
import sys
import threading

PATHS = {'chat': '/v1/chat/completions', 'responses': '/v1/responses', 'messages': '/v1/messages'}
_out = threading.Lock()


def load_plan():
    plan = {'stream': False, 'concurrency': 1, 'wait': False, 'prompt_bytes': 64, 'max_tokens': 64, 'timeout_s': 60}
    text = sys.argv[1]
    if text.startswith('@'):
        with open(text[1:]) as f:
            text = f.read()
    plan.update(json.loads(text))
    return plan


def emit(**fields):
    with _out:
        sys.stdout.write(json.dumps(fields) + '\n')
        sys.stdout.flush()


def ready():
    emit(ready=True, pid=os.getpid())


def dealt(plan):
    """The requests of each worker."""
    count = max(1, min(plan['concurrency'], len(plan['requests'])))
    return [plan['requests'][i::count] for i in range(count)]


def prompt(plan, request):
    text = f'marker-{request["id"]} '
    return text + 'lorem ipsum ' * ((plan['prompt_bytes'] - len(text)) // 12 + 1)


def body(plan, request):
    out = {'model': request.get('model', plan['model']), 'stream': plan['stream']}
    if plan['api'] == 'responses':
        out.update(input=prompt(plan, request), max_output_tokens=plan['max_tokens'])
    else:
        out.update(messages=[{'role': 'user', 'content': prompt(plan, request)}], max_tokens=plan['max_tokens'])
    if plan['api'] == 'chat' and plan['stream']:
        out['stream_options'] = {'include_usage': True}
    return json.dumps(out).encode()


def headers(plan, request):
    out = {'content-type': 'application/json', 'x-fake': f'id={request["id"]};{request.get("script", "")}'}
    if plan['api'] == 'messages':
        out.update({'x-api-key': 'sk-test', 'anthropic-version': '2023-06-01'})
    else:
        out['authorization'] = 'Bearer sk-test'
    return out


class AnswerReader:
    """Collects what a client sees of one answer: whole JSON body, or SSE lines as they come."""

    def __init__(self, stream):
        self.stream = stream
        self.model = None
        self.usage = {}
        self.text_bytes = 0
        self.error = None

    def whole(self, data):
        self._object(json.loads(data))

    def line(self, line):
        if line.startswith(b'data: ') and line.strip() != b'data: [DONE]':
            self._object(json.loads(line[6:]))

    def saved(self, path, status):
        """An answer that a program wrote to a file; one that was cut inside a line ends there: its exit code tells."""
        if not os.path.exists(path):
            return
        with open(path, 'rb') as f:
            self.taken(f.read(), status)

    def taken(self, data, status):
        """The same of its bytes."""
        if self.stream and status == 200:
            for line in data.split(b'\n'):
                try:
                    self.line(line)
                except ValueError:
                    pass
        elif data:
            self.whole(data)

    def _object(self, value):
        if value.get('error'):
            self.error = value['error'].get('type') or 'error'
        if value.get('type') == 'error' and not self.error:
            self.error = value.get('code') or 'error'
        for holder in (value, value.get('response') or {}, value.get('message') or {}):
            self.model = holder.get('model') or self.model
            self.usage.update({k: v for k, v in (holder.get('usage') or {}).items() if v is not None})
        texts = [value.get('delta')] if isinstance(value.get('delta'), str) else []
        if isinstance(value.get('delta'), dict):
            texts.append(value['delta'].get('text'))
        for choice in value.get('choices') or []:
            texts.append((choice.get('delta') or choice.get('message') or {}).get('content'))
        for block in value.get('content') or []:
            texts.append(block.get('text'))
        for item in value.get('output') or []:
            texts += [part.get('text') for part in item.get('content') or []]
        if value.get('type') != 'response.function_call_arguments.delta':
            self.text_bytes += sum(len(t) for t in texts if t)

    def fields(self):
        u = self.usage
        if 'prompt_tokens' in u:
            usage = {'in': u['prompt_tokens'], 'out': u['completion_tokens']}
        elif 'input_tokens' in u:
            cache = u.get('cache_read_input_tokens', 0) + u.get('cache_creation_input_tokens', 0)
            usage = {'in': u['input_tokens'] + cache, 'out': u['output_tokens']}
        else:
            usage = None
        return {'model': self.model, 'usage': usage, 'text_bytes': self.text_bytes, 'error': self.error}


def sha256(plan, request):
    return hashlib.sha256(body(plan, request)).hexdigest()


def error_class(e):
    return type(e).__name__
