"""Starts the fake provider and the clients, for tests; and the sandbox they run in.

The sandbox is a network namespace with loopback only and a mount namespace with its own /etc/hosts (the providers' names point to
the fake one) and its own bpffs: what a test pins there is gone when the test's processes are.
Waiting is always for a condition, polled, with a bound; a bound that is reached fails the test with what was seen.
"""
import atexit
import ctypes
import glob
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORKLOADS = ROOT / 'tests/workloads'
PYTHON = '/usr/bin/python3'  # Debian's: links libssl.so.3 dynamically
NAMES = ('fake.test', 'anthropic.fake.test', 'h2.fake.test', 'api.openai.com', 'api.anthropic.com')
_SANDBOX = 'PENSTOCK_TEST_SANDBOX'
_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36

# kind -> (interpreter, program, APIs it can speak)
CLIENTS = {
    'curl': ('python', 'curl.py', ('chat', 'responses', 'messages')),
    'python_sync': ('python', 'python_sync.py', ('chat', 'responses', 'messages')),
    'python_asyncio': ('python', 'python_asyncio.py', ('chat', 'responses', 'messages')),
    'node_fetch': ('node', 'node_fetch.mjs', ('chat', 'responses', 'messages')),
    'node_https': ('node', 'node_https.mjs', ('chat', 'responses', 'messages')),
    'openai_sdk': ('node', 'openai_sdk.mjs', ('chat', 'responses')),
    'anthropic_sdk': ('node', 'anthropic_sdk.mjs', ('messages',)),
}
# The other runtimes, in the same form. A kind that ends in _h2 reaches the provider under the name for which it prefers HTTP/2.
RUNTIMES = {
    'curl_h2': ('python', 'curl.py', ('chat', 'responses')),
    'wget': ('python', 'wget.py', ('chat', 'responses', 'messages')),
    'nss': ('python', 'nss.py', ('chat', 'responses', 'messages')),
    'node_http2_h2': ('node', 'node_http2.mjs', ('chat', 'responses')),
    'node16_https': ('node16', 'node_https.mjs', ('chat', 'responses', 'messages')),
    'bun': ('bun', 'fetch.mjs', ('chat', 'responses', 'messages')),
    'deno': ('deno', 'fetch.mjs', ('chat', 'responses', 'messages')),
    'deno_h2': ('deno', 'fetch.mjs', ('chat', 'responses')),
    'rustls': ('python', 'by_file.py', ('chat', 'responses', 'messages')),
    'go': ('go', '', ('chat', 'responses', 'messages')),
    'go_h2': ('go', '', ('chat', 'responses')),
    'go_stripped': ('go_stripped', '', ('chat',)),
    'go_pie': ('go_pie', '', ('chat',)),
    'go_cgo': ('go_cgo', '', ('chat',)),
}
# Those that take a cleartext address as well.
CLEARTEXT = ('curl', 'curl_h2', 'wget', 'python_sync', 'python_asyncio', 'node_fetch', 'node_https', 'openai_sdk', 'anthropic_sdk',
             'bun', 'deno', 'go')
# Runs that try not to be seen.
EVASIONS = {'python_evasive': ('python', 'python_evasive.py', ('chat',)), 'native': ('python', 'native.py', ('chat',))}
# What nobody can read.
OPAQUE = {'java': ('python', 'by_file.py', ('chat',))}
ALL = {**CLIENTS, **RUNTIMES, **EVASIONS, **OPAQUE}
MODELS = {'chat': 'gpt-4o-mini', 'responses': 'gpt-4o', 'messages': 'claude-haiku-4-5'}


def node():
    """The Node binary with a statically linked OpenSSL that scripts/setup installed."""
    found = glob.glob(str(ROOT / '.deps/node/node_modules/node-linux-*/bin/node'))
    if not found:
        sys.exit('tests need the packages under .deps/: run scripts/setup first')
    return found[0]


def program(name):
    """The file of a runtime's program, which tests make the daemon examine before anything runs it."""
    if name == 'node':
        return node()
    if name == 'python':
        return PYTHON
    if name.startswith('go'):
        return go_client(name)
    pattern = {'node16': 'node16-linux-*/bin/node', 'bun': '@oven/bun-linux-*/bin/bun', 'deno': '@deno/linux-*/deno', 'codex': '@openai/codex-linux-*/vendor/*/bin/codex',
               'claude': '@anthropic-ai/claude-code-linux-*/claude'}[name]
    found = glob.glob(str(ROOT / '.deps/node/node_modules' / pattern))
    if not found:
        sys.exit(f'{name} is missing under .deps/: run scripts/setup first')
    return found[0]


