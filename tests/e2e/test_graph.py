"""The call graph: which agent called which model, what the model asked for, and who started whom."""
import json
import os
import sys

import harness
import rig

# An agent that calls a model and then starts another agent: argv are the plan of its own, and the command of the other.
BOSS = f'''import runpy, subprocess, sys
other = sys.argv[2:]
sys.argv = [{str(rig.WORKLOADS / "clients/python_sync.py")!r}, sys.argv[1]]
sys.path.insert(0, {str(rig.WORKLOADS / "clients")!r})
runpy.run_path(sys.argv[0], run_name="__main__")
sys.exit(subprocess.run(other).returncode)
'''


class Graph(harness.Case):
    def plan(self, requests):
        return json.dumps({'base': self.provider.base(), 'ca': self.provider.ca, 'api': 'chat', 'model': 'gpt-4o-mini',
                           'requests': requests})

    def test_agents_models_tools_and_who_started_whom(self):
        self.start_daemon()
        observer = self.observe()
        calls = [{'id': 'b0', 'script': 'in=100;out=10;tools=search'}, {'id': 'b1', 'script': 'in=200;out=20'}]
        done = rig.spawn([rig.PYTHON, '-c', BOSS, self.plan(calls), rig.node(), rig.WORKLOADS / 'clients/node_https.mjs',
                          self.plan([{'id': 'w0', 'script': 'in=7;out=3'}])], stdout=sys.stderr,
                         env={**os.environ, 'NODE_EXTRA_CA_CERTS': self.provider.ca}).wait(60)
        self.assertEqual(done, 0)
        boss, _, worker = [e['agent'] for e in sorted(observer.wait(3), key=lambda e: e['id'])]
        self.assertNotEqual(boss, worker)

        graph = json.loads(self.daemon.must('graph', '-o', 'json'))
        names = [f'{n["kind"]} {n["name"]}' for n in graph['nodes']]
        edges = {(names[e['from']], e['kind'], names[e['to']]): e for e in graph['edges']}
        model = 'model openai/gpt-4o-mini-2024-07-18'
        self.assertEqual({key: e['count'] for key, e in edges.items()},
                         {(f'agent {boss}', 'start', f'agent {worker}'): 1, (f'agent {boss}', 'call', model): 2,
                          (f'agent {worker}', 'call', model): 1, (model, 'ask', 'tool search'): 1})
        called = edges[f'agent {boss}', 'call', model]
        self.assertEqual((called['input_tokens'], called['output_tokens'], called['cost_nano_usd']), (300, 30, 63_000))
        self.assertIn('-.->|"1 start"|', self.daemon.must('graph', '-o', 'mermaid'))

        run = next(e['run'] for e in observer.exchanges if e['agent'] == worker)
        self.assertIn('openai/gpt-4o-mini', self.daemon.must('graph', run))
        self.assertEqual(self.daemon.run('graph', 'no-such-run').returncode, 6)
