"""Cleartext HTTP to models on this host or in the cluster, by unmodified programs: exact usage, the right process and socket,
attached before and during the connection, and the gate: allow, hold, deny, cut; strict scopes too."""
import json
import os

import harness
import rig

KINDS = list(rig.CLEARTEXT)
ONE_REQUEST = ('wget',)  # per connection
SEVERAL = [k for k in KINDS if k not in ONE_REQUEST]


class Cleartext(harness.Case):
    def clients(self, tag, count, kinds=KINDS, **plan):
        return self.numbered_clients(tag, count, kinds, clear=True, **plan)

    def gate(self, mode='enforce'):
        scope = self.scope('cleartext')
        self.start_daemon(policies=f'kind: Policy\nname: gate\nmatch: {{ cgroup: "{scope.path}" }}\nmode: {mode}\nrules:\n'
                                   '  - { deny: { model: "gpt-4o" } }\n  - { approve: { model: "gpt-4.1" }, hold: 10m }\n')
        return scope, self.observe()

    def assert_arrived(self, answer):
        self.assertIsNone(answer['error'], answer)
        self.assertEqual(self.provider.events('request', id=answer['id'])[0]['body_sha256'], answer['sha256'])

    def test_fresh(self):
        self.start_daemon()
        observer = self.observe()
        clients = self.clients('fresh', 2, SEVERAL)
        answers = self.step(clients, 0)
        answers.update(self.step(clients, 1))
        answers.update(self.step(self.clients('fresh', 1, ONE_REQUEST), 0))
        self.assert_observed(observer, answers)
        pids = {answer['pid'] for answer, _ in answers.values()}
        seen = [e for e in observer.exchanges if e['pid'] in pids or e['port'] == self.provider.clear_port]
        self.assertEqual(len(seen), len(answers), 'a call was counted twice')

    def test_attached_mid_connection(self):
        # HTTP/2 is recognised by its beginning.
        clients = self.clients('attached', 3, [k for k in SEVERAL if k != 'curl_h2'])
        self.step(clients, 0)
        self.start_daemon()
        observer = self.observe()
        answers = self.step(clients, 1)
        answers.update(self.step(clients, 2))
        self.assert_observed(observer, answers)

    def test_the_gate_allows_holds_and_denies(self):
        scope, observer = self.gate()
        clients = []
        for kind in SEVERAL:
            requests = [{'id': f'{kind}-allowed', 'model': 'gpt-4o-mini'}, {'id': f'{kind}-held', 'model': 'gpt-4.1'},
                        {'id': f'{kind}-denied', 'model': 'gpt-4o'}]
            clients.append(self.client(kind, requests, scope=scope, wait=True, prompt_bytes=100_000, timeout_s=300, clear=True))
        for client in clients:
            client.go()
        for client in clients:
            with self.subTest(kind=client.kind, step='allow'):
                answer = client.answer(f'{client.kind}-allowed')
                self.assert_arrived(answer)
                exchange = observer.wait(response_id=self.told(answer['id'])['response_id'])[0]
                self.assertEqual(exchange['verdict']['action'], 'allow')
                self.assertGreater(exchange['verdict']['gate_ns'], 0, 'it was not gated')
        for client in clients:
            client.go()
        rig.wait_until(lambda: len(self.daemon.held()) == len(clients), lambda: f'held: {json.dumps(self.daemon.held())}')
        for client in clients:
            self.assertEqual(self.provider.events('request', id=f'{client.kind}-held'), [])
        for connection in self.provider.connections().values():
            self.assertEqual(connection['leftover_bytes'], 0, connection)
        self.daemon.must('release', 'all', '--reason', 'test')
        for client in clients:
            with self.subTest(kind=client.kind, step='hold'):
                self.assert_arrived(client.answer(f'{client.kind}-held'))
            client.go()
        for client in clients:
            with self.subTest(kind=client.kind, step='deny'):
                answer = client.answer(f'{client.kind}-denied')
                self.assertIsNotNone(answer['error'], answer)
                self.assertEqual(self.provider.events('request', id=answer['id']), [])

    def test_strict_scopes_let_go_what_was_seen_and_nothing_else(self):
        scope, observer = self.gate('strict')
        for kind in KINDS:
            with self.subTest(kind=kind):
                for size in (200, 700_000):
                    count = 1 if kind in ONE_REQUEST else 3
                    allowed = [{'id': f'{kind}-{size}-{i}', 'model': 'gpt-4o-mini'} for i in range(count)]
                    denied = {'id': f'{kind}-{size}-denied', 'model': 'gpt-4o'}
                    answers = self.client(kind, allowed, scope=scope, prompt_bytes=size, clear=True).finish()
                    answers.update(self.client(kind, [denied], scope=scope, prompt_bytes=size, clear=True).finish())
                    for request in allowed:
                        self.assert_arrived(answers[request['id']])
                        exchange = observer.wait(response_id=self.told(request['id'])['response_id'])[0]
                        self.assertEqual((exchange['verdict']['action'], exchange['verdict']['mode']), ('allow', 'strict'))
                    self.assertIsNotNone(answers[denied['id']]['error'], f'{size} bytes: {answers[denied["id"]]}')
                    self.assertEqual(self.provider.events('request', id=denied['id']), [])

    def test_a_stream_over_its_budget_is_cut(self):
        scope = self.scope('cleartext')
        self.start_daemon(policies=f'kind: Policy\nname: cut\nmatch: {{ cgroup: "{scope.path}" }}\nmode: enforce\nbudgets:\n'
                                   '  - { name: t, tokens: 1000, on_breach: deny, on_stream: cut }\n')
        observer = self.observe()
        for kind in KINDS:
            with self.subTest(kind=kind):
                self.daemon.must('budget', 'reset', 't')
                name = f'cut-{kind}'
                client = self.client(kind, [{'id': name, 'script': 'step=1;chunks=9;chunk_bytes=40;big_at=1;big_bytes=30000'}],
                                     scope=scope, stream=True, max_tokens=100, clear=True)
                self.provider.permit(name, 2)
                aborted = self.provider.wait('aborted', id=name)[0]
                self.assertLessEqual(aborted['chunks'], 2)
                self.assertIsNotNone(client.answer(name)['error'])
                exchange = observer.wait(pid=client.answer(name)['pid'])[0]
                self.assertEqual(exchange['verdict']['action'], 'cut')

    def test_sixty_requests_at_once_are_not_mixed_up(self):
        self.start_daemon()
        observer = self.observe()
        for k, kind in enumerate(('python_sync', 'python_asyncio', 'node_fetch', 'bun', 'go')):
            with self.subTest(kind=kind):
                self.sixty_at_once(observer, kind, 10_000 * (k + 1), clear=True)


