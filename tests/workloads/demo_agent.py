#!/usr/bin/python3
"""A small agent as people write them: it knows its provider and nothing of Penstock.  demo_agent.py BASE_URL CALLS"""
import http.client
import json
import ssl
import sys
import urllib.parse

url = urllib.parse.urlsplit(sys.argv[1])
connection = http.client.HTTPSConnection(url.hostname, url.port, context=ssl.create_default_context(), timeout=60)
for call in range(1, int(sys.argv[2]) + 1):
    question = {'model': 'gpt-4o', 'max_tokens': 400, 'user': f'fake:in={1200 * call};out={90 * call}',  # the fake's orders
                'messages': [{'role': 'user', 'content': f'Step {call} of the plan, please.'}]}
    if call % 2 == 0:
        question.update(stream=True, stream_options={'include_usage': True})
    try:
        connection.request('POST', '/v1/chat/completions', json.dumps(question), {'content-type': 'application/json',
                                                                                  'authorization': 'Bearer sk-demo'})
        response = connection.getresponse()
        print(f'  agent: call {call}: HTTP {response.status}, {len(response.read())} bytes')
    except (OSError, http.client.HTTPException) as e:
        sys.exit(f'  agent: call {call} failed: {e}')
