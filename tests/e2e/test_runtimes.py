"""Every runtime's plaintext, by unmodified programs over real TLS: exact usage, the right process and socket, attached before
and during the connection, and the gate: allow, hold, deny, cut."""
import json

import harness
import rig

import os
RUNTIMES = os.environ.get('RT_KINDS', '').split() or list(rig.RUNTIMES)
ONE_REQUEST_PER_CONNECTION = ('wget',)


class Runtimes(harness.Case):
    def start(self, **options):
        self.start_daemon(images=[rig.program(rig.RUNTIMES[k][0]) for k in RUNTIMES], **options)
        return self.observe()

    def clients(self, tag, count, **plan):
        out, number = [], 0
        for kind in RUNTIMES:
            for api in rig.RUNTIMES[kind][2]:
                for stream in (False, True):
                    requests = []
                    for i in range(count):
                        number += 1
                        requests.append({'id': f'{tag}-{kind}-{api}-{int(stream)}-{i}',
                                         'script': f'in={1000 + number};out={2000 + number};cached={number};chunks=5;gzip={number % 2}'})
                    out.append(self.client(kind, requests, api=api, stream=stream, wait=True, **plan))
        for client in out:
            client.ready()
        return out

    def step(self, clients, index):
        """Every client sends its request `index`; returns {request id: (answer, socket cookie as the host knows it)}."""
        for client in clients:
            client.go()
        out = {}
        for client in clients:
            name = client.requests[index]['id']
            answer = client.answer(name)
            self.assertIsNone(answer['error'], answer)
            out[name] = (answer, harness.socket_cookie(self.provider.events('request', id=name)[0]['peer_port']))
        return out

    def check(self, observer, answers):
        for name, (answer, cookie) in answers.items():
            with self.subTest(request=name):
                exchange = observer.wait(response_id=self.told(name)['response_id'], timeout=5)[0]
                self.assert_same(exchange, name)
                self.assertEqual(exchange['pid'], answer['pid'])
                if cookie is not None:  # the connection is still open
                    self.assertEqual(exchange['connection'], cookie)
                self.assertEqual(exchange.get('coverage', {}).get('lost_bytes', 0), 0)

    def test_fresh(self):
        observer = self.start()
        clients = self.clients('fresh', 2)
        answers = self.step(clients, 0)
        answers.update(self.step(clients, 1))
        self.check(observer, answers)

    def test_attached_mid_connection(self):
        clients = [c for c in self.clients('attached', 3) if c.kind not in ONE_REQUEST_PER_CONNECTION]
        self.step(clients, 0)
        observer = self.start()
        answers = self.step(clients, 1)
        answers.update(self.step(clients, 2))
        self.check(observer, answers)

    def test_the_gate_allows_holds_and_denies(self):
        scope = self.scope('runtimes')
        observer = self.start(policies=f'kind: Policy\nname: gate\nmatch: {{ cgroup: "{scope.path}" }}\nmode: enforce\nrules:\n'
                                       '  - { deny: { model: "gpt-4o" } }\n  - { approve: { model: "gpt-4.1" }, hold: 10m }\n')
        clients = []
        for kind in RUNTIMES:
            requests = [{'id': f'{kind}-allowed', 'model': 'gpt-4o-mini'}, {'id': f'{kind}-held', 'model': 'gpt-4.1'},
                        {'id': f'{kind}-denied', 'model': 'gpt-4o'}]
            clients.append(self.client(kind, requests, scope=scope, wait=True, prompt_bytes=100_000, timeout_s=300))
        for client in clients:
            client.go()
        for client in clients:
            with self.subTest(kind=client.kind, step='allow'):
                answer = client.answer(f'{client.kind}-allowed')
                self.assertIsNone(answer['error'], answer)
                self.assertEqual(self.provider.events('request', id=answer['id'])[0]['body_sha256'], answer['sha256'])
                exchange = observer.wait(response_id=self.told(answer['id'])['response_id'], timeout=5)[0]
                self.assertEqual(exchange['verdict']['action'], 'allow')
                self.assertGreater(exchange['verdict']['gate_ns'], 0, 'it was not gated')
        for client in clients:
            client.go()
        harness.rig.wait_until(lambda: len(self.daemon.held()) == len(clients), lambda: f'held: {json.dumps(self.daemon.held())}')
        for client in clients:
            self.assertEqual(self.provider.events('request', id=f'{client.kind}-held'), [])
        for connection in self.provider.connections().values():
            self.assertEqual(connection['leftover_bytes'], 0, connection)
        self.daemon.must('release', 'all', '--reason', 'test')
        for client in clients:
            with self.subTest(kind=client.kind, step='hold'):
                answer = client.answer(f'{client.kind}-held')
                self.assertIsNone(answer['error'], answer)
                self.assertEqual(self.provider.events('request', id=answer['id'])[0]['body_sha256'], answer['sha256'])
            client.go()
        for client in clients:
            with self.subTest(kind=client.kind, step='deny'):
                answer = client.answer(f'{client.kind}-denied')
                self.assertIsNotNone(answer['error'], answer)
                self.assertEqual(self.provider.events('request', id=answer['id']), [])

    def test_a_stream_over_its_budget_is_cut(self):
        scope = self.scope('runtimes')
        observer = self.start(policies=f'kind: Policy\nname: cut\nmatch: {{ cgroup: "{scope.path}" }}\nmode: enforce\nbudgets:\n'
                                       '  - { name: t, tokens: 1000, on_breach: deny, on_stream: cut }\n')
        for kind in RUNTIMES:
            with self.subTest(kind=kind):
                self.daemon.must('budget', 'reset', 't')
                name = f'cut-{kind}'
                client = self.client(kind, [{'id': name, 'script': 'step=1;chunks=9;chunk_bytes=40;big_at=1;big_bytes=30000'}],
                                     scope=scope, stream=True, max_tokens=100)
                self.provider.permit(name, 2)
                aborted = self.provider.wait('aborted', id=name)[0]
                self.assertLessEqual(aborted['chunks'], 2)
                self.assertIsNotNone(client.answer(name)['error'])
                exchange = observer.wait(pid=client.answer(name)['pid'])[0]
                self.assertEqual(exchange['verdict']['action'], 'cut')
                self.assertEqual(exchange['usage_status'], 'estimated')
