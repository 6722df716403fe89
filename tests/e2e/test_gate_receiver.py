"""Judged by the receiver: of 1,000 gated requests, half denied, no byte of a denied one is decrypted by the server, and
every allowed one arrives intact, in order, on its own connection."""
import harness

ALLOWED, DENIED = 'gpt-4o-mini', 'gpt-4o'
# client -> (processes, connections per process, requests per process); together 1,000
LOAD = {'python_sync': (2, 4, 120), 'python_asyncio': (2, 8, 140), 'node_https': (2, 4, 120), 'node_fetch': (2, 4, 60),
        'openai_sdk': (1, 4, 80), 'curl': (1, 4, 40)}


class Receiver(harness.Case):
    def policy(self, scope, mode):
        return (f'kind: Policy\nname: half\nmatch: {{ cgroup: "{scope.path}" }}\nmode: {mode}\n'
                f'rules:\n  - {{ deny: {{ model: "{DENIED}" }} }}\n')

    def load(self, scope, **plan):
        clients = []
        for kind, (processes, connections, count) in LOAD.items():
            for p in range(processes):
                # A body of a few bytes, of several TLS records, and of more than a socket buffer usually holds at once.
                requests = [{'id': f'{kind}-{p}-{i}', 'model': DENIED if (i // connections) % 2 else ALLOWED,
                             'script': f'in={i + 1};out={i + 2}'} for i in range(count)]
                clients.append(self.client(kind, requests, scope=scope, concurrency=connections,
                                           prompt_bytes=(200, 40_000, 300_000)[len(clients) % 3], **plan))
        return clients

    def judge(self, clients, answers):
        requests = {r['id']: r for c in clients for r in c.requests}
        allowed = {name for name, r in requests.items() if r['model'] == ALLOWED}
        arrived = self.provider.events('request')
        self.assertEqual({r['id'] for r in arrived}, allowed)
        self.assertEqual(len(arrived), len(allowed), 'a request arrived twice')
        for connection in self.provider.connections().values():
            # Every decrypted byte belongs to a whole, allowed request.
            self.assertEqual(connection['leftover_bytes'], 0, connection)
            mine = [r for r in arrived if r['conn'] == connection['conn']]
            self.assertEqual(connection['plain_bytes'], sum(r['head_bytes'] + r['body_bytes'] for r in mine), connection)
        for request in arrived:
            answer = answers[request['id']]
            self.assertIsNone(answer['error'], answer)
            self.assertEqual(request['body_sha256'], answer['sha256'])
            self.assertEqual(request['peer_port'], answer['port'])
        for name in requests.keys() - allowed:
            self.assertIsNotNone(answers[name]['error'], answers[name])
        # A worker sends in order; some clients lend a connection to another worker in between (undici's pool).
        order = {}
        for request in arrived:
            kind, _, index = request['id'].rpartition('-')
            worker = int(index) % LOAD[kind.rpartition('-')[0]][1]
            order.setdefault((request['conn'], kind, worker), []).append(int(index))
        for sent in order.values():
            self.assertEqual(sent, sorted(sent), 'requests of one connection out of order')

    def run_mode(self, mode):
        scope = self.scope('half')
        self.start_daemon(policies=self.policy(scope, mode))
        observer = self.observe()
        clients = self.load(scope)
        self.assertEqual(sum(len(c.requests) for c in clients), 1000)
        answers = {}
        for client in clients:
            answers.update(client.finish(300))
        self.judge(clients, answers)
        denied = [e for e in observer.wait(1000, timeout=60) if e['verdict']['action'] == 'deny']
        # curl tries a request again on a new connection when a reused one is reset: that one is denied as well.
        self.assertGreaterEqual(len(denied), sum(r['model'] == DENIED for c in clients for r in c.requests))
        for exchange in observer.exchanges:
            self.assertEqual(exchange['verdict']['action'], 'deny' if exchange['request_model'] == DENIED else 'allow')
            self.assertEqual(exchange['verdict']['policy'], 'half')
            self.assertGreater(exchange['verdict']['gate_ns'], 0, 'it was not gated')

    def test_enforce(self):
        self.run_mode('enforce')

    def test_strict(self):
        self.run_mode('strict')

    def test_nothing_but_the_handshake_arrives_while_requests_are_held(self):
        scope = self.scope('held')
        self.start_daemon(policies=f'kind: Policy\nname: held\nmatch: {{ cgroup: "{scope.path}" }}\nmode: enforce\n'
                                   'rules:\n  - { approve: { model: "*" }, hold: 10m }\n')
        clients = [self.client(kind, [{'id': f'{kind}-{i}'} for i in range(8)], scope=scope, concurrency=8, prompt_bytes=30_000)
                   for kind in ('curl', 'python_sync', 'python_asyncio', 'node_fetch', 'node_https')]
        harness.rig.wait_until(lambda: len(self.daemon.held()) == 40, lambda: f'40 held; {len(self.daemon.held())}', 60)
        connections = self.provider.connections()
        self.assertEqual(len(connections), 40)
        self.assertEqual({(c['raw_bytes'], c['plain_bytes']) for c in connections.values()}, {(0, 0)})
        self.daemon.must('release', 'all', '--reason', 'test')
        for client in clients:
            for answer in client.finish().values():
                self.assertIsNone(answer['error'], answer)
                self.assertEqual(self.provider.events('request', id=answer['id'])[0]['body_sha256'], answer['sha256'])
