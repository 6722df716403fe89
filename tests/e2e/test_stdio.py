"""Tools over pipes: what an agent asks of an MCP server that it started shows up, and is held, released or refused before the
server's own code sees it. The official SDK on both sides (socket pairs), and a client with real pipes behind a shell."""
import json
import os

import harness
import rig

CLIENTS = {'sdk': lambda: [rig.node(), rig.WORKLOADS / 'clients/mcp_sdk.mjs'],
           'pipes': lambda: [rig.PYTHON, rig.WORKLOADS / 'clients/mcp_pipes.py']}


class Tools:
    """A client with a server of its own. It starts the server after the first go(), then makes a call after each."""

    def __init__(self, case, kind, calls, scope=None, prefix=(), **plan):
        self.log = os.path.join(case.folder, f'{kind}-{calls[0]}.jsonl')
        plan.update(transport='stdio', command=[rig.node(), str(rig.WORKLOADS / 'mcp_server.mjs'), self.log], wait=True,
                    calls=[{'id': str(i), 'tool': tool, 'a': i, 'b': 40} for i, tool in enumerate(calls)])
        self.process = rig.spawn([*prefix, *CLIENTS[kind](), json.dumps(plan)], scope.directory if scope else None,
                                 stdin=rig.subprocess.PIPE, stdout=rig.subprocess.PIPE, start_new_session=True)
        self.lines = rig.Lines(self.process.stdout)
        case.addCleanup(self.stop)

    def go(self):
        self.process.stdin.write(b'\n')
        self.process.stdin.flush()

    def ready(self):
        self.go()
        return rig.wait_until(lambda: self.lines.first(lambda v: v.get('ready')), lambda: f'ready; {self.lines.text}')

    def answer(self, number):
        return rig.wait_until(lambda: self.lines.first(lambda v: v.get('id') == str(number)), f'answer {number}')

    def saw(self, text):
        """Whether the server's code was given these bytes."""
        with open(self.log) as f:
            return any(text in json.loads(line).get('read', '') for line in f)

    def called(self):
        with open(self.log) as f:
            return [line['called'] for line in map(json.loads, f) if 'called' in line]

    def stop(self):
        rig.end_session(self.process, self.lines)


class Stdio(harness.Case):
    def policy(self, rules):
        scope = self.scope('stdio')
        self.start_daemon(policies=f'kind: Policy\nname: tools\nmatch: {{ cgroup: "{scope.path}" }}\nmode: enforce\nrules:\n{rules}')
        return scope, self.observe()

    def test_calls_are_observed(self):
        self.start_daemon()
        observer = self.observe()
        for kind in CLIENTS:
            with self.subTest(kind=kind):
                # The run says that it is an agent, before it calls any model.
                tools = Tools(self, kind, ['add', 'erase'], prefix=[harness.PENSTOCK, 'run', '--socket', self.daemon.socket, '--'])
                client = tools.ready()
                for number, tool in enumerate(('add', 'erase')):
                    tools.go()
                    self.assertEqual(tools.answer(number)['text'], str(number + 40))
                    seen = observer.wait(pid=client['pid'], operation='tools/call', count=number + 1)[number]
                    self.assertEqual((seen['kind'], [t['name'] for t in seen['tool_calls']]), ('mcp', [tool]))
                    self.assertIn('mcp_server', seen['host'])
                self.assertEqual(tools.called(), ['add', 'erase'])
                self.assertTrue(observer.find(pid=client['pid'], operation='initialize'))

    def test_a_refused_call_is_never_seen_by_the_server(self):
        scope, observer = self.policy('  - { deny: { tool: "erase" } }\n')
        for kind in CLIENTS:
            with self.subTest(kind=kind):
                tools = Tools(self, kind, ['add', 'erase'], scope)
                client = tools.ready()
                tools.go()
                self.assertEqual(tools.answer(0), {'id': '0', 'text': '40', 'error': None})
                tools.go()
                self.assertIsNotNone(tools.answer(1)['error'])
                refused = observer.wait(pid=client['pid'], operation='tools/call', count=2)[1]
                self.assertEqual((refused['verdict']['action'], [t['name'] for t in refused['tool_calls']]), ('deny', ['erase']))
                self.assertEqual(tools.called(), ['add'])
                self.assertFalse(tools.saw('erase'))

    def test_a_call_waits_for_approval(self):
        scope, observer = self.policy('  - { approve: { tool: "erase" }, hold: 10m }\n')
        for kind in CLIENTS:
            with self.subTest(kind=kind):
                tools = Tools(self, kind, ['erase', 'add'], scope)
                client = tools.ready()
                tools.go()
                held = rig.wait_until(lambda: self.daemon.held(), 'held')
                self.assertEqual(held[0]['pid'], client['pid'])
                self.assertFalse(tools.saw('erase'))
                self.daemon.must('release', f'exchange={held[0]["exchange"]}', '--reason', 'approved')
                self.assertEqual(tools.answer(0)['text'], '40')
                tools.go()
                self.assertEqual(tools.answer(1)['text'], '41')
                seen = observer.wait(pid=client['pid'], operation='tools/call', count=2)
                self.assertEqual([s['verdict']['action'] for s in seen], ['hold', 'allow'])

    def test_a_call_that_is_held_when_the_daemon_dies_is_refused_by_the_next(self):
        scope, _ = self.policy('  - { approve: { tool: "erase" }, hold: 10m }\n')
        tools = Tools(self, 'sdk', ['erase'], scope)
        tools.ready()
        tools.go()
        rig.wait_until(lambda: self.daemon.held(), 'held')
        self.daemon.kill9()
        self.daemon.start()
        self.assertIsNotNone(tools.answer(0)['error'])
        self.assertFalse(tools.saw('erase'))

    def test_junk_in_front_of_a_call_does_not_hide_it(self):
        scope, _ = self.policy('  - { deny: { tool: "erase" } }\n')
        tools = Tools(self, 'pipes', ['erase'], scope, junk='not json\n')
        tools.ready()
        tools.go()
        self.assertIsNotNone(tools.answer(0)['error'])
        self.assertFalse(tools.saw('erase'))
