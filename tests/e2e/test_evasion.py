"""Programs that try to get out of sight: in a strict scope each is read and judged, or delivers not one byte of a request."""
import harness


class Evasion(harness.Case):
    def begin(self):
        scope = self.scope('evasion')
        self.start_daemon(policies=f'kind: Policy\nname: strict\nmatch: {{ cgroup: "{scope.path}" }}\nmode: strict\n'
                                   'rules:\n  - { deny: { model: "gpt-4o" } }\n')
        return scope, self.observe()

    def run_client(self, scope, evasion):
        requests = [{'id': f'{evasion}-{i}', 'model': 'gpt-4o'} for i in range(4)]
        client = self.client('python_evasive', requests, scope=scope, evasion=evasion, prompt_bytes=20_000)
        return client, client.finish()

    def assert_nothing_arrived(self, answers):
        for answer in answers.values():
            self.assertIsNotNone(answer['error'], answer)
        self.assertEqual(self.provider.events('request'), [])
        for connection in self.provider.connections().values():
            self.assertEqual((connection['plain_bytes'], connection['leftover_bytes']), (0, 0), connection)

    def test_a_program_that_removes_its_probes(self):
        scope, observer = self.begin()
        client, answers = self.run_client(scope, 'restore')
        restored = client.lines.first(lambda v: 'restored' in v)['restored']
        self.assertGreater(restored, 0, 'the probes were there, and are gone')
        self.assert_nothing_arrived(answers)
        denied = observer.wait(len(answers), pid=client.pid)
        self.assertEqual({(e['verdict']['action'], e['verdict']['reason']) for e in denied}, {('deny', 'opaque')})

    def test_a_private_copy_of_the_library(self):
        scope, observer = self.begin()
        client, answers = self.run_client(scope, 'copy')
        self.assert_nothing_arrived(answers)
        for exchange in observer.wait(len(answers), pid=client.pid):
            self.assertEqual(exchange['verdict']['action'], 'deny')
