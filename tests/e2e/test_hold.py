"""A held request waits 30 s and completes on the same connection after release; another one, refused, fails at once."""
import time

import harness

HOLD_NS = 30 * 10**9
KINDS = list(harness.rig.CLIENTS)


class Hold(harness.Case):
    def test_held_for_thirty_seconds(self):
        scope = self.scope('hold')
        self.start_daemon(policies=f'kind: Policy\nname: hold\nmatch: {{ cgroup: "{scope.path}" }}\nmode: enforce\nrules:\n'
                                   '  - { approve: { model: ["gpt-4.1", "claude-opus-4-6"] }, hold: 10m }\n'
                                   '  - { deny: { model: "o3" } }\n')
        clients = []
        for kind in KINDS:
            model = 'claude-opus-4-6' if kind == 'anthropic_sdk' else 'gpt-4.1'
            requests = [{'id': f'{kind}-first'}, {'id': f'{kind}-held', 'model': model, 'script': 'in=40;out=30;chunks=6'}]
            clients.append(self.client(kind, requests, scope=scope, stream=True, wait=True, timeout_s=300, prompt_bytes=50_000))
        for client in clients:
            client.go()
        first = {c.kind: c.answer(f'{c.kind}-first') for c in clients}
        for client in clients:
            client.go()
        held = harness.rig.wait_until(lambda: len(h := self.daemon.held()) == len(KINDS) and h,
                                      lambda: f'held: {self.daemon.held()}')

        # Refused while the others wait: it gets its error now, not when their hold is over.
        refused = self.client('python_sync', [{'id': 'refused', 'model': 'o3'}], scope=scope).finish()['refused']
        self.assertIsNotNone(refused['error'])
        self.assertEqual(len(self.daemon.held()), len(KINDS))
        self.assertEqual(self.provider.events('request', id='refused'), [])

        since = max(h['since_real_ns'] for h in held)
        harness.rig.wait_until(lambda: time.time_ns() - since > HOLD_NS, '30 s of hold', 60)
        for connection in self.provider.connections().values():
            self.assertLessEqual(connection['requests'], 1)
            self.assertEqual(connection['leftover_bytes'], 0)
        self.assertEqual(len(self.daemon.held()), len(KINDS))

        for h in held:
            self.daemon.must('release', f'exchange={h["exchange"]}', '--reason', 'approved')
        for client in clients:
            answer = client.answer(f'{client.kind}-held')
            self.assertIsNone(answer['error'], answer)
            self.assertEqual(answer['port'], first[client.kind]['port'])
            request = self.provider.events('request', id=answer['id'])[0]
            self.assertEqual((request['seq'], request['body_sha256']), (2, answer['sha256']))

    def test_a_held_request_that_is_killed_fails_and_never_leaves(self):
        scope = self.scope('hold')
        self.start_daemon(policies=f'kind: Policy\nname: hold\nmatch: {{ cgroup: "{scope.path}" }}\nmode: enforce\nrules:\n'
                                   '  - { approve: { model: "*" }, hold: 10m }\n')
        client = self.client('python_asyncio', [{'id': 'k'}], scope=scope, timeout_s=300)
        held = harness.rig.wait_until(lambda: self.daemon.held(), 'held')
        self.daemon.must('kill', f'run={held[0]["run"]}', '--reason', 'test')
        self.assertIsNotNone(client.finish()['k']['error'])
        self.assertEqual(self.provider.events('request'), [])
