"""What the benchmarks of this folder share: configurations that alternate within one run, and figures that compare them.

A run has rounds; in each, every workload is measured under every configuration, `off` among them. Rows are dictionaries with
`round`, `workload`, `configuration` and the figures measured.
"""
import contextlib
import pathlib
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / 'e2e'))
import harness  # noqa: E402
from harness import rig  # noqa: E402,F401

GATE_POLICY = '''kind: Policy
name: bench
match: {{ cgroup: "{cgroup}" }}
mode: enforce
budgets:
  - {{ name: spend, per: [run], usd: 1000000, window: 1d, on_breach: deny }}
rules:
  - {{ deny: {{ model: "forbidden*" }} }}
'''


@contextlib.contextmanager
def daemon(folder, configuration, scope, config):
    """The daemon of one measurement, observing or (`gate`) judging what runs in `scope`; None when `off`."""
    if configuration == 'off':
        yield None
        return
    policies = GATE_POLICY.format(cgroup=scope.path) if configuration == 'gate' else ''
    started = harness.Daemon(tempfile.mkdtemp(dir=folder), policies=policies, config=config)
    started.start()
    try:
        yield started
    finally:
        started.stop()
        subprocess.run(['rm', '-rf', started.pins], check=False)


def alternated(rounds, workloads, configurations, measure):
    """All rows of a run; `measure(workload, configuration, round)` gives the figures of one."""
    rows = []
    for number in range(rounds):
        for workload in workloads:
            for configuration in configurations:
                rows.append({'round': number, 'workload': workload, 'configuration': configuration,
                             **measure(workload, configuration, number)})
                print(f'round {number} {workload} {configuration}', file=sys.stderr)
    return rows


def print_table(rows, columns):
    """One line per workload and configuration. `columns`: (title, format, figure(row, the `off` row of its round or {})); the
    median over the rounds, a dash where it is not known."""
    def width(form):
        return int(form.lstrip('>+').split('.')[0])
    print(f'{"workload":<15} {"configuration":<13}', *(title.rjust(width(form)) for title, form, _ in columns))
    off = {(row['workload'], row['round']): row for row in rows if row['configuration'] == 'off'}
    for workload, configuration in dict.fromkeys((row['workload'], row['configuration']) for row in rows):
        mine = [row for row in rows if (row['workload'], row['configuration']) == (workload, configuration)]
        cells = []
        for _, form, figure in columns:
            try:
                cells.append(format(statistics.median(figure(x, off.get((workload, x['round']), {})) for x in mine), form))
            except KeyError:
                cells.append('-'.rjust(width(form)))
        print(f'{workload:<15} {configuration:<13}', *cells)


LATENCY = [  # columns of rows that have p50_us and p99_us
    ('p50 us', '>9.1f', lambda x, o: x['p50_us']), ('+p50', '>+9.1f', lambda x, o: x['p50_us'] - o['p50_us']),
    ('p99 us', '>9.1f', lambda x, o: x['p99_us']), ('+p99', '>+9.1f', lambda x, o: x['p99_us'] - o['p99_us'])]
