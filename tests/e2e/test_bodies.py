"""Prompts of 4 MiB, in one write and in pieces, by every runtime: they are captured and arrive whole, observed and gated."""
import harness
import rig

BYTES = 4 << 20
# name -> (kind of client, what its plan adds)
CASES = {'one_write': ('python_sync', {}), 'pieces_of_32_kib': ('python_sync', {'piece_bytes': 32 << 10}),
         **{kind: (kind, {}) for kind in (*rig.CLIENTS, *rig.RUNTIMES) if kind != 'python_sync'}}


class Bodies(harness.Case):
    def start(self, **options):
        self.start_daemon(images=[i for kind in rig.RUNTIMES for i in rig.images(kind)], **options)
        rig.wait_until(lambda: not self.daemon.get('status').get('pending_images'), lambda: self.daemon.get('status'), 120)
        return self.observe()

    def check(self, observer, action, scope=None):
        for case, (kind, plan) in CASES.items():
            with self.subTest(case=case):
                names = [f'{case}-{i}' for i in range(2)]
                requests = [{'id': n, 'script': f'in={1_000_000 + i};out={i + 1}'} for i, n in enumerate(names)]
                answers = self.client(kind, requests, scope=scope, prompt_bytes=BYTES, **plan).finish()
                for name in names:
                    self.assertIsNone(answers[name]['error'], answers[name])
                    arrived = self.provider.events('request', id=name)[0]
                    self.assertGreaterEqual(arrived['body_bytes'], BYTES)
                    # The SDKs add fields to the body that their driver does not know of.
                    if not kind.endswith('_sdk'):
                        self.assertEqual(arrived['body_sha256'], answers[name]['sha256'])
                    exchange = observer.wait(response_id=self.told(name)['response_id'])[0]
                    self.assert_same(exchange, name)
                    self.assertEqual(exchange['request']['body_bytes'], arrived['body_bytes'])
                    self.assertEqual(exchange['coverage']['lost_bytes'], 0)
                    self.assertEqual((exchange['verdict']['action'], exchange['verdict'].get('gate_ns', 0) > 0), action)

    def test_observed(self):
        self.check(self.start(), ('allow', False))

    def test_gated(self):
        scope = self.scope('bodies')
        observer = self.start(policies=f'kind: Policy\nname: gate\nmatch: {{ cgroup: "{scope.path}" }}\nmode: enforce\nrules:\n'
                                       '  - { deny: { model: "o3" } }\n')
        self.check(observer, ('allow', True), scope)
