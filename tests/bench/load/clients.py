#!/usr/bin/python3
"""What a verdict costs real clients: clients.py [--rounds N] [--requests N] [--only CLIENT,…]

Every round alternates, for each client: `off` (no daemon), `observe` and `gate` (every request judged against a rule and a
budget), over one connection with one request at a time. Prints the medians over the rounds of each client's own p50 and p99,
and what they add to `off` of the same round. The fake provider is a Python program on the same machine: only the differences
mean something. Needs root; asserts nothing.
"""
import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / 'e2e'))
import harness  # noqa: E402
from bench import GATE_POLICY  # noqa: E402
from harness import rig  # noqa: E402

CLIENTS = ('python_sync', 'python_asyncio', 'node_https', 'node_fetch', 'go')
CONFIGURATIONS = ('off', 'observe', 'gate')


def quantile(values, q):
    return sorted(values)[min(len(values) - 1, int(len(values) * q))]


def measure(folder, provider, scope, kind, configuration, count, tag):
    daemon = None
    if configuration != 'off':
        policies = GATE_POLICY.format(cgroup=scope.path) if configuration == 'gate' else ''
        daemon = harness.Daemon(tempfile.mkdtemp(dir=folder), policies=policies,
                                config=f'endpoints: {{ "fake.test:{provider.port}": openai }}\n').start()
    try:
        requests = [{'id': f'{tag}-{i}', 'script': 'in=10;out=10'} for i in range(count)]
        client = rig.Client(kind, provider.base(), provider.ca, requests, api='chat', cgroup=scope.directory, prompt_bytes=1024)
        answers = client.finish(300).values()
        failed = [a for a in answers if a['error'] is not None]
        if failed or len(answers) != count:
            raise SystemExit(f'{kind} {configuration}: {len(answers)} of {count} answered, {failed[:1]}')
        times = [a['elapsed_ms'] * 1000 for a in answers][count // 10:]  # past the handshake and the first examinations
        return {'p50': quantile(times, 0.5), 'p99': quantile(times, 0.99)}
    finally:
        if daemon is not None:
            daemon.stop()
            subprocess.run(['rm', '-rf', daemon.pins], check=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--requests', type=int, default=400)
    parser.add_argument('--only', default='', help='comma-separated names of clients')
    options = parser.parse_args()
    rig.enter_sandbox()
    kinds = [k for k in CLIENTS if not options.only or k in options.only.split(',')]
    rows = {(k, c): [] for k in kinds for c in CONFIGURATIONS}
    with tempfile.TemporaryDirectory(prefix='penstock-bench-') as folder:
        provider, scope = rig.Provider(folder), harness.Scope('clients')
        try:
            for r in range(options.rounds):
                for kind in kinds:
                    for configuration in CONFIGURATIONS:
                        rows[kind, configuration].append(
                            measure(folder, provider, scope, kind, configuration, options.requests, f'{r}-{kind}-{configuration}'))
                        print(f'round {r} {kind} {configuration}', file=sys.stderr)
        finally:
            provider.stop()
            scope.remove()
    print(f'{"client":<15} {"configuration":<13} {"p50 us":>9} {"+p50":>9} {"p99 us":>9} {"+p99":>9}')
    for kind in kinds:
        for configuration in CONFIGURATIONS:
            cells = []
            for q in ('p50', 'p99'):
                pairs = list(zip(rows[kind, configuration], rows[kind, 'off']))
                cells += [f'{statistics.median(x[q] for x, _ in pairs):>9.1f}', f'{statistics.median(x[q] - o[q] for x, o in pairs):>+9.1f}']
            print(f'{kind:<15} {configuration:<13}', *cells)


if __name__ == '__main__':
    main()
