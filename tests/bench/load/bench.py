#!/usr/bin/python3
"""What Penstock costs, as ratios within one run: bench.py [--rounds N] [--secs S] [--only NAME,…] [--json FILE]

Every round alternates, for each workload: `off` (nothing probed), `empty` (empty probes at our sites), `copy` (probes that
only copy), `observe` (penstockd observing) and `gate` (penstockd judging every request against a rule and a budget). Each
figure is the median over the rounds; a ratio compares with the `off` of the same round. Client, server and daemon share the
machine's cores. Needs root; prints a table, asserts nothing.
"""
import argparse
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / 'tests/e2e'))
import harness  # noqa: E402
from harness import rig  # noqa: E402

BIN = harness.BUILD / 'tests/bench/load'
PORT = 28443
WORKLOADS = {  # name -> arguments of bench_llm_load
    '1KiB x8': ['--conns', '8', '--prompt', '1024'],
    '16KiB x8': ['--conns', '8', '--prompt', '16384'],  # a record each: req/s is records of 16 KiB per second
    '32KiB x8': ['--conns', '8', '--prompt', '32768'],
    '512KiB x8': ['--conns', '8', '--prompt', '524288'],
    'sse200 x8': ['--conns', '8', '--chunks', '200'],
    '1KiB x1': ['--conns', '1', '--prompt', '1024'],
    '1KiB x16': ['--conns', '16', '--prompt', '1024'],
    '1KiB x1000': ['--conns', '1000', '--prompt', '1024'],  # for the daemon's memory
}
GATE_POLICY = '''kind: Policy
name: bench
match: {{ cgroup: "{cgroup}" }}
mode: enforce
budgets:
  - {{ name: spend, per: [run], usd: 1000000, window: 1d, on_breach: deny }}
rules:
  - {{ deny: {{ model: "forbidden*" }} }}
'''


class Floor:
    def __init__(self, mode):
        self.process = rig.spawn([BIN / 'bench_floor', mode], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == 'ready\n'

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate()


def cpu_seconds(pid):
    with open(f'/proc/{pid}/stat') as f:
        fields = f.read().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def rss_mib(pid):
    with open(f'/proc/{pid}/status') as f:
        return next(int(line.split()[1]) / 1024 for line in f if line.startswith('VmRSS'))


def plaintext(row):
    return row['written_bytes'] + row['read_bytes']


class Bench:
    def __init__(self, folder, secs):
        self.folder, self.secs = folder, secs
        self.scope = harness.Scope('bench')
        self.server = rig.spawn([BIN / 'bench_llm_server', '--port', str(PORT)], stdout=subprocess.PIPE, text=True)
        assert self.server.stdout.readline() == 'ready\n'

    def close(self):
        self.server.kill()
        self.scope.remove()

    def load(self, arguments):
        done = rig.spawn([BIN / 'bench_llm_load', '--port', str(PORT), '--secs', str(self.secs), *arguments],
                         cgroup=self.scope.directory, stdout=subprocess.PIPE, text=True)
        out = done.communicate()[0]
        if not out:
            raise SystemExit(f'the load generator ended with {done.returncode}')
        return json.loads(out)

    def measure(self, configuration, arguments):
        if configuration == 'off':
            return self.load(arguments)
        if configuration in ('empty', 'copy'):
            floor = Floor(configuration)
            try:
                return self.load(arguments)
            finally:
                floor.stop()
        policy = GATE_POLICY.format(cgroup=self.scope.path) if configuration == 'gate' else ''
        daemon = harness.Daemon(tempfile.mkdtemp(dir=self.folder), policies=policy, config=f'endpoints: {{ "api.openai.com:{PORT}": openai }}\n'
                                f'exclude_images: {BIN}/bench_llm_server\n')  # the reference probes see the client alone
        daemon.start()
        try:
            before = cpu_seconds(daemon.process.pid)
            figures = self.load(arguments)
            spent = cpu_seconds(daemon.process.pid) - before
            figures['daemon_cpu_us'] = spent * 1e6 / max(1, figures['requests'])
            figures['daemon_rss_mib'] = rss_mib(daemon.process.pid)
            figures['lost_bytes'] = sum(c['value'] for c in daemon.get('counters')['counters']
                                        if c['name'].startswith('kernel_lost_') and c['name'].endswith('_bytes'))
            return figures
        finally:
            daemon.stop()
            subprocess.run(['rm', '-rf', daemon.pins], check=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--secs', type=float, default=2.0)
    parser.add_argument('--only', default='', help='comma-separated names of workloads')
    parser.add_argument('--configurations', default='off,empty,copy,observe,gate')
    parser.add_argument('--json', help='write every single figure to this file')
    options = parser.parse_args()
    rig.enter_sandbox()
    chosen = [w for w in WORKLOADS if not options.only or w in options.only.split(',')]
    configurations = options.configurations.split(',')
    rows = []
    with tempfile.TemporaryDirectory(prefix='penstock-bench-') as folder:
        bench = Bench(folder, options.secs)
        try:
            for r in range(options.rounds):
                for workload in chosen:
                    for configuration in configurations:
                        rows.append({'round': r, 'workload': workload, 'configuration': configuration,
                                     **bench.measure(configuration, WORKLOADS[workload])})
                        print(f'round {r} {workload} {configuration}', file=sys.stderr)
        finally:
            bench.close()
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(rows, indent=1))
    print(f'{"workload":<11} {"configuration":<13} {"req/s":>9} {"of off":>7} {"p50 us":>9} {"+p50":>9} {"p99 us":>9} {"+p99":>9} '
          f'{"client cpu":>10} {"daemon cpu":>10} {"RSS MiB":>8} {"MB/s":>7} {"lost bytes":>10} {"of all":>7}')
    for workload in chosen:
        off = {x['round']: x for x in rows if x['workload'] == workload and x['configuration'] == 'off'}
        for configuration in configurations:
            mine = [x for x in rows if x['workload'] == workload and x['configuration'] == configuration]

            def cell(figure, form):
                """The median of figure(row, its round's `off` row or {}); a dash where it is not known."""
                width = int(form.lstrip('>+').split('.')[0])
                try:
                    return format(statistics.median(figure(x, off.get(x['round'], {})) for x in mine), form)
                except KeyError:
                    return '-'.rjust(width)
            print(f'{workload:<11} {configuration:<13}',
                  cell(lambda x, o: x['per_second'], '>9.0f'), cell(lambda x, o: x['per_second'] / o['per_second'], '>7.2f'),
                  cell(lambda x, o: x['p50_us'], '>9.1f'), cell(lambda x, o: x['p50_us'] - o['p50_us'], '>+9.1f'),
                  cell(lambda x, o: x['p99_us'], '>9.1f'), cell(lambda x, o: x['p99_us'] - o['p99_us'], '>+9.1f'),
                  cell(lambda x, o: x['cpu_us_per_request'], '>10.1f'), cell(lambda x, o: x['daemon_cpu_us'], '>10.1f'),
                  cell(lambda x, o: x['daemon_rss_mib'], '>8.1f'), cell(lambda x, o: plaintext(x) / options.secs / 1e6, '>7.0f'),
                  cell(lambda x, o: x['lost_bytes'], '>10.0f'), cell(lambda x, o: x['lost_bytes'] / plaintext(x), '>7.4f'))


if __name__ == '__main__':
    main()
