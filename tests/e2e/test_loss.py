"""Generated = captured + counted as lost, exactly, when the ring is made too small on purpose; the affected exchanges say
`incomplete`."""
import os
import signal

import harness


class Loss(harness.Case):
    def counters(self):
        """{name: sum over labels}"""
        out = {}
        for c in self.daemon.get('counters').get('counters', []):
            out[c['name']] = out.get(c['name'], 0) + c['value']
        return out

    def test_every_lost_byte_is_counted(self):
        self.start_daemon(arguments=['--ring-bytes', 64 * 1024])
        observer = self.observe()
        clients = [self.client(kind, [{'id': f'{kind}-{i}', 'script': f'in={i + 1};out=9;chunks=40;chunk_bytes=300'}
                                      for i in range(40)], stream=True, concurrency=4, wait=True, prompt_bytes=20_000)
                   for kind in ('python_sync', 'python_asyncio', 'node_https')]
        for client in clients:
            client.ready()
        # A stopped daemon reads nothing: the ring is full after a few answers, whatever the speed of the machine.
        os.kill(self.daemon.process.pid, signal.SIGSTOP)
        for client in clients:
            client.go(20)
        for client in clients:
            for i in range(20):
                self.assertIsNone(client.answer(f'{client.kind}-{i}')['error'])
        os.kill(self.daemon.process.pid, signal.SIGCONT)
        for client in clients:
            client.go(20)
        for client in clients:
            client.finish()
        self.provider.wait('end', len({e['conn'] for e in self.provider.events('open')}))

        generated = sum(e['plain_bytes'] + e['sent_bytes'] for e in self.provider.events('end'))
        harness.rig.wait_until(
            lambda: (c := self.counters()).get('plaintext_bytes_captured', 0) + c.get('plaintext_bytes_lost', 0) >= generated,
            lambda: f'{generated} bytes generated, counters {self.counters()}')
        counters = self.counters()
        self.assertGreater(counters['plaintext_bytes_lost'], 0, 'nothing was lost: the ring was not too small')
        self.assertEqual(counters['plaintext_bytes_captured'] + counters['plaintext_bytes_lost'], generated)
        self.assertEqual(counters['events_generated'], counters['events_captured'] + counters['events_lost'])

        losses = self.daemon.get('status')['losses']
        self.assertGreater(losses['events_lost'], 0)
        self.assertGreater(losses['gaps'], 0)
        touched = [e for e in observer.exchanges if e.get('coverage', {}).get('lost_bytes', 0) > 0]
        self.assertEqual({e['usage_status'] for e in touched}, {'incomplete'})
        self.assertEqual(losses['incomplete_exchanges'], len(touched))
        # What is claimed to be exact is.
        sent = {a['response_id']: a for a in self.provider.events('answer')}
        for exchange in observer.exchanges:
            if exchange['usage_status'] == 'exact':
                told = sent[exchange['response_id']]['usage']
                self.assertEqual({k: exchange['usage'][k] for k in told}, told)
