#!/usr/bin/python3
"""What probes cost where they are hit and where they are not: probes.py [--rounds N] [--secs S] [--json FILE]

Every round alternates the configurations. Each figure is the best of its rounds, a ratio one of bests: whatever else the machine
does only adds.
  pairs       nanoseconds of one TLS write and one read of a model call under way: `off` (nothing probed), `empty` (empty probes at
              our sites), `copy` (probes that only copy), `observe` (penstockd). `captured` is the share of the bytes that reached it.
  TLS         requests per second that carry no model call, by a client on libssl: `off`, `observe`, and `gate` (a policy gates another
              cgroup). The server has its TLS linked in, or is nginx, if that is installed.
  system      nanoseconds per call of a program without TLS, in the same configurations
  programs    nanoseconds that the kernel counts for each of its programs while `system` runs; the counting itself is in them
  daemon      share of one CPU that penstockd takes while nothing happens
Client, server and daemon share the machine's cores. Needs root; asserts nothing.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / 'tests/bench/load'))
import bench  # noqa: E402
from alternate import GATE_POLICY, harness, rig  # noqa: E402

BIN = harness.BUILD / 'tests/bench/probes'
PAIR_PORT, SERVER_PORT, NGINX_PORT = 28543, 28544, 28545
SIZES = (64, 1024, 16384)
NGINX = '''daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; worker_processes 1;
events {{ worker_connections 64; }}
http {{ access_log off; server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {folder}/leaf.pem; ssl_certificate_key {folder}/leaf.key;
  ssl_protocols TLSv1.3; keepalive_requests 100000000; location / {{ return 200 "a short answer"; }} }} }}
'''


def run(program, *arguments):
    done = rig.spawn([program, *arguments], stdout=subprocess.PIPE, text=True)
    out = done.communicate()[0]
    if not out:
        raise SystemExit(f'{program} ended with {done.returncode}')
    return json.loads(out)


class Configuration:
    """`off`, `empty`, `copy`, `observe` or `gate`, for the length of a with statement; `daemon` is penstockd, if it runs."""

    def __init__(self, name, folder):
        self.name, self.folder, self.daemon, self.floor = name, folder, None, None

    def __enter__(self):
        if self.name in ('empty', 'copy'):
            self.floor = bench.Floor(self.name)
        elif self.name != 'off':
            policies = GATE_POLICY.format(cgroup='/penstock-bench-elsewhere') if self.name == 'gate' else ''
            self.daemon = harness.Daemon(tempfile.mkdtemp(dir=self.folder), policies=policies,
                                         config=f'endpoints: {{ "api.openai.com:{PAIR_PORT}": openai }}\n',
                                         images=[BIN / 'bench_pair', harness.BUILD / 'tests/bench/load/bench_llm_server']).start()
        return self

    def __exit__(self, *_):
        if self.floor:
            self.floor.stop()
        if self.daemon:
            self.daemon.stop()
            subprocess.run(['rm', '-rf', self.daemon.pins], check=False)

    def captured_bytes(self):
        return sum(c['value'] for c in self.daemon.get('counters')['counters'] if c['name'] == 'kernel_sent_bytes')


def pairs(configuration, secs):
    out = {}
    for size in SIZES:
        before = configuration.captured_bytes() if configuration.daemon else 0
        figures = run(BIN / 'bench_pair', '--port', PAIR_PORT, '--secs', secs, '--size', size)
        out[f'pair {size}'] = figures['median_ns']
        if configuration.daemon:
            out[f'captured {size}'] = (configuration.captured_bytes() - before) / figures['bytes']
    return out


def unrelated(configuration, secs, servers):
    out = {f'call {name}': ns for name, ns in run(BIN / 'bench_unrelated', '--secs', secs / 4).items()}
    for name, port in servers.items():
        figures = run(bench.BIN / 'bench_llm_load', '--port', port, '--conns', 2, '--secs', secs, '--host', 'files.example',
                      '--target', '/upload')
        out[f'TLS {name}'] = figures['per_second']
    return out


def idle(configuration):
    if not configuration.daemon:
        return {}
    pid = configuration.daemon.process.pid
    before, begin = bench.cpu_seconds(pid), time.monotonic()
    time.sleep(2)
    return {'daemon idle': (bench.cpu_seconds(pid) - before) / (time.monotonic() - begin)}


def start_servers(folder):
    processes = [rig.spawn([bench.BIN / 'bench_llm_server', '--port', SERVER_PORT], stdout=subprocess.PIPE, text=True)]
    processes[0].stdout.readline()
    servers = {'static server': SERVER_PORT}
    if shutil.which('nginx'):
        provider = rig.Provider(folder)  # for its certificate
        provider.stop()
        pathlib.Path(folder, 'nginx.conf').write_text(NGINX.format(folder=folder, port=NGINX_PORT))
        processes.append(rig.spawn(['nginx', '-c', f'{folder}/nginx.conf']))
        servers['nginx'] = NGINX_PORT
        rig.wait_until(lambda: subprocess.run(['ss', '-Htln', f'sport = :{NGINX_PORT}'], capture_output=True).stdout, 'nginx')
    else:
        print('nginx is not installed: left out', file=sys.stderr)
    return processes, servers


def best(rows, configuration, name):
    mine = [r[name] for r in rows if r['configuration'] == configuration and name in r]
    return (max if name.startswith('TLS') else min)(mine) if mine else None


def table(rows, names, configurations, unit):
    print(f'\n{unit:<24}' + ''.join(f'{c:>10} {"of off":>7}' for c in configurations))
    for name in names:
        off = best(rows, 'off', name)
        print(f'{name:<24}' + ''.join(f'{best(rows, c, name):>10.0f} {best(rows, c, name) / off:>7.3f}' for c in configurations))


def programs():
    return {p['id']: p for p in json.loads(subprocess.run(['bpftool', '--json', 'prog', 'show'], capture_output=True, check=True).stdout)}


def counted_by_the_kernel(folder, secs):
    """[(program, ns per run, runs)] while a program without TLS makes its calls."""
    switch = pathlib.Path('/proc/sys/kernel/bpf_stats_enabled')
    was = switch.read_text()
    with Configuration('observe', folder):
        switch.write_text('1')
        try:
            before = programs()
            run(BIN / 'bench_unrelated', '--secs', secs / 4)
            after = programs()
        finally:
            switch.write_text(was)
    out = []
    for number, program in after.items():
        ns, runs = (program.get(f, 0) - before.get(number, {}).get(f, 0) for f in ('run_time_ns', 'run_cnt'))
        if runs > 1000:
            out.append((program['name'], ns / runs, runs))
    return sorted(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--secs', type=float, default=1.0)
    parser.add_argument('--json', help='write every single figure to this file')
    options = parser.parse_args()
    rig.enter_sandbox()
    rows = []
    with tempfile.TemporaryDirectory(prefix='penstock-bench-') as folder:
        processes, servers = start_servers(folder)
        try:
            for r in range(options.rounds):
                for name in ('off', 'empty', 'copy', 'observe', 'gate'):
                    with Configuration(name, folder) as configuration:
                        row = {'round': r, 'configuration': name}
                        if name != 'gate':
                            row.update(pairs(configuration, options.secs))
                        if name not in ('empty', 'copy'):
                            row.update(unrelated(configuration, options.secs, servers))
                        row.update(idle(configuration))
                        rows.append(row)
                        print(f'round {r} {name}', file=sys.stderr)
            counted = counted_by_the_kernel(folder, options.secs)
        finally:
            for process in processes:
                process.terminate()
                process.wait()
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(rows, indent=1))
    table(rows, [f'pair {s}' for s in SIZES], ('off', 'empty', 'copy', 'observe'), 'write + read, ns')
    for size in SIZES:
        name = f'pair {size}'
        ours = best(rows, 'observe', name)
        print(f'observe, {size} B: captured {best(rows, "observe", f"captured {size}"):.3f} of the bytes, adds '
              f'{ours - best(rows, "off", name):.0f} ns, {ours / best(rows, "empty", name):.2f} of empty probes')
    table(rows, [f'TLS {s}' for s in servers], ('off', 'observe', 'gate'), 'requests/s')
    table(rows, [n for n in rows[0] if n.startswith('call ')], ('off', 'observe', 'gate'), 'call, ns')
    print(f'\n{"program":<24}{"ns":>10} {"runs":>7}')
    for name, ns, runs in counted:
        print(f'{name:<24}{ns:>10.0f} {runs:>7}')
    shares = [r['daemon idle'] for r in rows if 'daemon idle' in r]
    print(f'\nthe idle daemon takes {100 * statistics.median(shares):.2f} % of one CPU')


if __name__ == '__main__':
    main()
