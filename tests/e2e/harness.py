"""The product under test: a private daemon, its command line and API, and the scopes that clients run in.

Everything a test makes lives in one temporary folder, one cgroup and the sandbox (rig.py), and is gone afterwards.
"""
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tests/workloads'))
import rig  # noqa: E402

BUILD = pathlib.Path(os.environ.get('PENSTOCK_BUILD_DIR', ROOT / 'build/release'))
PENSTOCK, PENSTOCKD = BUILD / 'penstock', BUILD / 'penstockd'
# Exit codes of both programs (docs/CLI.md).
FAILURE, USAGE, PRIVILEGE, UNSUPPORTED, UNAVAILABLE, NOT_FOUND = range(1, 7)


def cgroup2_root():
    with open('/proc/self/mounts') as mounts:
        for line in mounts:
            fields = line.split()
            if fields[2] == 'cgroup2':
                return fields[1]
    raise AssertionError('no cgroup2 mount')


class Scope:
    """A cgroup that clients are born in; `path` is how policies name it."""

    def __init__(self, name):
        self.path = f'/penstock-e2e-{os.getpid()}-{name}'
        self.directory = cgroup2_root() + self.path
        os.mkdir(self.directory)

    def remove(self):
        def emptied():
            with open(os.path.join(self.directory, 'cgroup.procs')) as f:
                for pid in f.read().split():
                    try:
                        os.kill(int(pid), signal.SIGKILL)
                    except ProcessLookupError:
                        pass
            try:
                os.rmdir(self.directory)
                return True
            except OSError:
                return False
        rig.wait_until(emptied, f'{self.directory} to be empty')


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__('localhost', timeout=30)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Daemon:
    """One penstockd with private state; may be killed and started again on the same state."""

    def __init__(self, folder, config='', policies='', arguments=(), images=()):
        self.folder = folder
        self.socket = os.path.join(folder, 'penstock.sock')
        self.state = os.path.join(folder, 'state')
        self.pins = f'/sys/fs/bpf/{os.path.basename(folder)}'
        self.log_path = os.path.join(folder, 'penstockd.log')
        with socket.socket() as s:  # in a network namespace of our own: nobody else takes it before the daemon does
            s.bind(('127.0.0.1', 0))
            self.port = s.getsockname()[1]
        # Never seen before by a daemon with a fresh state: examined before it is ready, not at the first run.
        config += 'images: [' + ', '.join(f'"{i}"' for i in dict.fromkeys([rig.node(), *images])) + ']\n'
        self.config = os.path.join(folder, 'config.yaml')
        self.policies = os.path.join(folder, 'policies.yaml')
        with open(self.policies, 'w') as f:
            f.write(policies)
        if policies:
            config += f'policies: {self.policies}\n'
        with open(self.config, 'w') as f:
            f.write(config)
        self.arguments = list(arguments)
        self.process = None

    def start(self):
        os.makedirs(self.state, exist_ok=True)
        with open(self.log_path, 'ab') as log:
            self.process = rig.spawn(
                [PENSTOCKD, '--config', self.config, '--state-dir', self.state, '--bpffs-dir', self.pins, '--socket', self.socket,
                 '--listen', f'127.0.0.1:{self.port}', *self.arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        rig.wait_until(self._ready, lambda: f'penstockd ready; its log:\n{self.log()}', 60)
        return self

    def _ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f'penstockd ended with {self.process.returncode}:\n{self.log()}')
        try:
            return self.get('status').get('ready')
        except (OSError, http.client.HTTPException):
            return False

    def log(self, tail=40):
        with open(self.log_path, errors='replace') as f:
            return ''.join(f.readlines()[-tail:])

    def get(self, what):
        """GET /v1/WHAT as the parsed answer."""
        connection = _UnixConnection(self.socket)
        try:
            connection.request('GET', f'/v1/{what}')
            response = connection.getresponse()
            body = response.read()
            if response.status != 200:
                raise AssertionError(f'GET /v1/{what}: {response.status} {body!r}')
            return json.loads(body)
        finally:
            connection.close()

    def run(self, *arguments, **options):
        """`penstock ARGUMENTS…` against this daemon; returns the finished process."""
        return cli('--socket', self.socket, *arguments, **options)

    def must(self, *arguments):
        """The same; fails the test unless it exits with 0. Returns stdout."""
        done = self.run(*arguments)
        if done.returncode != 0:
            raise AssertionError(f'penstock {" ".join(map(str, arguments))}: {done.returncode}\n{done.stdout}{done.stderr}')
        return done.stdout

    def observe(self):
        return Observer(self)

    def budget(self, name, key=None):
        """State of one budget instance, or None while it has none."""
        for b in self.get('budgets').get('budgets', []):
            if b['name'] == name and key in (None, b.get('key')):
                return b
        return None

    def held(self):
        return self.get('held').get('held', [])

    def counters(self):
        """{name: sum over labels}; of what the kernel counts by kind of event only the plaintext."""
        out = {}
        for c in self.get('counters').get('counters', []):
            if c.get('labels', {}).get('kind', 'data') == 'data':
                out[c['name']] = out.get(c['name'], 0) + c['value']
        return out

    def coverage(self, **fields):
        """Rows of `penstock coverage`, narrowed to the given field values."""
        rows = json.loads(self.must('coverage', '-o', 'json')).get('rows', [])
        return [r for r in rows if all(r.get(k) == v for k, v in fields.items())]

    def kill9(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Ends it as an init system would; returns its exit code."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f'penstockd did not end on SIGTERM:\n{self.log()}')
        return self.process.returncode


class Observer:
    """`penstock observe -f -o jsonl`: every exchange that ends, from the daemon's memory on."""

    def __init__(self, daemon):
        self.process = rig.spawn([PENSTOCK, 'observe', '--socket', daemon.socket, '-f', '--last', '1000', '-o', 'jsonl'],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.lines = rig.Lines(self.process.stdout)

    @property
    def exchanges(self):
        return [v for v in list(self.lines.values) if 'kind' in v]

    def find(self, **fields):
        return [e for e in self.exchanges if all(e.get(k) == v for k, v in fields.items())]

    def wait(self, count=1, timeout=30.0, **fields):
        def enough():
            found = self.find(**fields)
            return found if len(found) >= count else None
        return rig.wait_until(enough, lambda: f'{count} exchanges with {fields}; observed {len(self.exchanges)}: '
                              f'{json.dumps(self.exchanges[-3:])}', timeout)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait()
        self.lines.join()
        self.process.stdout.close()


def cli(*arguments, environment=None, stdin=None, prefix=(), timeout=120, cwd=None):
    environment = dict(environment or {})
    if arguments[:1] == ('--socket',):  # an option of every command; said once for all of them by the environment
        environment['PENSTOCK_SOCKET'] = str(arguments[1])
        arguments = arguments[2:]
    return subprocess.run([*map(str, prefix), str(PENSTOCK), *map(str, arguments)], input=stdin, capture_output=True, text=True,
                          timeout=timeout, env={**os.environ, **environment}, cwd=cwd)


def socket_cookie(port):
    """The cookie of the live client socket that is bound to this local port, as the daemon names connections."""
    lines = subprocess.run(['ss', '-Htne', f'sport = :{port}'], capture_output=True, text=True, check=True).stdout
    for field in lines.split():
        if field.startswith('sk:'):
            return int(field[3:], 16)
    return None


class Case(unittest.TestCase):
    """A test with a fake provider; daemons, clients and scopes made through it are cleaned up, newest first."""
    maxDiff = None

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='penstock-e2e-')
        self.addCleanup(self._remove_folder)
        self.provider = rig.Provider(self.folder)
        self.addCleanup(self.provider.stop)
        self.daemon = None

    def _remove_folder(self):
        # Kept when the test failed and the caller asked for it.
        if not os.environ.get('PENSTOCK_KEEP'):
            subprocess.run(['rm', '-rf', self.folder], check=True)
        else:
            print(f'kept: {self.folder}', file=sys.stderr)

    def endpoints(self):
        return ('endpoints:\n'
                f'  "fake.test:{self.provider.clear_port}": openai\n'
                f'  "h2.fake.test:{self.provider.clear_port}": openai\n'
                f'  "anthropic.fake.test:{self.provider.clear_port}": anthropic\n'
                f'  "fake.test:{self.provider.port}": openai\n'
                f'  "h2.fake.test:{self.provider.port}": openai\n'
                f'  "anthropic.fake.test:{self.provider.port}": anthropic\n')

    def start_daemon(self, policies='', config='', arguments=(), images=()):
        self.daemon = Daemon(self.folder, self.endpoints() + config, policies, arguments, images)
        self.addCleanup(self._end_daemon, self.daemon)
        return self.daemon.start()

    def _end_daemon(self, daemon):
        if not self._outcome.success:
            print(f'\n--- penstockd.log of {self.id()}\n{daemon.log()}---', file=sys.stderr)
        daemon.stop()
        # Enforcement outlives the daemon by design; these pins are the test's.
        subprocess.run(['rm', '-rf', daemon.pins], check=True)

    def observe(self):
        observer = self.daemon.observe()
        self.addCleanup(observer.stop)
        return observer

    def scope(self, name):
        scope = Scope(name)
        self.addCleanup(scope.remove)
        return scope

    def client(self, kind, requests, api=None, scope=None, clear=False, base=None, **plan):
        api = api or rig.ALL[kind][2][0]
        host = rig.host_of(kind, api)
        base = base or (self.provider.clear_base(host) if clear else self.provider.base(host))
        client = rig.Client(kind, base, self.provider.ca, requests, api=api,
                            cgroup=scope.directory if scope else None, **plan)
        self.addCleanup(client.stop)
        return client

    def numbered_clients(self, tag, count, kinds, **plan):
        """Every kind in every API it speaks, plain and streamed, each with `count` waiting requests with counts of their own."""
        out, number = [], 0
        for kind in kinds:
            for api in rig.ALL[kind][2]:
                for stream in (False, True):
                    requests = []
                    for i in range(count):
                        number += 1
                        requests.append({'id': f'{tag}-{kind}-{api}-{int(stream)}-{i}',
                                         'script': f'in={1000 + number};out={2000 + number};cached={number};chunks=5;gzip={number % 2}'})
                    out.append(self.client(kind, requests, api=api, stream=stream, wait=True, **plan))
        for client in out:
            client.ready()
        return out

    def sixty_at_once(self, observer, kind, first, **plan):
        """All requests are at the provider before the first answer leaves; the answers come in the other order."""
        requests = [{'id': f'{kind}-{i}', 'script': f'in={first + i};out={i + 1};hold=1'} for i in range(60)]
        client = self.client(kind, requests, concurrency=60, **plan)
        for request in requests:
            self.provider.wait('request', id=request['id'])
        for request in reversed(requests):
            self.provider.permit(request['id'])
        answers = client.finish()
        for request in requests:
            name = request['id']
            exchange = observer.wait(response_id=self.told(name)['response_id'])[0]
            self.assert_same(exchange, name)
            self.assertEqual(exchange['pid'], answers[name]['pid'])

    def told(self, request_id):
        """What the provider answered to that request."""
        return self.provider.wait('answer', id=request_id)[0]

    def assert_same(self, exchange, request_id):
        """The exchange says what the provider sent."""
        told, asked = self.told(request_id), self.provider.events('request', id=request_id)[0]
        seen = {'provider': exchange.get('provider'), 'request_model': exchange.get('request_model'),
                'response_model': exchange.get('response_model'), 'status': exchange.get('status'),
                'stream': exchange.get('stream'), 'tools': [t['name'] for t in exchange.get('tool_calls', [])],
                'finish_reason': exchange.get('finish_reason')}
        self.assertEqual(seen, {'provider': told['provider'], 'request_model': asked['model'], 'response_model': told['model'],
                                'status': told['status'], 'stream': told['stream'], 'tools': told['tools'],
                                'finish_reason': told['finish_reason']}, exchange)
        usage = exchange.get('usage', {})
        if told['usage'] is None:
            self.assertNotEqual(exchange['usage_status'], 'exact', exchange)
        else:
            self.assertEqual({k: usage.get(k) for k in told['usage']}, told['usage'], exchange)
            self.assertEqual(exchange['usage_status'], 'exact', exchange)

    def step(self, clients, index):
        """Lets every client send its request `index`. Returns {request id: (answer, socket cookie as the host knows it)}."""
        for client in clients:
            client.go()
        out = {}
        for client in clients:
            name = client.requests[index]['id']
            answer = client.answer(name)
            self.assertIsNone(answer['error'], answer)
            out[name] = (answer, socket_cookie(self.provider.events('request', id=name)[0]['peer_port']))
        return out

    def assert_observed(self, observer, answers):
        """Each of step()'s answers was observed whole, on its process and socket. Returns {request id: exchange}."""
        out = {}
        for name, (answer, cookie) in answers.items():
            with self.subTest(request=name):
                exchange = out[name] = observer.wait(response_id=self.told(name)['response_id'])[0]
                self.assert_same(exchange, name)
                self.assertEqual(exchange['pid'], answer['pid'])
                if cookie is not None:  # some clients close an idle connection before it can be asked for
                    self.assertEqual(exchange['connection'], cookie)
                self.assertEqual(exchange.get('coverage', {}).get('lost_bytes', 0), 0)
        return out
