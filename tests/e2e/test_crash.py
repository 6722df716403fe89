"""`kill -9` of the daemon under load, 50 times at random moments: no blocked request reaches the server, `on_failure` is
applied, no acknowledged spend is forgotten, and after a restart everything goes on."""
import json
import os
import random
import subprocess

import harness

ALLOWED, DENIED = 'gpt-4o-mini', 'gpt-4o'
KILLS = 50


class Crash(harness.Case):
    def policy(self, scope, on_failure, extra=''):
        return (f'kind: Policy\nname: crash\nmatch: {{ cgroup: "{scope.path}" }}\nmode: enforce\non_failure: {on_failure}\n'
                f'deadline: 300ms\nbudgets:\n  - {{ name: n, requests: 10M }}\n  - {{ name: t, tokens: 1000M }}\n'
                f'rules:\n  - {{ deny: {{ model: "{DENIED}" }} }}\n{extra}')

    CONFIG = 'defaults: { heartbeat_timeout: 500ms }\n'

    def spent(self):
        return {name: b[unit]['spent'] if (b := self.daemon.budget(name)) else 0
                for name, unit in (('n', 'requests'), ('t', 'tokens'))}

    def test_fifty_kills_under_load(self):
        seed = int(os.environ.get('PENSTOCK_SEED', random.randrange(10**6)))
        print(f'PENSTOCK_SEED={seed}', flush=True)
        moments = random.Random(seed)
        scope = self.scope('crash')
        self.start_daemon(policies=self.policy(scope, 'hold-last'), config=self.CONFIG)

        def load(kind, tag):
            requests = [{'id': f'{tag}-{i}', 'model': DENIED if i % 3 == 2 else ALLOWED, 'script': 'in=11;out=7'}
                        for i in range(20_000)]
            return self.client(kind, requests, scope=scope, concurrency=4, stream=tag.endswith('s'), timeout_s=20)

        clients = [load('python_asyncio', 'a'), load('python_asyncio', 'as'), load('node_https', 'hs'), load('python_sync', 'p')]
        before = self.spent()
        for kill in range(KILLS):
            arrived = len(self.provider.events('request'))
            self.provider.wait('request', arrived + moments.randrange(1, 60), timeout=60)
            before = self.spent()
            for _ in range(moments.randrange(0, 200)):
                self.provider.events('request')  # a random moment between two polls, not a round one
            self.daemon.kill9()
            self.daemon.start()
            after = self.spent()
            for name, amount in before.items():
                self.assertGreaterEqual(after[name], amount, f'budget {name} forgot after kill {kill}')
        arrived = len(self.provider.events('request'))
        self.provider.wait('request', arrived + 20, timeout=60)
        for client in clients:
            client.stop()

        self.assertEqual([r for r in self.provider.events('request') if r['model'] == DENIED], [])
        for connection in self.provider.connections().values():
            self.assertNotIn(DENIED + '"', connection['leftover'])
        # Whatever the server took was reserved before it left, and reservations of a dead daemon are charged.
        served = self.provider.events('request')
        harness.rig.wait_until(lambda: self.spent()['n'] >= len(served), lambda: f'{self.spent()} for {len(served)} requests')
        self.assertGreaterEqual(self.spent()['t'], 18 * len(self.provider.events('done')))
        observer = self.observe()
        client = self.client('node_fetch', [{'id': 'after', 'script': 'in=3;out=2'}], scope=scope)
        self.assertIsNone(client.finish()['after']['error'])
        self.assert_same(observer.wait(response_id=self.told('after')['response_id'])[0], 'after')

    def while_dead(self, on_failure, extra='', passes=0):
        """While no daemon runs, `passes` requests go out and one more does not; the daemon that comes back ends it with an
        error (the kernel alone holds and refuses, it cannot break a connection), and serves the next."""
        scope = self.scope(on_failure)
        self.start_daemon(policies=self.policy(scope, on_failure, extra), config=self.CONFIG)
        client = self.client('python_sync', [{'id': f'{on_failure}-{i}'} for i in range(passes + 3)], scope=scope, wait=True, timeout_s=60)
        client.go()
        self.assertIsNone(client.answer(f'{on_failure}-0')['error'])
        self.daemon.kill9()
        for i in range(1, passes + 1):
            client.go()
            self.assertIsNone(client.answer(f'{on_failure}-{i}')['error'], 'on the lease')
        refused = f'{on_failure}-{passes + 1}'
        client.go()
        harness.rig.wait_until(lambda: self.expired() > 0, 'the kernel to apply on_failure by itself')
        self.assertEqual(self.provider.events('request', id=refused), [])
        self.daemon.start()
        self.assertIsNotNone(client.answer(refused)['error'])
        self.assertEqual(self.provider.events('request', id=refused), [])
        client.go()
        self.assertIsNone(client.answer(f'{on_failure}-{passes + 2}')['error'], 'after the restart')

    def expired(self):
        """Holds to which the kernel, without a daemon, has applied on_failure by refusing (PN_STAT_EXPIRED_CLOSED)."""
        dump = subprocess.run(['bpftool', '-j', 'map', 'lookup', 'pinned', f'{self.daemon.pins}/pn_stats', 'key', 'hex', '07', '00', '00', '00'],
                              check=True, capture_output=True, text=True).stdout
        return sum(int.from_bytes(bytes(int(b, 16) for b in cpu['value']), 'little') for cpu in json.loads(dump)['values'])

    def test_hold_last_refuses_new_requests_at_their_deadline(self):
        self.while_dead('hold-last')

    def test_closed_refuses(self):
        self.while_dead('closed')

    def test_open_runs_on_until_its_lease_is_gone(self):
        self.while_dead('open', 'lease: { requests: 2, bytes: 1MiB }\n', passes=2)
