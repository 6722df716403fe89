"""Programs that try to get out of sight: each is read, or shown as opaque with its reason; in a strict scope each is read and judged,
or delivers not one byte of a request."""
import socket
import subprocess
import urllib.request

import harness
import rig

OPAQUE_REASONS = {'unknown_tls', 'no_probe', 'probe_removed', 'not_examined', 'bypassed', 'foreign_send'}
NATIVE = ('direct', 'direct,nosni', 'split', 'split,nosni', 'sendfile', 'io_uring', 'io_uring,nosni')
# Sends a datagram that looks like nothing, connected or not; `enter` is a cgroup to go to between connecting and sending.
DATAGRAM = '''
import os, socket, sys
how, enter = sys.argv[1:]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sent = 0
try:
    if how == 'connected':
        s.connect(('127.0.0.1', 443))
    if enter:
        with open(enter + '/cgroup.procs', 'w') as f:
            f.write('0')
    for _ in range(3):
        sent += s.send(b'q' * 1200) if how == 'connected' else s.sendto(b'q' * 1200, ('127.0.0.1', 443))
except PermissionError:
    pass
print(sent, flush=True)
sys.stdin.read()
'''
# Connects, and says something that looks like ciphertext after a line of input.
OLDER = '''
import socket, sys
s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
sys.stdin.readline()
s.sendall(bytes([0x17, 3, 3, 0x20, 0]) + bytes(0x2000))
sys.stdin.read()
'''


