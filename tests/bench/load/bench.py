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
import subprocess
import tempfile

from alternate import LATENCY, alternated, daemon, harness, print_table, rig

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
CONFIGURATIONS = ('off', 'empty', 'copy', 'observe', 'gate')


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
        if configuration in ('empty', 'copy'):
            floor = Floor(configuration)
            try:
                return self.load(arguments)
            finally:
                floor.stop()
        config = (f'endpoints: {{ "api.openai.com:{PORT}": openai }}\n'
                  f'exclude_images: {BIN}/bench_llm_server\n')  # the reference probes see the client alone
        with daemon(self.folder, configuration, self.scope, config) as observer:
            if observer is None:
                return self.load(arguments)
            before = cpu_seconds(observer.process.pid)
            figures = self.load(arguments)
            spent = cpu_seconds(observer.process.pid) - before
            figures['daemon_cpu_us'] = spent * 1e6 / max(1, figures['requests'])
            figures['daemon_rss_mib'] = rss_mib(observer.process.pid)
            figures['lost_bytes'] = sum(c['value'] for c in observer.get('counters')['counters']
                                        if c['name'].startswith('kernel_lost_') and c['name'].endswith('_bytes'))
            return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--secs', type=float, default=2.0)
    parser.add_argument('--only', default='', help='comma-separated names of workloads')
    parser.add_argument('--configurations', default=','.join(CONFIGURATIONS))
    parser.add_argument('--json', help='write every single figure to this file')
    options = parser.parse_args()
    rig.enter_sandbox()
    chosen = [w for w in WORKLOADS if not options.only or w in options.only.split(',')]
    with tempfile.TemporaryDirectory(prefix='penstock-bench-') as folder:
        bench = Bench(folder, options.secs)
        try:
            rows = alternated(options.rounds, chosen, options.configurations.split(','),
                              lambda workload, configuration, _: bench.measure(configuration, WORKLOADS[workload]))
        finally:
            bench.close()
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(rows, indent=1))
    print_table(rows, [
        ('req/s', '>9.0f', lambda x, o: x['per_second']), ('of off', '>7.2f', lambda x, o: x['per_second'] / o['per_second']),
        *LATENCY, ('client cpu', '>10.1f', lambda x, o: x['cpu_us_per_request']),
        ('daemon cpu', '>10.1f', lambda x, o: x['daemon_cpu_us']), ('RSS MiB', '>8.1f', lambda x, o: x['daemon_rss_mib']),
        ('MB/s', '>7.0f', lambda x, o: plaintext(x) / options.secs / 1e6),
        ('lost bytes', '>10.0f', lambda x, o: x['lost_bytes']), ('of all', '>7.4f', lambda x, o: x['lost_bytes'] / plaintext(x))])


if __name__ == '__main__':
    main()
