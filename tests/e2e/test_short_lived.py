"""Ten thousand processes that live for one request each: every call is attributed to its process and counted exactly, and
when they are gone, so is what they left in the daemon and in the kernel's tables. PENSTOCK_SHORT_PROCESSES changes their number."""
import json
import os
import subprocess

import harness
import rig
from test_saturation import LOAD

PORT = 28445
COUNT = int(os.environ.get('PENSTOCK_SHORT_PROCESSES', '10000'))


def bpftool(*arguments):
    return json.loads(subprocess.run(['bpftool', '--json', *arguments], capture_output=True, text=True, check=True).stdout)


class ShortLived(harness.Case):
    def endpoints(self):
        return f'endpoints: {{ "api.openai.com:{PORT}": openai }}\n'

    def run_processes(self, count):
        done = rig.spawn([LOAD / 'bench_llm_load', '--port', PORT, '--processes', count], stdout=subprocess.PIPE, text=True)
        self.assertEqual(json.loads(done.communicate()[0]), {'processes': count, 'failures': 0})

    def entries(self, name):
        """(key, value) of every entry of a table, as the kernel's types have them."""
        dumped = bpftool('map', 'dump', 'pinned', os.path.join(self.daemon.pins, name))
        return [(e['formatted']['key'], e['formatted']['value']) for e in dumped]

    def held_things(self):
        """What the daemon and the kernel keep, as numbers that must not grow with the processes that came and went. Other
        programs of this host are observed as well: of the tables it is what names connections and processes of the past."""
        pid = self.daemon.process.pid
        connections = self.entries('pn_conn')
        known = {cookie for cookie, _ in connections}

        def gone(tgid):
            return not os.path.exists(f'/proc/{tgid}')
        return {'descriptors': len(os.listdir(f'/proc/{pid}/fd')), 'threads': len(os.listdir(f'/proc/{pid}/task')),
                'pins': len(os.listdir(self.daemon.pins)), 'links': len(bpftool('link', 'show')), 'maps': len(bpftool('map', 'show')),
                'pn_conn': len([v for _, v in connections if v['remote_port'] == PORT or gone(v['tgid'])]),
                'pn_ctx': len([k for k, _ in self.entries('pn_ctx') if gone(k['tgid'])]),
                'pn_proc': len([k for k, _ in self.entries('pn_proc') if gone(k)]),
                **{name: len([k for k, _ in self.entries(name) if k not in known]) for name in ('pn_gate', 'pn_admit')}}

    def test_every_call_is_attributed_and_nothing_is_left(self):
        server = rig.spawn([LOAD / 'bench_llm_server', '--port', PORT], stdout=subprocess.PIPE, text=True)
        self.addCleanup(server.stdout.close)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        self.assertEqual(server.stdout.readline(), 'ready\n')
        program = str(LOAD / 'bench_llm_load')
        self.start_daemon(images=[LOAD / 'bench_llm_server', program])
        observer = self.observe()
        self.run_processes(20)
        observer.wait(20)
        rig.wait_until(lambda: not self.held_things()['pn_conn'], self.held_things)
        before = self.held_things()
        self.run_processes(COUNT)
        rig.wait_until(lambda: len(observer.lines.values) >= COUNT + 20, lambda: f'observed {len(observer.lines.values)}', 60)
        exchanges = [e for e in observer.exchanges if e['kind'] == 'llm']
        self.assertEqual(len(exchanges), COUNT + 20)
        wrong = [e for e in exchanges if (e.get('exe'), e['usage_status'], e['usage']['input_tokens'], e['provider']) !=
                 (program, 'exact', 256, 'openai') or not e['agent']]
        self.assertEqual(wrong[:3], [])
        self.assertEqual(len({e['pid'] for e in exchanges}), len(exchanges), 'a process each')
        self.assertEqual(len({e['connection'] for e in exchanges}), len(exchanges), 'a connection each')
        # A few are opened once, at their first need (the netlink socket that asks for the bytes of a connection), or for a moment
        # (an image that is examined): nothing to what ten thousand processes would leave.
        before['descriptors'] += 8

        def left():
            return {name: n for name, n in self.held_things().items() if n > before[name]}
        rig.wait_until(lambda: not left(), lambda: f'left {left()}; before {before}', 60)
