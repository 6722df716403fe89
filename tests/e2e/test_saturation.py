"""A load that leaves the machine no rest: every byte that the clients' TLS libraries took and gave is captured or counted as
lost, exactly; and with every request waiting for its verdict, none is lost. PENSTOCK_SATURATION_SECONDS makes each run longer."""
import json
import os
import subprocess

import harness
import rig

LOAD = harness.BUILD / 'tests/bench/load'
PORT = 28444
SECONDS = os.environ.get('PENSTOCK_SATURATION_SECONDS', '8')
# Short requests, whole records, prompts of many, and answers in two hundred pieces.
SHAPES = {'1 KiB': ['--prompt', '1024'], '16 KiB': ['--prompt', '16384'], '512 KiB': ['--prompt', '524288'], 'stream': ['--chunks', '200']}


class Saturation(harness.Case):
    def setUp(self):
        super().setUp()
        server = rig.spawn([LOAD / 'bench_llm_server', '--port', PORT], stdout=subprocess.PIPE, text=True)
        self.addCleanup(server.stdout.close)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        self.assertEqual(server.stdout.readline(), 'ready\n')

    def endpoints(self):
        return f'endpoints: {{ "api.openai.com:{PORT}": openai }}\n'

    def begin(self, **options):
        self.start_daemon(images=[LOAD / 'bench_llm_server'], **options)

    def load(self, arguments, seconds=SECONDS, scope=None):
        """Runs to its end; returns (what it did, what the daemon counted meanwhile)."""
        before = self.daemon.counters()
        done = rig.spawn([LOAD / 'bench_llm_load', '--port', PORT, '--conns', 8, '--secs', seconds, *arguments],
                         cgroup=scope.directory if scope else None, stdout=subprocess.PIPE, text=True)
        sent = json.loads(done.communicate()[0])
        self.assertEqual(sent['failures'], 0)
        generated = sent['written_bytes'] + sent['read_bytes']

        def grown():
            now = self.daemon.counters()
            return {name: value - before.get(name, 0) for name, value in now.items()}

        def lost(c):
            return sum(c[f'kernel_lost_{why}_bytes'] for why in ('ring', 'fault', 'rate'))

        def accounted():
            c = grown()
            return c if c['kernel_sent_bytes'] + lost(c) >= generated and c['connections_closed'] == c['connections_opened'] else None
        counted = rig.wait_until(accounted, lambda: f'{generated} bytes, all connections ended; counted {grown()}', 60)
        counted['lost'] = lost(counted)
        self.assertEqual(counted['kernel_sent_bytes'] + counted['lost'], generated)
        return sent, counted

    def test_captured_and_lost_is_sent(self):
        self.begin()
        for shape, arguments in SHAPES.items():
            with self.subTest(shape=shape):
                sent, counted = self.load(arguments)
                # What the daemon took from the rings is what the kernel put there, and its parsers saw it in order.
                self.assertEqual(counted['plaintext_bytes_captured'], counted['kernel_sent_bytes'])
                if not counted['lost']:
                    self.assertEqual(counted['delivered_bytes'], counted['kernel_sent_bytes'])
                    self.assertEqual(counted['ai_exchanges'], sent['requests'])

    def test_nothing_is_lost_while_every_request_waits_for_its_verdict(self):
        scope = self.scope('saturation')
        self.begin(policies=f'kind: Policy\nname: gate\nmatch: {{ cgroup: "{scope.path}" }}\nmode: enforce\nrules:\n'
                            '  - { deny: { model: "forbidden*" } }\n')
        for shape, arguments in SHAPES.items():
            with self.subTest(shape=shape):
                sent, counted = self.load(arguments, scope=scope)
                self.assertEqual(counted['lost'], 0)
                self.assertEqual((counted['verdicts'], counted['ai_exchanges']), (sent['requests'], sent['requests']))
