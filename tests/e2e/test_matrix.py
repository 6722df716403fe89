"""Seven clients × plain and streamed × fresh and attached mid-connection: usage and model are the provider's, on the right
process and socket; and many concurrent connections are never mixed up."""
import harness
import rig


class Matrix(harness.Case):
    def all_clients(self, tag, count):
        """Every client in every API it speaks, plain and streamed, each with `count` waiting requests with counts of its own."""
        clients, number = [], 0
        for kind, (_, _, apis) in rig.CLIENTS.items():
            for api in apis:
                for stream in (False, True):
                    requests = []
                    for i in range(count):
                        number += 1
                        script = f'in={1000 + number};out={2000 + number};cached={number};chunks=5'
                        script += ';gzip=1' if number % 2 else ''
                        script += f';reasoning={number}' if api != 'messages' else f';cache_write={number}'
                        script += ';tools=search.web,files.read' if i == count - 1 else ''
                        requests.append({'id': f'{tag}-{kind}-{api}-{int(stream)}-{i}', 'script': script})
                    clients.append(self.client(kind, requests, api=api, stream=stream, wait=True))
        for client in clients:
            client.ready()
        return clients

    def check(self, observer, answers):
        for name, exchange in self.assert_observed(observer, answers).items():
            with self.subTest(request=name):
                self.assertEqual(exchange['kind'], 'llm')
                self.assertIn(exchange['price_status'], ('exact', 'alias'))
                self.assertGreater(exchange['cost_nano_usd'], 0)

    def test_fresh(self):
        self.start_daemon()
        observer = self.observe()
        clients = self.all_clients('fresh', 2)
        first = self.step(clients, 0)
        second = self.step(clients, 1)
        self.check(observer, {**first, **second})
        ports = [{first[c.requests[0]['id']][0]['port'], second[c.requests[1]['id']][0]['port']} for c in clients]
        self.assertTrue(all(len(p) == 1 for p in ports), 'keep-alive')

    def test_attached_mid_connection(self):
        clients = self.all_clients('attached', 3)
        before = self.step(clients, 0)
        self.start_daemon()
        observer = self.observe()
        second, third = self.step(clients, 1), self.step(clients, 2)
        self.check(observer, {**second, **third})
        for client in clients:
            names = [r['id'] for r in client.requests]
            ports = {before[names[0]][0]['port'], second[names[1]][0]['port'], third[names[2]][0]['port']}
            self.assertEqual(len(ports), 1, f'{client.kind}: the daemon was to be attached in the middle of a connection')

    def concurrent(self, kinds, per_kind):
        """All requests are at the provider before the first answer leaves, each on a connection of its own."""
        self.start_daemon()
        observer = self.observe()
        clients = []
        for k, kind in enumerate(kinds):
            for stream in (False, True):
                requests = [{'id': f'{kind}-{int(stream)}-{i}',
                             'script': f'in={10_000 * (k + 1) + 1000 * stream + i};out={i + 1 + 200 * stream};hold=1'}
                            for i in range(per_kind // 2)]
                clients.append(self.client(kind, requests, stream=stream, concurrency=len(requests)))
        names = [r['id'] for c in clients for r in c.requests]
        for name in names:
            self.provider.wait('request', id=name)
        for name in reversed(names):
            self.provider.permit(name)
        answers = {}
        for client in clients:
            answers.update(client.finish())
        self.assertEqual(len({a['port'] for a in answers.values()}), len(names))
        for name in names:
            exchange = observer.wait(response_id=self.told(name)['response_id'])[0]
            self.assert_same(exchange, name)
            self.assertEqual(exchange['pid'], answers[name]['pid'])
        pids = {a['pid'] for a in answers.values()}  # others on this machine may speak cleartext HTTP meanwhile
        self.assertEqual(len([e for e in observer.exchanges if e['pid'] in pids]), len(names))

    def test_sixty_connections_of_all_clients(self):
        self.concurrent(list(rig.CLIENTS), 10)

    def test_sixty_connections_of_one_event_loop(self):
        for kind in ('python_asyncio', 'node_fetch', 'python_sync'):
            with self.subTest(kind=kind):
                self.concurrent([kind], 60)
                self.daemon.stop()