def images(kind):
    """What a client of this kind runs, and encrypts with as far as that is a file of its own."""
    return [program(ALL[kind][0]), *([rustls_client()] if kind == 'rustls' else [])]


def built(kind, source, build):
    """What `build(target)` makes of a source file, under .deps/; made once per version of it and of the arguments in `kind`."""
    folder = ROOT / '.deps' / source.relative_to(WORKLOADS).parts[0]
    target = folder / f'{kind}-{hashlib.sha256(source.read_bytes()).hexdigest()[:16]}'
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = f'{target}.{os.getpid()}'
        build(partial)
        os.rename(partial, target)
    return str(target)


def go_client(name):
    """The Go client."""
    flags = {'go': [], 'go_cgo': [], 'go_stripped': ['-ldflags=-s -w'], 'go_pie': ['-buildmode=pie', '-ldflags=-s -w']}[name]
    source = WORKLOADS / 'go/main.go'
    environment = {**os.environ, 'CGO_ENABLED': '1' if name == 'go_cgo' else '0', 'GOCACHE': str(ROOT / '.deps/go/cache'),
                   'GOFLAGS': '-mod=mod', 'GOPROXY': 'off'}
    return built(name, source, lambda target: subprocess.run(['go', 'build', *flags, '-o', target, '.'], cwd=source.parent,
                                                             check=True, env=environment))


def evade():
    """The client with an OpenSSL of its own inside, stripped."""
    source = WORKLOADS / 'native/evade.c'
    # The linker warns that name lookups need the shared C library: none are made.
    return built('evade', source, lambda target: subprocess.run(
        ['gcc', '-O2', '-Wall', '-Wextra', '-static', '-s', '-o', target, source, '-lssl', '-lcrypto'], check=True,
        stderr=subprocess.PIPE))


def rustls_client():
    """The rustls client, from the crates that Debian has as source packages."""
    source = WORKLOADS / 'rust/src/main.rs'
    folder = ROOT / '.deps/rust'
    crates = ['--config', 'source.crates-io.replace-with="debian"', '--config', 'source.debian.directory="/usr/share/cargo/registry"']

    def build(target):
        shutil.copytree(source.parents[1], folder / 'build', dirs_exist_ok=True)
        # Debian's toolchain: the crates are of its time.
        subprocess.run(['/usr/bin/cargo', 'build', '--quiet', '--release', '--offline', *crates], check=True, cwd=folder / 'build',
                       env={**os.environ, 'RUSTC': '/usr/bin/rustc', 'CARGO_HOME': str(folder / 'home')})
        os.link(folder / 'build/target/release/rustls-client', target)
    return built('rustls', source, build)


def java_classes():
    """The folder of the Java client's classes."""
    source = WORKLOADS / 'java/Client.java'
    return built('classes', source, lambda target: subprocess.run(['ecj', '-17', '-proc:none', '-d', target, source], check=True))


def die_with_parent():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def spawn(command, cgroup=None, **options):
    """Popen whose process cannot outlive this one, born in `cgroup` (a directory) if one is given."""
    def prepare():
        die_with_parent()
        if cgroup:
            with open(os.path.join(cgroup, 'cgroup.procs'), 'w') as f:
                f.write('0')
    return subprocess.Popen([str(c) for c in command], preexec_fn=prepare, **options)


def _children():
    me, out = os.getpid(), []
    for stat in glob.glob('/proc/[0-9]*/stat'):
        try:
            with open(stat) as f:
                fields = f.read().rpartition(')')[2].split()
        except OSError:
            continue
        if int(fields[1]) == me and fields[0] != 'Z':
            out.append(int(stat.split('/')[2]))
    return out


def _kill_leftovers():
    # Orphans are re-parented to this process (subreaper), so a few rounds reach every descendant.
    for _ in range(50):
        left = _children()
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            while os.waitpid(-1, os.WNOHANG if not left else 0)[0]:
                pass
        except ChildProcessError:
            return


def enter_sandbox():
    """Re-executes this program inside the sandbox (once), then finishes setting it up. Exits when not root."""
    if os.environ.get(_SANDBOX) != '1':
        if os.geteuid() != 0:
            sys.exit('these tests load BPF programs and make namespaces: run them as root')
        os.environ[_SANDBOX] = '1'
        os.execvp('unshare', ['unshare', '--net', '--mount', '--propagation', 'private', PYTHON, *sys.argv])
    die_with_parent()
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    atexit.register(_kill_leftovers)
    subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
    with tempfile.NamedTemporaryFile('w', prefix='hosts-') as hosts:
        hosts.write(f'127.0.0.1 localhost {" ".join(NAMES)}\n')
        hosts.flush()
        subprocess.run(['mount', '--bind', hosts.name, '/etc/hosts'], check=True)
    if os.path.isdir('/sys/fs/bpf'):
        subprocess.run(['mount', '-t', 'bpf', 'bpf', '/sys/fs/bpf'], check=True)