class Evasion(harness.Case):
    def begin(self):
        scope = self.scope('evasion')
        self.start_daemon(policies=f'kind: Policy\nname: strict\nmatch: {{ cgroup: "{scope.path}" }}\nmode: strict\n'
                                   'rules:\n  - { deny: { model: "gpt-4o" } }\n')
        return scope, self.observe()

    def run_client(self, scope, evasion, kind='python_evasive', count=4, base=None, **plan):
        requests = [{'id': f'{evasion}-{i}', 'model': 'gpt-4o'} for i in range(count)]
        if kind == 'native':
            plan['evade'] = rig.evade()
        client = self.client(kind, requests, scope=scope, evasion=evasion, prompt_bytes=20_000, base=base, **plan)
        return client, client.finish()

    def wait_coverage(self, **fields):
        coverage = self.daemon.coverage
        return rig.wait_until(lambda: coverage(**fields), lambda: f'coverage {fields}; shown: {coverage()}')[0]

    def assert_nothing_arrived(self, answers):
        for answer in answers.values():
            self.assertIsNotNone(answer['error'], answer)
        self.assertEqual(self.provider.events('request'), [])
        for connection in self.provider.connections().values():
            self.assertEqual((connection['plain_bytes'], connection['leftover_bytes']), (0, 0), connection)

    # ---- refused ----

    def test_a_program_that_removes_its_probes(self):
        scope, observer = self.begin()
        client, answers = self.run_client(scope, 'restore')
        restored = client.lines.first(lambda v: 'restored' in v)['restored']
        self.assertGreater(restored, 0, 'the probes were there, and are gone')
        self.assert_nothing_arrived(answers)
        denied = observer.wait(len(answers), pid=client.pid)
        self.assertEqual({(e['verdict']['action'], e['verdict']['reason']) for e in denied}, {('deny', 'opaque')})
        row = self.wait_coverage(pid=client.pid)
        self.assertEqual((row['state'], row['refused_connections']), ('refused', len(answers)), row)

    def test_a_private_copy_of_the_library(self):
        scope, observer = self.begin()
        client, answers = self.run_client(scope, 'copy')
        self.assert_nothing_arrived(answers)
        for exchange in observer.wait(len(answers), pid=client.pid):
            self.assertEqual(exchange['verdict']['action'], 'deny')

    def test_a_library_of_its_own_and_other_ways_to_send(self):
        scope, observer = self.begin()
        for evasion in NATIVE:
            with self.subTest(evasion=evasion):
                _, answers = self.run_client(scope, evasion, 'native', count=2)
                self.assert_nothing_arrived(answers)
                for answer in answers.values():
                    for exchange in observer.wait(pid=answer['pid']):
                        self.assertEqual(exchange['verdict']['action'], 'deny')

    def test_a_server_that_is_known_by_its_name_alone(self):
        self.endpoints = lambda: ''
        scope, _ = self.begin()
        for evasion in ('direct', 'split', 'sendfile'):
            with self.subTest(evasion=evasion):
                _, answers = self.run_client(scope, evasion, 'native', count=1, base=self.provider.base('api.openai.com'))
                self.assert_nothing_arrived(answers)

    def test_sockets_of_before_and_of_others(self):
        scope, observer = self.begin()
        for evasion in ('premade', 'passed'):
            with self.subTest(evasion=evasion):
                client, answers = self.run_client(None, evasion, enter=scope.directory)
                self.assert_nothing_arrived(answers)
                for exchange in observer.wait(len(answers), pid=client.pid):
                    self.assertEqual((exchange['verdict']['action'], exchange['request_model']), ('deny', 'gpt-4o'))

    def test_a_jvm_whose_tls_nobody_reads(self):
        scope, observer = self.begin()
        _, answers = self.run_client(scope, 'strict', 'java', count=2)
        self.assert_nothing_arrived(answers)
        for name, answer in answers.items():
            exchange = observer.wait(pid=answer['pid'])[0]
            self.assertEqual((exchange['verdict']['action'], exchange['verdict']['reason']), ('deny', 'opaque'))
        row = self.wait_coverage(pid=answer['pid'], reason='java')
        self.assertEqual((row['state'], row['opaque_bytes']), ('refused', 0), row)
        self.assertGreaterEqual(row['refused_connections'], len(answers))  # Java tries again by itself
        _, answers = self.run_client(None, 'observed', 'java', count=2)
        for name, answer in answers.items():
            self.assertIsNone(answer['error'], answer)
            self.assertEqual(self.provider.events('request', id=name)[0]['body_sha256'], answer['sha256'])
        row = self.wait_coverage(pid=answer['pid'], reason='java', state='opaque')
        self.assertIn('JVM', row['hint'])
        self.assertGreater(row['opaque_bytes'], 2 * 20_000)
        self.assertEqual((row['connections'], row['opaque_connections']), (1, 1), row)

    def test_connections_that_are_older_than_the_daemon(self):
        listener = socket.create_server(('127.0.0.1', 0))
        self.addCleanup(listener.close)
        target = f'127.0.0.1:{listener.getsockname()[1]}'
        program = rig.spawn([rig.PYTHON, '-c', OLDER, str(listener.getsockname()[1])], stdin=subprocess.PIPE)
        self.addCleanup(program.wait)
        self.addCleanup(program.stdin.close)
        self.addCleanup(program.kill)
        peer, _ = listener.accept()
        self.addCleanup(peer.close)
        readable = self.client('python_sync', [{'id': f'older-{i}'} for i in range(2)], wait=True, prompt_bytes=20_000)
        self.step([readable], 0)
        endpoints = self.endpoints()
        self.endpoints = lambda: f'{endpoints}  "{target}": openai\n'
        self.start_daemon()
        for pid, to in ((program.pid, target), (readable.pid, f'127.0.0.1:{self.provider.port}')):
            row = self.wait_coverage(pid=pid, target=to)
            self.assertEqual((row['state'], row['reason'], row['connections'], row['opaque_bytes']),
                             ('pending', 'joined_late', 1, 0), row)
        rig.wait_until(lambda: not self.daemon.get('status').get('pending_images'), lambda: self.daemon.get('status'), 120)
        self.step([readable], 1)
        row = self.wait_coverage(pid=readable.pid, state='covered')
        self.assertGreater(row['plaintext_bytes'], 20_000)
        program.stdin.write(b'\n')
        program.stdin.flush()
        self.assertTrue(peer.recv(1))
        row = self.wait_coverage(pid=program.pid, state='opaque')
        self.assertEqual((row['reason'], row['target'], row['provider']), ('joined_late', target, 'openai'))

    def test_a_kill_switch_knows_servers_by_name(self):
        self.endpoints = lambda: ''
        self.start_daemon()
        base = self.provider.base('api.openai.com')
        _, answers = self.run_client(None, 'direct', 'native', count=1, base=base)
        self.assertIsNone(answers['direct-0']['error'])
        scope = self.scope('killed')
        somebody = rig.spawn(['sleep', '1000'], scope.directory)  # whom the order is about
        self.addCleanup(somebody.wait)
        self.addCleanup(somebody.kill)
        self.daemon.must('kill', f'cgroup={scope.path}', '--reason', 'test')
        for evasion in ('split', 'io_uring'):
            with self.subTest(evasion=evasion):
                _, answers = self.run_client(scope, evasion, 'native', count=1, base=base)
                self.assertIsNotNone(answers[f'{evasion}-0']['error'])
                self.assertEqual(self.provider.events('request', id=f'{evasion}-0'), [])

    # ---- shown ----

    def test_what_is_not_read_is_shown(self):
        self.start_daemon()
        observer = self.observe()
        seen = {}
        for evasion in ('restore', 'copy'):
            client, answers = self.run_client(None, evasion)
            seen[evasion] = self.read_or_shown(observer, client.pid, answers)
        for evasion in NATIVE:
            _, answers = self.run_client(None, evasion, 'native', count=1)
            seen[evasion] = self.read_or_shown(observer, answers[f'{evasion}-0']['pid'], answers)
        self.assertEqual(seen['restore'], 'probe_removed', seen)
        self.assertEqual(seen['sendfile'], 'foreign_send', seen)
        with urllib.request.urlopen(f'http://127.0.0.1:{self.daemon.port}/metrics') as page:
            self.assertIn('penstock_opaque_bytes_total{namespace="",runtime="openssl",reason="probe_removed"}', page.read().decode())

    def read_or_shown(self, observer, pid, answers):
        """'' when every request was read, else why not."""
        for answer in answers.values():
            self.assertIsNone(answer['error'], answer)
        sent = sum(e['body_bytes'] for name in answers for e in self.provider.events('request', id=name))

        def settled():
            # One that is examined meanwhile is read from then on.
            rows = [r for r in self.daemon.coverage(pid=pid) if r['opaque_bytes'] and r['opaque_bytes'] + r['plaintext_bytes'] >= sent]
            return rows or (len(observer.find(pid=pid, status=200)) == len(answers) and self.daemon.coverage(pid=pid, state='covered'))
        row = rig.wait_until(settled, lambda: f'pid {pid}: {self.daemon.coverage(pid=pid)}, {observer.find(pid=pid)}')[0]
        self.assertTrue(row['target'].endswith(f':{self.provider.port}'), row)
        if row['state'] == 'covered':
            return ''
        self.assertIn(row['reason'], OPAQUE_REASONS)
        self.assertTrue(row['hint'])
        self.assertGreater(row['estimated_opaque_tokens'], 0)
        return row['reason']

    def test_a_connection_that_is_read_is_covered(self):
        self.start_daemon()
        self.observe()
        client = self.client('node_fetch', [{'id': f'c-{i}'} for i in range(3)], wait=True)
        client.go(2)
        self.assertIsNone(client.answer('c-1')['error'])
        row = self.wait_coverage(pid=client.pid, runtime='openssl')  # while it is open
        self.assertEqual(tuple(map(row.get, ('state', 'runtime', 'sni', 'alpn', 'provider', 'opaque_bytes'))),
                         ('covered', 'openssl', 'fake.test', 'http/1.1', 'openai', 0), row)
        client.go()
        client.finish()

    def test_a_library_that_is_not_to_be_probed(self):
        self.start_daemon(config='exclude_images: "*/libssl.so*"\n')
        observer = self.observe()
        client, answers = self.run_client(None, 'excluded', 'python_sync', count=1)
        self.assertEqual(self.read_or_shown(observer, client.pid, answers), 'no_probe')

    # ---- QUIC ----

    def datagrams(self, how, scope=None, enter=None):
        process = rig.spawn([rig.PYTHON, '-c', DATAGRAM, how, enter.directory if enter else ''], scope and scope.directory,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(process.communicate)
        return process.pid, int(process.stdout.readline())

    def test_datagrams_to_port_443(self):
        scope, _ = self.begin()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind(('127.0.0.1', 443))
            receiver.setblocking(False)
            for how in ('connected', 'unconnected'):
                with self.subTest(how=how):
                    _, sent = self.datagrams(how, scope)
                    self.assertEqual(sent, 0)
                    pid, sent = self.datagrams(how, enter=scope)
                    self.assertEqual(sent, 0)
                    row = self.wait_coverage(pid=pid)
                    self.assertEqual((row['state'], row['reason'], row['opaque_bytes']), ('refused', 'quic', 0), row)
                    self.assertRaises(BlockingIOError, receiver.recv, 2000)
                    pid, sent = self.datagrams(how)
                    self.assertEqual(sent, 3600)
                    row = self.wait_coverage(pid=pid)
                    self.assertEqual((row['state'], row['reason'], row['target'], row['opaque_bytes']),
                                     ('opaque', 'quic', '127.0.0.1:443', 3600), row)
                    for _ in range(3):
                        self.assertEqual(len(receiver.recv(2000)), 1200)
