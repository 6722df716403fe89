"""`kill` on one agent ends its live AI connections and refuses new ones while a neighbour with the same binary is
untouched; `release` restores it."""
import harness


class Kill(harness.Case):
    def setUp(self):
        super().setUp()
        self.scopes = {name: self.scope(name) for name in ('red', 'blue')}
        agents = ''.join(f'  - {{ name: {name}, match: {{ cgroup: "{scope.path}" }} }}\n' for name, scope in self.scopes.items())
        self.start_daemon(config=f'agents:\n{agents}')

    def streaming(self, kind, clear):
        """One client per agent in the middle of a stream: {agent: client}."""
        clients = {}
        for agent, scope in self.scopes.items():
            names = [f'{agent}-{kind}-{i}' for i in range(4)]
            requests = [{'id': names[0], 'script': 'step=1;chunks=4;in=5;out=6'}] + [{'id': n} for n in names[1:]]
            clients[agent] = self.client(kind, requests, scope=scope, stream=True, wait=True, clear=clear)
            clients[agent].go()
            self.provider.permit(names[0], 2)
            self.provider.wait('chunk', 2, id=names[0])
        return clients

    def check(self, kind, clear=False):
        observer = self.observe()
        clients = self.streaming(kind, clear)
        red, blue = clients['red'], clients['blue']
        self.daemon.must('kill', 'agent=red', '--reason', 'runs away')

        ended = self.provider.wait('end', conn=self.provider.events('request', id=f'red-{kind}-0')[0]['conn'])[0]
        self.assertEqual(ended['how'], 'reset')
        self.assertIsNotNone(red.answer(f'red-{kind}-0')['error'])
        self.provider.permit(f'blue-{kind}-0', 2)
        self.assertIsNone(blue.answer(f'blue-{kind}-0')['error'])

        red.go()
        self.assertIsNotNone(red.answer(f'red-{kind}-1')['error'])
        self.assertEqual(self.provider.events('request', id=f'red-{kind}-1'), [])
        blue.go()
        self.assertIsNone(blue.answer(f'blue-{kind}-1')['error'])
        self.assertEqual([k['selector'] for k in self.daemon.get('kills')['kills']], [{'agent': 'red'}])

        self.daemon.must('release', 'agent=red', '--reason', 'fixed')
        red.go()
        self.assertIsNone(red.answer(f'red-{kind}-2')['error'])
        exchange = observer.wait(agent='red', response_id=self.told(f'red-{kind}-2')['response_id'])[0]
        self.assertEqual(exchange['verdict']['action'], 'allow')
        cut = observer.wait(agent='red', response_id=self.told(f'red-{kind}-0')['response_id'])[0]
        self.assertEqual(cut['verdict']['action'], 'kill')
        for client in clients.values():
            client.stop()

    def test_every_client(self):
        for kind in harness.rig.CLIENTS:
            with self.subTest(kind=kind):
                self.check(kind)

    def test_cleartext(self):
        for kind in ('curl', 'python_asyncio', 'node_fetch', 'bun', 'go'):
            with self.subTest(kind=kind):
                self.check(kind, clear=True)

    def test_a_kill_survives_the_daemon(self):
        self.daemon.must('kill', 'agent=red', '--reason', 'test')
        self.daemon.kill9()
        request = [{'id': 'while-dead'}]
        answer = self.client('python_sync', request, scope=self.scopes['red']).finish()['while-dead']
        self.assertIsNotNone(answer['error'])
        self.daemon.start()
        self.assertEqual([k['selector'] for k in self.daemon.get('kills')['kills']], [{'agent': 'red'}])
        answer = self.client('python_sync', [{'id': 'after'}], scope=self.scopes['red']).finish()['after']
        self.assertIsNotNone(answer['error'])
        self.assertEqual(self.provider.events('request'), [])
        self.daemon.must('release', 'agent=red', '--reason', 'test')
        self.assertIsNone(self.client('python_sync', [{'id': 'back'}], scope=self.scopes['red']).finish()['back']['error'])
