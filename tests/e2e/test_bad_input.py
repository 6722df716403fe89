"""Bad input and poor surroundings: one clear line with a hint and a documented exit code, nothing half applied."""
import os
import socket
import subprocess

import harness
from harness import FAILURE, NOT_FOUND, PRIVILEGE, UNAVAILABLE, UNSUPPORTED, USAGE, cli

_AS_NOBODY = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups']


class BadInput(harness.Case):
    def refused(self, done, code, *fragments):
        """Exit code, one message, a hint, all fragments; never a crash."""
        said = done.stderr
        self.assertEqual(done.returncode, code, said)
        for trace in ('terminate called', 'Segmentation', 'Sanitizer', 'libbpf:', '#0'):
            self.assertNotIn(trace, said)
        lines = [line for line in said.splitlines() if line.strip()]
        self.assertLessEqual(len(lines), 3, said)
        for fragment in fragments:
            self.assertIn(fragment, said)
        self.assertTrue(any('hint' in line.lower() for line in lines), f'no hint:\n{said}')

    def daemon_command(self, *arguments, prefix=(), config=None):
        path = os.path.join(self.folder, 'config.yaml')
        with open(path, 'w') as f:
            f.write(config if config is not None else self.endpoints())
        command = [*prefix, harness.PENSTOCKD, '--config', path, '--state-dir', os.path.join(self.folder, 'state'),
                   '--bpffs-dir', '/sys/fs/bpf/penstock-bad', '--socket', os.path.join(self.folder, 's.sock'),
                   '--listen', '127.0.0.1:0', *arguments]
        return subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)

    def hidden(self, *mounts):
        """Runs in a mount namespace of its own in which something is missing."""
        return ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', ' && '.join(mounts) + ' && exec "$@"', 'sh']

    def nothing_left(self):
        self.assertEqual([n for n in os.listdir('/sys/fs/bpf') if n.startswith('penstock')], [])
        self.assertFalse(os.path.exists(os.path.join(self.folder, 's.sock')))

    def test_not_root(self):
        os.chmod(self.folder, 0o777)
        self.refused(self.daemon_command(prefix=_AS_NOBODY), PRIVILEGE)
        self.refused(cli('--socket', f'{self.folder}/none.sock', 'run', '--', 'true', prefix=_AS_NOBODY), PRIVILEGE)
        self.nothing_left()

    def test_no_btf(self):
        self.refused(self.daemon_command(prefix=self.hidden('mount -t tmpfs none /sys/kernel/btf')), UNSUPPORTED, 'BTF')
        self.nothing_left()

    def test_no_cgroup2(self):
        prefix = self.hidden('umount --lazy --all-targets --types cgroup2 "$(findmnt -rno TARGET -t cgroup2 | head -n 1)"')
        self.refused(self.daemon_command(prefix=prefix), UNSUPPORTED, 'cgroup2')
        self.nothing_left()

    def test_no_bpffs(self):
        done = self.daemon_command('--bpffs-dir', os.path.join(self.folder, 'pins'))
        self.refused(done, UNSUPPORTED, 'bpffs')
        self.nothing_left()

    def test_occupied_port(self):
        with socket.socket() as taken:
            taken.bind(('127.0.0.1', 0))
            taken.listen()
            address = f'127.0.0.1:{taken.getsockname()[1]}'
            self.refused(self.daemon_command('--listen', address), UNAVAILABLE, address)
        self.nothing_left()

    def test_unknown_configuration_key(self):
        self.refused(self.daemon_command(config='listen: 127.0.0.1:0\nlissten: x\n'), USAGE, 'config.yaml:2:1', 'lissten')
        self.nothing_left()

    def test_broken_policy(self):
        path = os.path.join(self.folder, 'broken.yaml')
        for text, where, what in (
                ('kind: Policy\nname: a\nbudgets:\n  - { name: d, usd: 1, windoww: 1d }\n', ':4:', 'windoww'),
                ('kind: Policy\nname: a\nmode: loud\n', ':3:7', 'loud'),
                ('kind: Policy\nname: a\nbudgets: [\n', ':', 'yaml')):
            with self.subTest(what=what):
                with open(path, 'w') as f:
                    f.write(text)
                done = cli('policy', 'check', path)
                self.assertEqual(done.returncode, USAGE, done.stderr)
                self.assertIn(f'broken.yaml{where}', done.stdout + done.stderr)
                self.assertIn(what, (done.stdout + done.stderr))
                self.refused(self.daemon_command(config=f'{self.endpoints()}policies: {path}\n'), USAGE, f'broken.yaml{where}')
                self.nothing_left()

    def test_a_broken_policy_leaves_the_old_one_in_force(self):
        good = 'kind: Policy\nname: good\nbudgets:\n  - { name: d, usd: 1 }\n'
        self.start_daemon(policies=good)
        path = os.path.join(self.folder, 'new.yaml')
        with open(path, 'w') as f:
            f.write('kind: Policy\nname: good\nbudgets: []\n---\nkind: Policy\nname: second\nmode: loud\n')
        done = self.daemon.run('policy', 'apply', path)
        self.assertEqual(done.returncode, USAGE, done.stderr)
        self.assertIn('new.yaml:7:7', done.stdout + done.stderr)
        self.assertEqual([(p['name'], p['budgets']) for p in self.daemon.get('policies')['policies']], [('good', 1)])

    def test_missing_price(self):
        scope = self.scope('price')
        self.start_daemon(policies=f'kind: Policy\nname: p\nmatch: {{ cgroup: "{scope.path}" }}\nmode: enforce\nbudgets:\n'
                                   '  - { name: d, usd: 100 }\n')
        observer = self.observe()
        request = {'id': 'x', 'model': 'no-such-model-9'}
        self.assertIsNotNone(self.client('python_sync', [request], scope=scope).finish()['x']['error'])
        verdict = observer.wait(request_model='no-such-model-9')[0]['verdict']
        self.assertEqual((verdict['action'], verdict['reason']), ('deny', 'unpriced'))
        self.assertEqual(self.provider.events('request'), [])

    def test_unknown_selector_and_budget(self):
        self.start_daemon()
        self.refused(self.daemon.run('kill', 'colour=red', '--reason', 'x'), USAGE, 'colour')
        self.refused(self.daemon.run('kill', 'agent=nobody-by-this-name', '--reason', 'x'), NOT_FOUND, 'nobody-by-this-name')
        self.refused(self.daemon.run('budget', 'set', 'no-such-budget', '--usd', '1'), NOT_FOUND, 'no-such-budget')
        self.refused(self.daemon.run('budget', 'set', 'x', '--usd', 'many'), USAGE, 'many')
        self.assertEqual(self.daemon.get('kills').get('kills', []), [])

    def test_command_that_does_not_exist(self):
        done = cli('--socket', os.path.join(self.folder, 'none.sock'), 'run', '--', '/no/such/program')
        self.assertEqual(done.returncode, 127, done.stderr)
        self.assertIn('/no/such/program', done.stderr)
        with open(os.path.join(self.folder, 'plain'), 'w') as f:
            f.write('x')
        done = cli('--socket', os.path.join(self.folder, 'none.sock'), 'run', '--', os.path.join(self.folder, 'plain'))
        self.assertEqual(done.returncode, 126, done.stderr)

    def test_no_daemon(self):
        for command in (['status'], ['agents'], ['top'], ['budget', 'list'], ['observe'], ['kill', 'all', '--reason', 'x']):
            with self.subTest(command=command):
                self.refused(cli('--socket', os.path.join(self.folder, 'none.sock'), *command), UNAVAILABLE, 'none.sock')

    def test_unknown_command_and_option(self):
        self.assertEqual(cli('frobnicate').returncode, USAGE)
        self.assertEqual(cli('status', '--frobnicate').returncode, USAGE)
        self.assertEqual(cli('run', '--max-usd', 'lots', '--', 'true').returncode, USAGE)
        self.assertEqual(cli('run').returncode, USAGE)

    def test_a_second_daemon_on_the_same_state_is_refused(self):
        daemon = self.start_daemon()
        command = [harness.PENSTOCKD, '--config', daemon.config, '--state-dir', daemon.state, '--bpffs-dir', daemon.pins, '--socket',
                   daemon.socket, '--listen', '127.0.0.1:0']
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
        self.assertIn(done.returncode, (FAILURE, UNAVAILABLE), done.stderr)
        self.assertTrue(daemon.get('status')['ready'])
