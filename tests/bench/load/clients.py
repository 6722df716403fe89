#!/usr/bin/python3
"""What a verdict costs real clients: clients.py [--rounds N] [--requests N] [--only CLIENT,…]

Every round alternates, for each client: `off` (no daemon), `observe` and `gate` (every request judged against a rule and a
budget), over one connection with one request at a time. Prints the medians over the rounds of each client's own p50 and p99,
and what they add to `off` of the same round. The fake provider is a Python program on the same machine: only the differences
mean something. Needs root; asserts nothing.
"""
import argparse
import tempfile

from alternate import LATENCY, alternated, daemon, harness, print_table, rig

CLIENTS = ('python_sync', 'python_asyncio', 'node_https', 'node_fetch', 'go')
CONFIGURATIONS = ('off', 'observe', 'gate')


def quantile(values, q):
    return sorted(values)[min(len(values) - 1, int(len(values) * q))]


def measure(folder, provider, scope, kind, configuration, count, tag):
    with daemon(folder, configuration, scope, f'endpoints: {{ "fake.test:{provider.port}": openai }}\n'):
        requests = [{'id': f'{tag}-{i}', 'script': 'in=10;out=10'} for i in range(count)]
        client = rig.Client(kind, provider.base(), provider.ca, requests, api='chat', cgroup=scope.directory, prompt_bytes=1024)
        answers = client.finish(300).values()
        failed = [a for a in answers if a['error'] is not None]
        if failed or len(answers) != count:
            raise SystemExit(f'{kind} {configuration}: {len(answers)} of {count} answered, {failed[:1]}')
        times = [a['elapsed_ms'] * 1000 for a in answers][count // 10:]  # past the handshake and the first examinations
        return {'p50_us': quantile(times, 0.5), 'p99_us': quantile(times, 0.99)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--requests', type=int, default=400)
    parser.add_argument('--only', default='', help='comma-separated names of clients')
    options = parser.parse_args()
    rig.enter_sandbox()
    kinds = [k for k in CLIENTS if not options.only or k in options.only.split(',')]
    with tempfile.TemporaryDirectory(prefix='penstock-bench-') as folder:
        provider, scope = rig.Provider(folder), harness.Scope('clients')
        try:
            rows = alternated(options.rounds, kinds, CONFIGURATIONS, lambda kind, configuration, number: measure(
                folder, provider, scope, kind, configuration, options.requests, f'{number}-{kind}-{configuration}'))
        finally:
            provider.stop()
            scope.remove()
    print_table(rows, LATENCY)


if __name__ == '__main__':
    main()
