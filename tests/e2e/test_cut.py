"""A stream that passes its budget is cut: an error for the client, a reset for the server, at most one chunk beyond the
limit, and the ledger keeps the upper estimate; what follows is refused."""
import harness

LIMIT = 1000


class Cut(harness.Case):
    def begin(self):
        self.scope_ = self.scope('cut')
        self.start_daemon(policies=f'kind: Policy\nname: cut\nmatch: {{ cgroup: "{self.scope_.path}" }}\nmode: enforce\nbudgets:\n'
                                   f'  - {{ name: t, tokens: {LIMIT}, on_breach: deny, on_stream: cut }}\n')

    def check_cut(self, name, client, chunks):
        """`chunks`: content events the server may have sent."""
        aborted = self.provider.wait('aborted', id=name)[0]
        self.assertLessEqual(aborted['chunks'], chunks)
        conn = self.provider.events('request', id=name)[0]['conn']
        self.assertEqual(self.provider.wait('end', conn=conn)[0]['how'], 'reset')
        self.assertIsNotNone(client.answer(name)['error'])

    def test_cut_at_the_chunk_that_passes_the_limit(self):
        self.begin()
        observer = self.observe()
        for kind in ('python_sync', 'python_asyncio', 'node_fetch', 'node_https', 'openai_sdk', 'anthropic_sdk', 'curl'):
            with self.subTest(kind=kind):
                # The second event alone is worth more than the limit however tokens are counted; the third never gets a permit
                # from this test, so the cut cannot be the work of a later chunk.
                self.daemon.must('budget', 'reset', 't')
                name = f'cut-{kind}'
                client = self.client(kind, [{'id': name, 'script': 'step=1;chunks=9;chunk_bytes=40;big_at=1;big_bytes=30000'},
                                            {'id': f'{name}-next'}],
                                     scope=self.scope_, stream=True, wait=True, max_tokens=100)
                client.go()
                self.provider.permit(name, 2)
                self.check_cut(name, client, 2)
                exchange = observer.wait(pid=client.answer(name)['pid'])[0]
                self.assertEqual(exchange['verdict']['action'], 'cut')
                self.assertEqual((exchange['verdict']['policy'], exchange['verdict']['reason']), ('cut', 'budget'))
                self.assertEqual(exchange['usage_status'], 'estimated')
                tokens = harness.rig.wait_until(
                    lambda: (b := self.daemon.budget('t')['tokens'])['reserved'] == 0 and b, lambda: self.daemon.budget('t'))
                self.assertGreater(tokens['spent'], LIMIT, 'the upper estimate')
                # An SDK's retry does not spend either.
                client.go()
                self.assertIsNotNone(client.answer(f'{name}-next')['error'])
                self.assertEqual(self.provider.events('request', id=f'{name}-next'), [])

    def test_a_running_stream_does_not_reach_its_end(self):
        self.begin()
        client = self.client('python_sync', [{'id': 'long', 'script': 'chunks=2000;chunk_bytes=100;delay_ms=2'}],
                             scope=self.scope_, stream=True, max_tokens=100)
        answer = client.finish()['long']
        self.check_cut('long', client, 1999)
        # The answer's text at four bytes or more per token, with the chunk that passed the limit and the one under way.
        self.assertGreater(answer['text_bytes'], 0)

    def test_a_stream_within_its_budget_is_left_alone(self):
        self.begin()
        client = self.client('python_sync', [{'id': 'short', 'script': 'chunks=20;in=100;out=80;chunk_bytes=12'}],
                             scope=self.scope_, stream=True, max_tokens=100)
        answer = client.finish()['short']
        self.assertIsNone(answer['error'])
        harness.rig.wait_until(lambda: self.daemon.budget('t')['tokens']['spent'] == 180, lambda: self.daemon.budget('t'))
