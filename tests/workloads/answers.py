"""What the fake provider answers: OpenAI chat completions and Responses, Anthropic messages, in their documented wire formats.

A Script says how one request is to be answered. It travels with the request itself, as `key=value;key=value`, in the header
`x-fake`, or (for clients that set no headers) in the body's `user` or `metadata.user_id` after the prefix `fake:`.
This module knows formats only; sockets, time and logging live in fake_provider.py.
"""
import dataclasses
import json

# OpenAI answers with the dated name of the model that was asked for by its alias; so does Anthropic.
DATED = {
    'gpt-4o': 'gpt-4o-2024-08-06',
    'gpt-4o-mini': 'gpt-4o-mini-2024-07-18',
    'gpt-4.1': 'gpt-4.1-2025-04-14',
    'claude-sonnet-4-5': 'claude-sonnet-4-5-20250929',
    'claude-haiku-4-5': 'claude-haiku-4-5-20251001',
}
CREATED = 1760000000


@dataclasses.dataclass
class Script:
    """Behaviour of one answer. Token counts mean what the product reports: `in` includes cached, `out` includes reasoning."""
    id: str = ''
    tokens_in: int = 11
    tokens_out: int = 7
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0
    chunks: int = 4           # content events of a stream
    chunk_bytes: int = 12     # text per content event
    big_at: int = -1          # this content event carries big_bytes instead
    big_bytes: int = 0
    delay_ms: int = 0         # before each content event
    first_ms: int = 0         # before the answer's first byte
    usage: str = 'asked'      # asked: as the real provider does · always · never
    tools: str = ''           # comma-separated names of tools the model calls
    status: int = 200
    retry_after: int = 0
    error_at: int = -1        # stream: an error event after this many content events
    reset_at: int = -1        # stream: the server resets the connection after this many content events
    gzip: int = 0             # 1: compressed when the client accepts it
    model: str = ''           # name in the answer; empty: the dated form of the asked one
    hold: int = 0             # 1: the answer waits for a permit from the test
    step: int = 0             # 1: every content event waits for a permit from the test
    close: int = 0            # 1: `connection: close`

    @classmethod
    def parse(cls, text):
        types = {f.name: f.type for f in dataclasses.fields(cls)}
        values = {}
        for part in filter(None, text.split(';')):
            key, _, value = part.partition('=')
            key = {'in': 'tokens_in', 'out': 'tokens_out'}.get(key.strip(), key.strip())
            if key not in types:
                raise ValueError(f'unknown script key {key!r}')
            values[key] = int(value) if types[key] is int else value.strip()
        return cls(**values)


def script_of(headers, body):
    """The script that this request carries; the default one if it has none."""
    text = headers.get('x-fake', '')
    if not text and isinstance(body, dict):
        metadata = body.get('metadata')
        for value in (body.get('user'), metadata.get('user_id') if isinstance(metadata, dict) else None):
            if isinstance(value, str) and value.startswith('fake:'):
                text = value[len('fake:'):]
    return Script.parse(text)


def expected_usage(script):
    """The usage an observer must report for this answer (absent when it was not told)."""
    usage = {'input_tokens': script.tokens_in, 'output_tokens': script.tokens_out}
    for key, value in (('cache_read_tokens', script.cached), ('cache_write_tokens', script.cache_write),
                       ('reasoning_tokens', script.reasoning)):
        if value:
            usage[key] = value
    return usage