def wait_until(condition, what, timeout=30.0):
    """Polls until `condition()` is truthy and returns that value. `what` may be a function telling what was seen instead."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f'not within {timeout:g} s: {what() if callable(what) else what}')
        time.sleep(0.005)


class Lines:
    """JSON lines that a file or pipe delivers, gathered by a thread; other lines are kept as text."""

    def __init__(self, stream):
        self.values, self.text = [], []
        self.closed = False
        self._thread = threading.Thread(target=self._gather, args=(stream,), daemon=True)
        self._thread.start()

    def _gather(self, stream):
        for line in stream:
            try:
                self.values.append(json.loads(line))
            except ValueError:
                self.text.append(line.decode(errors='replace').rstrip('\n'))
        self.closed = True

    def first(self, predicate):
        return next((v for v in list(self.values) if predicate(v)), None)

    def join(self):
        self._thread.join()


def end_session(process, lines):
    """Kills a client and what it started (the curl driver's curl would else outlive it and keep the pipe open)."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    process.stdin.close()
    lines.join()
    process.stdout.close()


class Provider:
    """The fake provider as a process of its own, and its log."""

    def __init__(self, folder, port=0):
        self.path = os.path.join(folder, 'provider.jsonl')
        self.process = spawn([PYTHON, WORKLOADS / 'fake_provider.py', '--log', self.path, '--port', port, '--dir', folder],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, 'TMPDIR': folder})
        first = self.process.stdout.readline()
        if not first:
            raise AssertionError('the fake provider did not start')
        self.port, self.clear_port, self.ca = (json.loads(first)[k] for k in ('port', 'clear_port', 'ca'))
        self._offset, self._events, self._reports = 0, {}, 0

    def base(self, host='fake.test'):
        return f'https://{host}:{self.port}'

    def clear_base(self, host='fake.test'):
        return f'http://{host}:{self.clear_port}'

    def _command(self, **command):
        self.process.stdin.write(json.dumps(command).encode() + b'\n')
        self.process.stdin.flush()

    def permit(self, request_id, count=1):
        self._command(permit=request_id, count=count)

    def connections(self):
        """The totals of every connection, by its number, open ones included."""
        self._reports += 1
        self._command(report=self._reports)
        self.wait('reported', tag=self._reports)
        found = self.events('state', tag=self._reports) + self.events('end')
        return {e['conn']: e for e in found}

    def events(self, event, **fields):
        """What was logged so far of one kind, narrowed to the given field values."""
        with open(self.path, 'rb') as f:
            f.seek(self._offset)
            data = f.read()
        end = data.rfind(b'\n') + 1
        self._offset += end
        for line in data[:end].splitlines():
            logged = json.loads(line)
            self._events.setdefault(logged['event'], []).append(logged)
        found = self._events.get(event, [])
        if not fields:
            return list(found)
        return [e for e in found if all(e.get(k) == v for k, v in fields.items())]

    def wait(self, event, count=1, timeout=30.0, **fields):
        """Waits until at least `count` such events are there; returns all of them."""
        def enough():
            found = self.events(event, **fields)
            return found if len(found) >= count else None
        return wait_until(enough, lambda: f'{count} × {event} {fields}; logged: {self.tally()}', timeout)

    def tally(self):
        return {kind: len(found) for kind, found in self._events.items()}

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def host_of(kind, api):
    if kind.endswith('_h2'):
        return 'h2.fake.test'
    return 'anthropic.fake.test' if api == 'messages' else 'fake.test'