def start_server(case, program, *arguments):
    """Starts a server of an SDK; returns (the file with what its code saw, its port)."""
    log = os.path.join(case.folder, program + '.jsonl')
    server = rig.spawn([rig.node(), rig.WORKLOADS / program, log, *arguments], stdout=rig.subprocess.PIPE)
    case.addCleanup(server.stdout.close)
    case.addCleanup(server.wait)
    case.addCleanup(server.kill)
    return log, json.loads(server.stdout.readline())['port']


class A2a(harness.Case):
    def test_a_refused_message_never_reaches_the_agent(self):
        scope = self.scope('a2a')
        self.start_daemon(policies=f'kind: Policy\nname: agents\nmatch: {{ cgroup: "{scope.path}" }}\nmode: enforce\nbudgets:\n'
                                   '  - { name: messages, requests: 2, only: { kind: a2a }, on_breach: deny }\n')
        observer = self.observe()
        log, port = start_server(self, 'a2a_agent.mjs')
        client = rig.spawn([rig.node(), rig.WORKLOADS / 'clients/a2a_sdk.mjs',
                            json.dumps({'url': f'http://127.0.0.1:{port}', 'messages': ['first', 'second']})],
                           scope.directory, stdin=rig.subprocess.DEVNULL, stdout=rig.subprocess.PIPE)
        out, _ = client.communicate(timeout=60)
        answers = {line.get('id', 'ready'): line for line in map(json.loads, out.splitlines())}
        self.assertEqual(answers['first']['text'], 'first', answers)
        self.assertIsNotNone(answers['second']['error'], answers)
        # The card that tells of the agent was the first of two.
        seen = observer.wait(pid=answers['ready']['pid'], operation='SendMessage', count=2)
        self.assertEqual([(e['kind'], e['verdict']['action']) for e in seen], [('a2a', 'allow'), ('a2a', 'deny')])
        with open(log) as f:
            self.assertEqual([json.loads(line)['text'] for line in f], ['first'])


class Mcp(harness.Case):
    """The official SDK on both sides, over streamable HTTP and over the older pair of a GET stream and POSTs."""

    def server(self):
        log, port = start_server(self, 'mcp_server.mjs', 'http')
        return log, f'http://127.0.0.1:{port}'

    def tools(self, scope, **plan):
        calls = [{'id': str(i), 'tool': tool, 'a': i, 'b': 40} for i, tool in enumerate(('add', 'erase'))]
        done = rig.spawn([rig.node(), rig.WORKLOADS / 'clients/mcp_sdk.mjs', json.dumps({'calls': calls, **plan})],
                         scope.directory, stdin=rig.subprocess.DEVNULL, stdout=rig.subprocess.PIPE)
        out, _ = done.communicate(timeout=60)
        return {line.get('id', 'ready'): line for line in map(json.loads, out.splitlines())}

    def test_a_refused_call_never_reaches_the_server(self):
        scope = self.scope('mcp')
        self.start_daemon(policies=f'kind: Policy\nname: tools\nmatch: {{ cgroup: "{scope.path}" }}\nmode: enforce\nrules:\n'
                                   '  - { deny: { tool: "erase" } }\n')
        observer = self.observe()
        log, base = self.server()
        for transport, path in (('http', '/mcp'), ('sse', '/sse')):
            with self.subTest(transport=transport):
                answers = self.tools(scope, transport=transport, url=base + path)
                self.assertEqual(answers['0']['text'], '40')
                self.assertIsNotNone(answers['1']['error'])
                seen = observer.wait(pid=answers['ready']['pid'], operation='tools/call', count=2)
                found = {tuple(t['name'] for t in e['tool_calls']): (e['kind'], e['verdict']['action']) for e in seen}
                self.assertEqual(found, {('add',): ('mcp', 'allow'), ('erase',): ('mcp', 'deny')})
        with open(log) as f:
            self.assertEqual([json.loads(line)['called'] for line in f], ['add', 'add'])