class Answer:
    """One answer: `body()` when plain; `events()` when streamed, each (content | frame | error | reset, bytes)."""
    provider = ''
    id_prefix = ''

    def __init__(self, script, request, number):
        self.script = script
        self.request = request
        self.number = number
        asked = request.get('model') if isinstance(request.get('model'), str) else 'unknown-model'
        self.model = script.model or DATED.get(asked, asked)
        self.stream = bool(request.get('stream'))
        self.tools = [t for t in script.tools.split(',') if t]

    def tells_usage(self):
        return self.script.usage != 'never'

    def text(self, index):
        word = f'w{self.number}.{index} '
        size = self.script.big_bytes if index == self.script.big_at else self.script.chunk_bytes
        return (word * (size // len(word) + 1))[:size]

    def whole_text(self):
        return ''.join(self.text(i) for i in range(self.script.chunks))

    def response_id(self):
        return f'{self.id_prefix}{self.number}'

    def call_id(self, index):
        return f'call_{self.number}_{index}'

    def content(self):
        """The content events of the stream, with the scripted interruption."""
        for index in range(self.script.chunks):
            if index == self.script.error_at:
                yield 'error', self.error_event()
                return
            if index == self.script.reset_at:
                yield 'reset', b''
                return
            yield 'content', self.content_event(index)


def sse(data, event=None):
    payload = data if isinstance(data, str) else json.dumps(data, separators=(',', ':'))
    return (f'event: {event}\n' if event else '').encode() + f'data: {payload}\n\n'.encode()


class OpenAiChat(Answer):
    provider = 'openai'
    id_prefix = 'chatcmpl-'

    def tells_usage(self):
        if self.script.usage != 'asked' or not self.stream:
            return self.script.usage != 'never'
        options = self.request.get('stream_options')
        return isinstance(options, dict) and bool(options.get('include_usage'))

    def usage(self):
        s = self.script
        return {'prompt_tokens': s.tokens_in, 'completion_tokens': s.tokens_out, 'total_tokens': s.tokens_in + s.tokens_out,
                'prompt_tokens_details': {'cached_tokens': s.cached, 'audio_tokens': 0},
                'completion_tokens_details': {'reasoning_tokens': s.reasoning, 'audio_tokens': 0,
                                              'accepted_prediction_tokens': 0, 'rejected_prediction_tokens': 0}}

    def tool_call(self, index, name):
        return {'id': self.call_id(index), 'type': 'function',
                'function': {'name': name, 'arguments': json.dumps({'q': f'{name} {self.number}'})}}

    def finish_reason(self):
        return 'tool_calls' if self.tools else 'stop'

    def body(self):
        message = {'role': 'assistant', 'content': self.whole_text(), 'refusal': None}
        if self.tools:
            message['tool_calls'] = [self.tool_call(i, n) for i, n in enumerate(self.tools)]
        out = {'id': self.response_id(), 'object': 'chat.completion', 'created': CREATED, 'model': self.model,
               'choices': [{'index': 0, 'message': message, 'logprobs': None, 'finish_reason': self.finish_reason()}],
               'service_tier': 'default', 'system_fingerprint': 'fp_0'}
        if self.tells_usage():
            out['usage'] = self.usage()
        return out

    def chunk(self, delta, finish=None):
        out = {'id': self.response_id(), 'object': 'chat.completion.chunk', 'created': CREATED, 'model': self.model,
               'service_tier': 'default', 'system_fingerprint': 'fp_0',
               'choices': [{'index': 0, 'delta': delta, 'logprobs': None, 'finish_reason': finish}]}
        if self.tells_usage():
            out['usage'] = None
        return out

    def content_event(self, index):
        return sse(self.chunk({'content': self.text(index)}))

    def error_event(self):
        return sse({'error': {'message': 'The server had an error', 'type': 'server_error', 'param': None, 'code': None}})

    def events(self):
        yield 'frame', sse(self.chunk({'role': 'assistant', 'content': '', 'refusal': None}))
        for kind, data in self.content():
            yield kind, data
            if kind in ('error', 'reset'):
                return
        for index, name in enumerate(self.tools):
            call = self.tool_call(index, name)
            arguments = call['function']['arguments']
            half = len(arguments) // 2
            call['function']['arguments'] = ''
            yield 'frame', sse(self.chunk({'tool_calls': [{'index': index, **call}]}))
            for part in (arguments[:half], arguments[half:]):
                yield 'frame', sse(self.chunk({'tool_calls': [{'index': index, 'function': {'arguments': part}}]}))
        yield 'frame', sse(self.chunk({}, self.finish_reason()))
        if self.tells_usage():
            last = self.chunk({})
            last.update(choices=[], usage=self.usage())
            yield 'frame', sse(last)
        yield 'frame', sse('[DONE]')


class OpenAiResponses(Answer):
    provider = 'openai'
    id_prefix = 'resp_'

    def usage(self):
        s = self.script
        return {'input_tokens': s.tokens_in, 'input_tokens_details': {'cached_tokens': s.cached},
                'output_tokens': s.tokens_out, 'output_tokens_details': {'reasoning_tokens': s.reasoning},
                'total_tokens': s.tokens_in + s.tokens_out}

    def message_item(self, status, text):
        content = [] if text is None else [{'type': 'output_text', 'annotations': [], 'logprobs': [], 'text': text}]
        return {'id': f'msg_{self.number}', 'type': 'message', 'status': status, 'role': 'assistant', 'content': content}

    def call_item(self, index, name, status='completed'):
        arguments = json.dumps({'q': f'{name} {self.number}'}) if status == 'completed' else ''
        return {'id': f'fc_{self.number}_{index}', 'type': 'function_call', 'status': status, 'name': name,
                'call_id': self.call_id(index), 'arguments': arguments}

    def response(self, status, output):
        done = status == 'completed'
        return {'id': self.response_id(), 'object': 'response', 'created_at': CREATED, 'status': status, 'error': None,
                'incomplete_details': None, 'instructions': None, 'max_output_tokens': None, 'model': self.model,
                'output': output, 'parallel_tool_calls': True, 'previous_response_id': None, 'store': True,
                'temperature': 1.0, 'tool_choice': 'auto', 'tools': [], 'top_p': 1.0, 'truncation': 'disabled',
                'usage': self.usage() if done and self.tells_usage() else None, 'user': None, 'metadata': {}}

    def output(self):
        return [self.message_item('completed', self.whole_text())] + [self.call_item(i, n) for i, n in enumerate(self.tools)]

    def body(self):
        return self.response('completed', self.output())

    def finish_reason(self):
        return 'completed'

    def event(self, kind, **fields):
        self.sequence += 1
        return sse({'type': kind, 'sequence_number': self.sequence, **fields}, kind)

    def content_event(self, index):
        return self.event('response.output_text.delta', item_id=f'msg_{self.number}', output_index=0, content_index=0,
                          delta=self.text(index), logprobs=[])

    def error_event(self):
        return self.event('error', code='server_error', message='The server had an error', param=None)

    def events(self):
        self.sequence = -1
        item = f'msg_{self.number}'
        text = self.whole_text()
        part = {'type': 'output_text', 'annotations': [], 'logprobs': [], 'text': ''}
        where = {'item_id': item, 'output_index': 0, 'content_index': 0}
        yield 'frame', self.event('response.created', response=self.response('in_progress', []))
        yield 'frame', self.event('response.in_progress', response=self.response('in_progress', []))
        yield 'frame', self.event('response.output_item.added', output_index=0, item=self.message_item('in_progress', None))
        yield 'frame', self.event('response.content_part.added', **where, part=part)
        for kind, data in self.content():
            yield kind, data
            if kind in ('error', 'reset'):
                return
        yield 'frame', self.event('response.output_text.done', **where, text=text, logprobs=[])
        yield 'frame', self.event('response.content_part.done', **where, part={**part, 'text': text})
        yield 'frame', self.event('response.output_item.done', output_index=0, item=self.message_item('completed', text))
        for index, name in enumerate(self.tools):
            done = self.call_item(index, name)
            at = {'item_id': done['id'], 'output_index': index + 1}
            yield 'frame', self.event('response.output_item.added', output_index=index + 1,
                                      item=self.call_item(index, name, 'in_progress'))
            yield 'frame', self.event('response.function_call_arguments.delta', **at, delta=done['arguments'])
            yield 'frame', self.event('response.function_call_arguments.done', **at, arguments=done['arguments'])
            yield 'frame', self.event('response.output_item.done', output_index=index + 1, item=done)
        yield 'frame', self.event('response.completed', response=self.response('completed', self.output()))


class AnthropicMessages(Answer):
    provider = 'anthropic'
    id_prefix = 'msg_'

    def usage(self, output_tokens):
        s = self.script
        return {'input_tokens': s.tokens_in - s.cached - s.cache_write, 'cache_creation_input_tokens': s.cache_write,
                'cache_read_input_tokens': s.cached,
                'cache_creation': {'ephemeral_5m_input_tokens': s.cache_write, 'ephemeral_1h_input_tokens': 0},
                'output_tokens': output_tokens, 'service_tier': 'standard'}

    def tool_block(self, index, name, filled=True):
        return {'type': 'tool_use', 'id': self.call_id(index), 'name': name,
                'input': {'q': f'{name} {self.number}'} if filled else {}}

    def finish_reason(self):
        return 'tool_use' if self.tools else 'end_turn'

    def message(self, content, stop_reason, output_tokens):
        out = {'id': self.response_id(), 'type': 'message', 'role': 'assistant', 'model': self.model, 'content': content,
               'stop_reason': stop_reason, 'stop_sequence': None}
        if self.tells_usage():
            out['usage'] = self.usage(output_tokens)
        return out

    def body(self):
        content = [{'type': 'text', 'text': self.whole_text()}]
        content += [self.tool_block(i, n) for i, n in enumerate(self.tools)]
        return self.message(content, self.finish_reason(), self.script.tokens_out)

    def event(self, kind, **fields):
        return sse({'type': kind, **fields}, kind)

    def content_event(self, index):
        return self.event('content_block_delta', index=0, delta={'type': 'text_delta', 'text': self.text(index)})

    def error_event(self):
        return self.event('error', error={'type': 'overloaded_error', 'message': 'Overloaded'})

    def events(self):
        yield 'frame', self.event('message_start', message=self.message([], None, 1))
        yield 'frame', self.event('content_block_start', index=0, content_block={'type': 'text', 'text': ''})
        yield 'frame', self.event('ping')
        for kind, data in self.content():
            yield kind, data
            if kind in ('error', 'reset'):
                return
        yield 'frame', self.event('content_block_stop', index=0)
        for index, name in enumerate(self.tools, start=1):
            block = self.tool_block(index - 1, name)
            yield 'frame', self.event('content_block_start', index=index,
                                      content_block=self.tool_block(index - 1, name, filled=False))
            yield 'frame', self.event('content_block_delta', index=index,
                                      delta={'type': 'input_json_delta', 'partial_json': json.dumps(block['input'])})
            yield 'frame', self.event('content_block_stop', index=index)
        fields = {'delta': {'stop_reason': self.finish_reason(), 'stop_sequence': None}}
        if self.tells_usage():
            fields['usage'] = {'output_tokens': self.script.tokens_out}
        yield 'frame', self.event('message_delta', **fields)
        yield 'frame', self.event('message_stop')


ROUTES = {'/v1/chat/completions': OpenAiChat, '/v1/responses': OpenAiResponses, '/v1/messages': AnthropicMessages}

_OPENAI_ERRORS = {429: ('requests', 'rate_limit_exceeded', 'Rate limit reached'), 500: ('server_error', None, 'Server error'),
                  404: ('invalid_request_error', 'unknown_url', 'Unknown request URL'),
                  400: ('invalid_request_error', None, 'Bad request')}
_ANTHROPIC_ERRORS = {429: 'rate_limit_error', 500: 'api_error', 529: 'overloaded_error', 404: 'not_found_error',
                     400: 'invalid_request_error'}


def error_body(route, status, number):
    """The error object of that provider for an HTTP status."""
    if route is AnthropicMessages:
        return {'type': 'error', 'error': {'type': _ANTHROPIC_ERRORS.get(status, 'api_error'), 'message': f'status {status}'},
                'request_id': f'req_{number}'}
    kind, code, message = _OPENAI_ERRORS.get(status, ('server_error', None, f'status {status}'))
    return {'error': {'message': message, 'type': kind, 'param': None, 'code': code}}