class Client:
    """One run of a client program. `answers` fills as they come."""

    def __init__(self, kind, base, ca, requests, api=None, model=None, prefix=(), cgroup=None,
                 environment=None, **plan):
        interpreter, script, apis = ALL[kind]
        self.kind, self.api = kind, api or apis[0]
        self.model = model or MODELS[self.api]
        self.requests = requests
        plan.update(base=base, ca=ca, api=self.api, model=self.model, requests=requests)
        if kind == 'curl_h2':
            plan['http'] = 2
        elif kind == 'rustls':
            plan['program'] = [rustls_client()]
        elif kind == 'java':
            plan['program'] = ['java', '-XX:TieredStopAtLevel=1', '-cp', java_classes(), 'Client']
        # Temporary files go where the provider's are: what a killed client leaves is removed with them.
        environment = {**os.environ, **(environment or {}), 'TMPDIR': os.path.dirname(ca), 'NODE_EXTRA_CA_CERTS': ca,
                       'DENO_CERT': ca, 'DENO_DIR': os.path.join(os.path.dirname(ca), 'deno'), 'DENO_NO_UPDATE_CHECK': '1',
                       'SSL_CERT_FILE': ca, 'PYTHONDONTWRITEBYTECODE': '1'}
        text = json.dumps(plan)
        if len(text) > 100_000:  # one argument may not be longer than 128 KiB
            with tempfile.NamedTemporaryFile('w', dir=os.path.dirname(ca), prefix='plan-', delete=False) as f:
                f.write(text)
            text = '@' + f.name
        command = [program(interpreter), *(['run', '--allow-all', '--quiet'] if interpreter == 'deno' else [])]
        self.command = [*prefix, *command, *([WORKLOADS / 'clients' / script] if script else []), text]
        self.process = spawn(self.command, cgroup, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
                             start_new_session=True)
        self.lines = Lines(self.process.stdout)

    @property
    def answers(self):
        return [v for v in list(self.lines.values) if 'id' in v]

    @property
    def pid(self):
        """The client's process id, known once it is ready (curl: of the driver; each answer names curl's own)."""
        return self.ready()['pid']

    def ready(self, timeout=60.0):
        return wait_until(lambda: self.lines.first(lambda v: v.get('ready')) or self._ended(), f'{self.kind} ready', timeout)

    def _ended(self):
        if self.lines.closed:
            raise AssertionError(f'{self.kind} ended with {self.process.wait()} before it was done; said {self.lines.text}')

    def go(self, count=1):
        """Lets `count` waiting requests go."""
        self.process.stdin.write(b'\n' * count)
        self.process.stdin.flush()

    def answer(self, request_id, timeout=60.0):
        return wait_until(lambda: self.lines.first(lambda v: v.get('id') == request_id) or self._ended(),
                          lambda: f'answer {request_id} of {self.kind}; has {[a["id"] for a in self.answers]}', timeout)

    def finish(self, timeout=120.0):
        """Waits for the end; returns the answers by request id."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f'{self.kind} still runs; has {len(self.answers)} of {len(self.requests)} answers')
        self.lines.join()
        return {a['id']: a for a in self.answers}

    def stop(self):
        end_session(self.process, self.lines)


class Agent:
    """One unattended run of a coding agent as its users have it, pointed at the provider: `claude` (Claude Code, Bun) or `codex`
    (rustls, HTTP/2)."""
    HOSTS = {'claude': 'anthropic.fake.test', 'codex': 'h2.fake.test'}
    PATHS = {'claude': '/v1/messages', 'codex': '/v1/responses'}

    def __init__(self, kind, provider, folder, model, cgroup=None):
        home = tempfile.mkdtemp(dir=folder, prefix=f'{kind}-home-')
        environment = {**os.environ, 'HOME': home, 'TMPDIR': home, 'SSL_CERT_FILE': provider.ca, 'NODE_EXTRA_CA_CERTS': provider.ca}
        base = provider.base(self.HOSTS[kind])
        if kind == 'claude':
            environment.update(ANTHROPIC_API_KEY='sk-test', ANTHROPIC_BASE_URL=base, CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC='1',
                               DISABLE_AUTOUPDATER='1', IS_SANDBOX='1', CLAUDE_CODE_MAX_RETRIES='0')
            command = [program(kind), '-p', 'say hello', '--model', model]
        else:
            environment.update(CODEX_HOME=home, OPENAI_API_KEY='sk-test')
            settings = {'model_provider': 'fake', 'model_providers.fake.name': 'fake', 'model_providers.fake.base_url': base + '/v1',
                        'model_providers.fake.env_key': 'OPENAI_API_KEY', 'model_providers.fake.wire_api': 'responses',
                        'model_providers.fake.request_max_retries': 0, 'model_providers.fake.stream_max_retries': 0}
            options = [text for key, value in settings.items() for text in ('-c', f'{key}={json.dumps(value)}')]
            command = [program(kind), 'exec', '--skip-git-repo-check', '-m', model, *options, 'say hello']
        self.kind, self.path = kind, self.PATHS[kind]
        self.output = tempfile.TemporaryFile()
        self.process = spawn(command, cgroup, stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT, env=environment,
                             cwd=home, start_new_session=True)

    def finish(self, timeout=120.0):
        """Waits for its end; returns (exit code, what it said)."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f'{self.kind} still runs; said {self.said()}')
        return self.process.returncode, self.said()

    def said(self):
        self.output.seek(0)
        return self.output.read().decode(errors='replace')[-2000:]

    def stop(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.output.close()
