"""Whoever is governed may look and not order: an agent cannot lift its own limits, not even as root."""
import harness


class Authority(harness.Case):
    def setUp(self):
        super().setUp()
        self.scopes = {name: self.scope(name) for name in ('red', 'blue')}
        agents = ''.join(f'  - {{ name: {name}, match: {{ cgroup: "{scope.path}" }} }}\n' for name, scope in self.scopes.items())
        self.start_daemon(config=f'agents:\n{agents}', policies='kind: Policy\nname: team\nmatch: { agent: red }\nmode: enforce\n'
                          'budgets:\n  - { name: daily, requests: 1, on_breach: hold, hold: 10m }\n')

    def inside(self, name, *arguments):
        """`penstock ARGUMENTS…` from a process of that scope."""
        enter = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
        return self.daemon.run(*arguments, prefix=['sh', '-c', enter, self.scopes[name].directory])

    def test_a_governed_process_orders_nothing(self):
        orders = [('release', 'all', '--reason', 'me'), ('budget', 'set', 'daily', '--requests', '100'),
                  ('budget', 'reset', 'daily'), ('kill', 'agent=blue', '--reason', 'rival'), ('policy', 'apply', self.daemon.policies),
                  ('policy', 'remove', 'team'), ('run', '--', 'true')]
        for order in orders:
            with self.subTest(order=order):
                done = self.inside('red', *order)
                self.assertEqual(done.returncode, harness.PRIVILEGE, done.stderr + done.stdout)
                self.assertIn('governed by policy team', done.stderr)
        self.assertEqual(self.inside('red', 'budget', 'list').returncode, 0)
        self.assertEqual(self.inside('red', 'status').returncode, 0)
        self.assertEqual(self.daemon.budget('daily')['requests']['limit'], 1)
        self.assertEqual(self.daemon.get('kills').get('kills', []), [])
        self.assertEqual(self.inside('blue', 'budget', 'set', 'daily', '--requests', '2').returncode, 0)

    def test_whoever_is_killed_does_not_release_itself(self):
        self.daemon.must('kill', 'agent=blue', '--reason', 'test')
        done = self.inside('blue', 'release', 'agent=blue', '--reason', 'me')
        self.assertEqual(done.returncode, harness.PRIVILEGE, done.stderr + done.stdout)
        self.assertIn('under kill agent=blue', done.stderr)
        self.daemon.must('release', 'agent=blue', '--reason', 'test')
        self.assertEqual(self.inside('blue', 'budget', 'reset', 'daily').returncode, 0)
