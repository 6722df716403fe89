"""`penstock run`: the laptop's main job, with no daemon running."""
import json
import os
import pathlib
import pty
import re
import subprocess

import harness
from harness import PENSTOCK, rig


class Run(harness.Case):
    def setUp(self):
        super().setUp()
        self.socket = os.path.join(self.folder, 'run.sock')
        self.scopes_before = self.cgroups()
        # The daemon that `run` starts reads it: the fake provider's names stand for the real ones.
        config = os.path.join(self.folder, 'run.yaml')
        with open(config, 'w') as f:
            f.write(self.endpoints())
        self.environment = {'XDG_STATE_HOME': self.folder, 'HOME': self.folder, 'PENSTOCK_CONFIG': config}

    def cgroups(self):
        return {str(p) for p in pathlib.Path(harness.cgroup2_root()).rglob('penstock*')}

    def plan(self, requests, **plan):
        """Command line of a client that sends these requests."""
        client = {'base': self.provider.base(), 'ca': self.provider.ca, 'api': 'chat', 'model': 'gpt-4o-mini', 'requests': requests}
        return [rig.PYTHON, str(rig.WORKLOADS / 'clients/python_sync.py'), json.dumps({**client, **plan})]

    def run_(self, *arguments):
        return harness.cli('--socket', self.socket, 'run', *arguments,
                           environment=self.environment)

    def nothing_left(self):
        rig.wait_until(lambda: self.cgroups() <= self.scopes_before, lambda: f'cgroups left: {self.cgroups()}')
        rig.wait_until(lambda: not [n for n in os.listdir('/sys/fs/bpf') if n.startswith('penstock')],
                       lambda: f'pins left: {os.listdir("/sys/fs/bpf")}')
        self.assertFalse(os.path.exists(self.socket))
        left = subprocess.run(['pgrep', '-f', self.socket], capture_output=True, text=True).stdout.split()
        self.assertEqual(left, [])

    def test_summary_and_exit_code(self):
        done = self.run_('--max-usd', '2', '--', *self.plan(
            [{'id': f'r{i}', 'script': f'in={1000 * (i + 1)};out=100;cached=10;tools=a'} for i in range(3)], stream=True))
        self.assertEqual(done.returncode, 0, done.stderr)
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([a['error'] for a in answers if 'id' in a], [None] * 3, 'stdout is the command\'s own')
        for fragment in ('gpt-4o-mini', '3', '6,000', '300', '$'):
            self.assertIn(fragment, done.stderr)
        self.nothing_left()

    def test_summary_as_json(self):
        done = self.run_('--max-usd', '2', '--summary', 'json', '--', *self.plan([{'id': 'r', 'script': 'in=1000;out=100'}]))
        self.assertEqual(done.returncode, 0, done.stderr)
        summary = json.loads(done.stderr[done.stderr.index('{'):])
        totals = summary['totals']
        self.assertEqual((totals['calls'], totals['input_tokens'], totals['output_tokens']), (1, 1000, 100))
        # gpt-4o-mini: 0.15 $ and 0.60 $ per million tokens
        self.assertEqual(totals['cost_nano_usd'], 1000 * 150 + 100 * 600)
        self.assertEqual(summary['verdicts'], {'allow': 1})

    def test_exit_codes_pass_through(self):
        self.assertEqual(self.run_('--', 'sh', '-c', 'exit 7').returncode, 7)
        self.assertEqual(self.run_('--', 'sh', '-c', 'kill -TERM $$').returncode, 128 + 15)
        self.nothing_left()

    def test_refused_by_its_budget(self):
        for limit in (['--max-usd', '0.000001'], ['--max-tokens', '10']):
            with self.subTest(limit=limit):
                done = self.run_(*limit, '--', *self.plan([{'id': f'no{limit[0]}'}]))
                answer = json.loads(done.stdout.splitlines()[-1])
                self.assertIsNotNone(answer['error'])
                self.assertRegex(done.stderr, r'(?i)den(y|ied)')
                self.assertIn('budget', done.stderr)
        self.assertEqual(self.provider.events('request'), [])
        self.nothing_left()

    def test_spends_up_to_its_limit_and_no_further(self):
        # 1,000 tokens each as the provider reports them; strict reserves the upper bound, so the sum stays below the limit.
        requests = [{'id': f's{i}', 'script': 'in=900;out=100'} for i in range(20)]
        done = self.run_('--max-tokens', '5000', '--mode', 'strict', '--', *self.plan(requests, max_tokens=100, prompt_bytes=900))
        served = [a for a in map(json.loads, done.stdout.splitlines()) if a.get('error', 1) is None]
        self.assertTrue(1 <= len(served) <= 5, len(served))
        self.assertEqual(len(self.provider.events('request')), len(served))

    def test_policy_file(self):
        path = os.path.join(self.folder, 'p.yaml')
        with open(path, 'w') as f:
            f.write('kind: Policy\nname: only-mini\nmode: enforce\nrules:\n  - { allow: { model: "gpt-4o-mini*" } }\n')
        done = self.run_('--policy', path, '--', *self.plan([{'id': 'mini'}, {'id': 'big', 'model': 'gpt-4o'}]))
        errors = {a['id']: a['error'] for a in map(json.loads, done.stdout.splitlines()) if 'id' in a}
        self.assertIsNone(errors['mini'])
        self.assertIsNotNone(errors['big'])
        self.assertEqual([r['id'] for r in self.provider.events('request')], ['mini'])

    def test_uses_a_running_daemon(self):
        self.start_daemon()
        observer = self.observe()
        done = self.daemon.run('run', '--max-usd', '1', '--', *self.plan([{'id': 'r'}]))
        self.assertEqual(done.returncode, 0, done.stderr)
        exchange = observer.wait(response_id=self.told('r')['response_id'])[0]
        self.assertIn(exchange['run'], done.stderr)

    def test_live_meter_on_a_terminal(self):
        reader, writer = pty.openpty()
        process = rig.spawn([PENSTOCK, 'run', '--socket', self.socket, '--max-usd', '1', '--',
                             *self.plan([{'id': 'live', 'script': 'step=1;chunks=3'}], stream=True)],
                            stdin=writer, stdout=subprocess.DEVNULL, stderr=writer,
                            env={**os.environ, **self.environment, 'TERM': 'xterm'})
        os.close(writer)
        self.provider.wait('request', id='live', timeout=60)
        seen = b''
        while not re.search(rb'\$\d', seen):  # the meter appears while the call is under way
            seen += os.read(reader, 4096)
        self.provider.permit('live', 3)
        self.assertEqual(process.wait(60), 0)
        os.close(reader)
        self.nothing_left()


