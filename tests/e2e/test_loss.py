"""Generated = captured + counted as lost, exactly, when the ring is made too small on purpose; the affected exchanges say
`incomplete`."""
import os
import signal

import harness


class Loss(harness.Case):
    def test_every_lost_byte_is_counted(self):
        self.start_daemon(arguments=['--ring-bytes', 64 * 1024])
        observer = self.observe()
        # The provider is observed as well, until its side of a connection is recognised: at its first one, after a few calls.
        self.client('python_sync', [{'id': 'warm', 'script': 'in=1;out=1'}]).finish()
        self.provider.wait('end', 1)
        harness.rig.wait_until(lambda: self.daemon.counters().get('exchanges') == 1, lambda: f'the warm-up: {self.daemon.counters()}')
        before = self.daemon.counters()
        clients = [self.client(kind, [{'id': f'{kind}-{i}', 'script': f'in={i + 1};out=9;chunks=40;chunk_bytes=300'}
                                      for i in range(40)], stream=True, concurrency=4, wait=True, prompt_bytes=20_000)
                   for kind in ('python_sync', 'python_asyncio', 'node_https')]
        for client in clients:
            client.ready()
        # A stopped daemon reads nothing: the ring is full after a few answers, whatever the speed of the machine.
        os.kill(self.daemon.process.pid, signal.SIGSTOP)
        self.addCleanup(os.kill, self.daemon.process.pid, signal.SIGCONT)  # it could not end otherwise
        for client in clients:
            client.go(20)
        for client in clients:
            harness.rig.wait_until(lambda c=client: len(c.answers) == 20, lambda c=client: f'20 answers of {c.kind}; has {len(c.answers)}')
            self.assertEqual([a for a in client.answers if a['error'] is not None], [])
        os.kill(self.daemon.process.pid, signal.SIGCONT)
        for client in clients:
            client.go(20)
        for client in clients:
            client.finish()
        self.provider.wait('end', len({e['conn'] for e in self.provider.events('open')}))

        ends = self.provider.events('end')
        generated = sum(e['plain_bytes'] + e['sent_bytes'] for e in ends if e['conn'] != ends[0]['conn'])

        def grown():
            now = self.daemon.counters()
            return {name: now[name] - before[name] for name in now}

        def lost(c):
            return sum(c[f'kernel_lost_{why}_bytes'] for why in ('ring', 'fault', 'rate'))
        harness.rig.wait_until(lambda: (c := grown())['kernel_sent_bytes'] + lost(c) >= generated,
                               lambda: f'{generated} bytes generated, counters {grown()}')
        counters = grown()
        self.assertGreater(lost(counters), 0, 'nothing was lost: the ring was not too small')
        self.assertEqual(counters['kernel_sent_bytes'] + lost(counters), generated)

        # What is claimed to be exact is; every other one says that something is missing.
        # One whose request was lost may not be known as an AI exchange any more.
        harness.rig.wait_until(lambda: self.daemon.counters()['ai_exchanges'] == len(observer.exchanges),
                               lambda: f'the observer has {len(observer.exchanges)} of {self.daemon.counters()}')
        counters = self.daemon.counters()
        unknown = counters['exchanges'] - counters['ai_exchanges']
        losses = self.daemon.get('status')['losses']
        self.assertGreater(losses['events_lost'], 0)
        self.assertGreater(losses['gaps'], 0)
        sent = {a['response_id']: a for a in self.provider.events('answer')}
        exact = [e for e in observer.exchanges if e['usage_status'] == 'exact']
        touched = [e for e in observer.exchanges if e['usage_status'] != 'exact']
        for exchange in exact:
            told = sent[exchange['response_id']]['usage']
            self.assertEqual({k: exchange['usage'][k] for k in told}, told)
            self.assertEqual(exchange.get('coverage', {}).get('lost_bytes', 0), 0)
        self.assertEqual([e for e in touched if e['usage_status'] != 'incomplete'], [])
        self.assertTrue(len(touched) <= losses['incomplete_exchanges'] <= len(touched) + unknown, (losses, len(touched), unknown))
        self.assertGreater(len(touched), 0)
