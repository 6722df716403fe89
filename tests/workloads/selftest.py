#!/usr/bin/python3
"""The workloads alone, with no product: every client against the fake provider, and the provider's log as the judge."""
import sys
import tempfile
import unittest

import rig


class Workload(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix='workloads-')
        cls.addClassCleanup(cls.folder.cleanup)

    def setUp(self):
        folder = tempfile.mkdtemp(dir=self.folder.name)
        self.provider = rig.Provider(folder)
        self.addCleanup(self.provider.stop)

    def client(self, kind, requests, **plan):
        host = rig.host_of(kind, plan.get('api', 'chat')) if kind in rig.RUNTIMES else 'fake.test'
        client = rig.Client(kind, self.provider.base(host), self.provider.ca, requests, **plan)
        self.addCleanup(client.stop)
        return client

    def check(self, client, answers):
        """What the client saw is what the provider says it sent, request by request, on the port the provider saw."""
        for request in client.requests:
            answer = answers[request['id']]
            told = self.provider.events('answer', id=request['id'])[0]
            seen = self.provider.events('request', id=request['id'])[0]
            self.assertIsNone(answer['error'], answer)
            self.assertEqual(answer['status'], told['status'])
            self.assertEqual(answer['model'], told['model'])
            self.assertEqual(answer['usage'], {'in': told['usage']['input_tokens'], 'out': told['usage']['output_tokens']})
            if answer['port']:  # not every runtime tells
                self.assertEqual(answer['port'], seen['peer_port'], answer)
            self.assertEqual(answer['sha256'], seen['body_sha256'], answer)

    def test_every_client_plain_and_streamed_on_one_connection(self):
        for kind, (_, _, apis) in rig.CLIENTS.items():
            for api in apis:
                for stream in (False, True):
                    with self.subTest(kind=kind, api=api, stream=stream):
                        tag = f'{kind}-{api}-{int(stream)}'
                        requests = [{'id': f'{tag}-{i}', 'script': f'in={100 + i};out={50 + i};cached={i};gzip={i % 2};chunk_bytes=9'}
                                    for i in range(3)]
                        client = self.client(kind, requests, api=api, stream=stream)
                        answers = client.finish()
                        self.check(client, answers)
                        self.assertEqual(len({a['port'] for a in answers.values()}), 1, 'keep-alive')
                        for a in answers.values():
                            self.assertEqual(a['text_bytes'], 36)

    def test_every_runtime_plain_and_streamed(self):
        for kind, (_, _, apis) in rig.RUNTIMES.items():
            for stream in (False, True):
                with self.subTest(kind=kind, stream=stream):
                    requests = [{'id': f'{kind}-{int(stream)}-{i}', 'script': f'in={100 + i};out={50 + i};gzip={i % 2}'} for i in range(3)]
                    client = self.client(kind, requests, api=apis[0], stream=stream)
                    self.check(client, client.finish())
                    conns = {self.provider.events('request', id=r['id'])[0]['conn'] for r in requests}
                    # Deno's fetch may still be giving the connection back when the next request looks for one.
                    expected = {'wget': [3], 'deno': [1, 2, 3]}.get(kind, [1])
                    self.assertIn(len(conns), expected, 'keep-alive')
                    protocol = self.provider.events('handshake', conn=conns.pop())[0]['alpn']
                    self.assertEqual(protocol == 'h2', kind.endswith('_h2'), protocol)

    def test_every_client_waits_between_requests(self):
        for kind in rig.CLIENTS:
            with self.subTest(kind=kind):
                requests = [{'id': f'{kind}-{i}'} for i in range(3)]
                client = self.client(kind, requests, stream=True, wait=True)
                client.ready()
                client.go()
                client.answer(requests[0]['id'])
                self.assertEqual(self.provider.events('request', id=requests[1]['id']), [])
                client.go()
                client.answer(requests[1]['id'])
                client.process.stdin.close()
                answers = client.finish()
                client.requests = requests[:2]
                self.check(client, answers)
                self.assertEqual(len({a['port'] for a in answers.values()}), 1)

    def test_sixty_concurrent_connections(self):
        for kind in rig.CLIENTS:
            with self.subTest(kind=kind):
                requests = [{'id': f'{kind}-{i}', 'script': f'in={1000 + i};out={i + 1};hold=1'} for i in range(60)]
                client = self.client(kind, requests, concurrency=60)
                for request in requests:
                    self.provider.wait('request', id=request['id'])
                for request in requests:
                    self.provider.permit(request['id'])
                answers = client.finish()
                self.check(client, answers)
                self.assertEqual(len({a['port'] for a in answers.values()}), 60)

    def test_failures_reach_every_client(self):
        for kind in rig.CLIENTS:
            with self.subTest(kind=kind):
                requests = [{'id': f'{kind}-429', 'script': 'status=429;retry_after=7'}, {'id': f'{kind}-500', 'script': 'status=500'},
                            {'id': f'{kind}-error', 'script': 'error_at=2'}, {'id': f'{kind}-reset', 'script': 'reset_at=2'}]
                answers = self.client(kind, requests, stream=True).finish()
                self.assertEqual([answers[r['id']]['status'] for r in requests[:2]], [429, 500])
                for request in requests:
                    self.assertIsNotNone(answers[request['id']]['error'], answers[request['id']])

    def test_usage_is_omitted_on_demand(self):
        for kind in rig.CLIENTS:
            for stream in (False, True):
                with self.subTest(kind=kind, stream=stream):
                    request = {'id': f'{kind}-{stream}', 'script': 'usage=never'}
                    answers = self.client(kind, [request], stream=stream).finish()
                    self.assertIsNone(answers[request['id']]['usage'])
                    self.assertIsNone(self.provider.events('answer', id=request['id'])[0]['usage'])

    def test_a_client_that_goes_away_is_logged_with_what_it_left(self):
        client = self.client('python_sync', [{'id': 'gone', 'script': 'step=1;chunks=9'}], stream=True)
        self.provider.permit('gone', 2)
        self.provider.wait('chunk', 2, id='gone')
        client.stop()
        end = self.provider.wait('end')[0]
        self.assertEqual((end['requests'], end['leftover_bytes']), (1, 0))
        self.assertEqual(self.provider.wait('aborted', id='gone')[0]['chunks'], 2)

    def test_a_plan_longer_than_an_argument_may_be(self):
        for kind in ('python_asyncio', 'node_https'):
            requests = [{'id': f'{kind}-{i}', 'script': 'in=3;out=4' + ';' * 400} for i in range(400)]
            client = self.client(kind, requests, concurrency=4)
            self.check(client, client.finish())

    def test_large_chunked_upload_arrives_whole(self):
        request = {'id': 'large'}
        client = self.client('curl', [request], wait=True, prompt_bytes=3_000_000)
        client.go()
        client.finish()
        self.assertGreater(self.provider.events('request', id='large')[0]['body_bytes'], 3_000_000)


if __name__ == '__main__':
    rig.enter_sandbox()
    unittest.main(argv=[sys.argv[0], *sys.argv[1:]], verbosity=2)
