"""Hard limits: 8 processes × 8 connections race for a budget that admits exactly N requests; the server sees N."""
import harness

LIMIT = 20
KINDS = ['python_sync', 'python_sync', 'python_sync', 'python_asyncio', 'python_asyncio', 'node_https', 'node_https', 'node_fetch']
CONNECTIONS = 8
ALL = len(KINDS) * CONNECTIONS


class HardLimit(harness.Case):
    def policy(self, scope, on_breach):
        return (f'kind: Policy\nname: hard\nmatch: {{ cgroup: "{scope.path}" }}\nmode: strict\nbudgets:\n'
                f'  - {{ name: n, requests: {LIMIT}, on_breach: {on_breach} }}\n')

    def race(self, scope, tag):
        """All processes are up and wait; then all go at once."""
        clients = [self.client(kind, [{'id': f'{tag}-{p}-{i}', 'script': 'in=3;out=4'} for i in range(CONNECTIONS)],
                               scope=scope, concurrency=CONNECTIONS, wait=True, timeout_s=300)
                   for p, kind in enumerate(KINDS)]
        for client in clients:
            client.ready()
        for client in clients:
            client.go(CONNECTIONS)
        return clients

    def arrived(self, tag):
        return [r for r in self.provider.events('request') if r['id'].startswith(f'{tag}-')]

    def finish(self, clients):
        answers = {}
        for client in clients:
            answers.update(client.finish())
        self.assertEqual(len(answers), ALL)
        return answers

    def test_refused_beyond_the_limit_in_twenty_races(self):
        scope = self.scope('deny')
        self.start_daemon(policies=self.policy(scope, 'deny'))
        for race in range(20):
            with self.subTest(race=race):
                answers = self.finish(self.race(scope, race))
                arrived = self.arrived(race)
                self.assertEqual(len(arrived), LIMIT)
                self.assertEqual({r['id'] for r in arrived}, {a['id'] for a in answers.values() if a['error'] is None})
                harness.rig.wait_until(lambda: self.daemon.budget('n')['requests']['spent'] == LIMIT,
                                       lambda: self.daemon.budget('n'))
                self.daemon.must('budget', 'reset', 'n')
                harness.rig.wait_until(lambda: (self.daemon.budget('n') or {}).get('requests', {}).get('spent', 0) == 0,
                                       lambda: self.daemon.budget('n'))

    def test_held_beyond_the_limit_until_it_is_raised(self):
        scope = self.scope('hold')
        self.start_daemon(policies=self.policy(scope, 'hold'))
        clients = self.race(scope, 'held')
        harness.rig.wait_until(lambda: len(self.daemon.held()) == ALL - LIMIT, lambda: f'{len(self.daemon.held())} held', 60)
        self.provider.wait('done', LIMIT)
        self.assertEqual(len(self.arrived('held')), LIMIT)
        self.daemon.must('budget', 'set', 'n', '--requests', ALL)
        for answer in self.finish(clients).values():
            self.assertIsNone(answer['error'], answer)
        self.assertEqual(len(self.arrived('held')), ALL)

    def test_tokens_never_pass_a_strict_limit(self):
        limit = 20_000
        scope = self.scope('tokens')
        self.start_daemon(policies=f'kind: Policy\nname: hard\nmatch: {{ cgroup: "{scope.path}" }}\nmode: strict\nbudgets:\n'
                                   f'  - {{ name: t, tokens: {limit}, on_breach: deny }}\n')
        clients = [self.client('python_asyncio', [{'id': f't-{p}-{i}', 'script': 'in=60;out=500'} for i in range(40)], scope=scope,
                               concurrency=CONNECTIONS, max_tokens=500) for p in range(4)]
        answers = {}
        for client in clients:
            answers.update(client.finish())
        served = [a for a in answers.values() if a['error'] is None]
        self.assertGreater(len(served), 0)
        self.assertLess(len(served), len(answers))
        self.assertLessEqual(sum(a['usage']['in'] + a['usage']['out'] for a in served), limit)
