"""Every runtime's plaintext, by unmodified programs over real TLS: exact usage, the right process and socket, attached before
and during the connection, and the gate: allow, hold, deny, cut. And two agents as their users have them, Claude Code and Codex."""
import json

import harness
import rig

RUNTIMES = list(rig.RUNTIMES)
ONE_REQUEST_PER_CONNECTION = ('wget',)


def all_examined(daemon):
    # A daemon on a busy machine does not wait for the last of many large programs before it is ready.
    rig.wait_until(lambda: not daemon.get('status').get('pending_images'), lambda: daemon.get('status'), 120)


class Runtimes(harness.Case):
    def start(self, **options):
        self.start_daemon(images=[i for k in RUNTIMES for i in rig.images(k)], **options)
        all_examined(self.daemon)
        return self.observe()

    def clients(self, tag, count, kinds=RUNTIMES, **plan):
        return self.numbered_clients(tag, count, kinds, **plan)

    def test_fresh(self):
        observer = self.start()
        clients = self.clients('fresh', 2)
        answers = self.step(clients, 0)
        answers.update(self.step(clients, 1))
        self.assert_observed(observer, answers)
        rows = self.daemon.coverage()
        self.assertGreaterEqual(len(rows), len(clients))
        for row in rows:
            with self.subTest(exe=row['exe'], target=row['target']):
                self.assertEqual((row['state'], row['opaque_bytes'], row['refused_connections']), ('covered', 0, 0), row)

    def attached(self, kinds):
        clients = self.clients('attached', 3, kinds)
        self.step(clients, 0)
        observer = self.start()
        answers = self.step(clients, 1)
        answers.update(self.step(clients, 2))
        self.assert_observed(observer, answers)

    def test_attached_mid_connection(self):
        self.attached([k for k in RUNTIMES if k not in ONE_REQUEST_PER_CONNECTION and not k.endswith('_h2')])

    def test_attached_in_the_middle_of_http2(self):
        # The name of the host went by, compressed, before: the provider is told by the address alone, if that is no other's.
        self.endpoints = lambda: f'endpoints:\n  "h2.fake.test:{self.provider.port}": openai\n'
        # Go compresses the path as well: what follows on such a connection cannot be told from other requests (docs/KERNELS.md).
        self.attached([k for k in RUNTIMES if k.endswith('_h2') and k != 'go_h2'])

    def test_the_gate_allows_holds_and_denies(self):
        scope = self.scope('runtimes')
        observer = self.start(policies=f'kind: Policy\nname: gate\nmatch: {{ cgroup: "{scope.path}" }}\nmode: enforce\nrules:\n'
                                       '  - { deny: { model: "gpt-4o" } }\n  - { approve: { model: "gpt-4.1" }, hold: 10m }\n')
        clients = []
        for kind in RUNTIMES:
            requests = [{'id': f'{kind}-allowed', 'model': 'gpt-4o-mini'}, {'id': f'{kind}-held', 'model': 'gpt-4.1'},
                        {'id': f'{kind}-denied', 'model': 'gpt-4o'}]
            # Go names the model behind the prompt: a body beyond the HTTP/2 window is judged without it, see below.
            size = 40_000 if kind == 'go_h2' else 100_000
            clients.append(self.client(kind, requests, scope=scope, wait=True, prompt_bytes=size, timeout_s=300))
        for client in clients:
            client.go()
        for client in clients:
            with self.subTest(kind=client.kind, step='allow'):
                answer = client.answer(f'{client.kind}-allowed')
                self.assertIsNone(answer['error'], answer)
                self.assertEqual(self.provider.events('request', id=answer['id'])[0]['body_sha256'], answer['sha256'])
                exchange = observer.wait(response_id=self.told(answer['id'])['response_id'])[0]
                self.assertEqual(exchange['verdict']['action'], 'allow')
                self.assertGreater(exchange['verdict']['gate_ns'], 0, 'it was not gated')
        for client in clients:
            client.go()
        harness.rig.wait_until(lambda: len(self.daemon.held()) == len(clients), lambda: f'held: {json.dumps(self.daemon.held())}')
        for client in clients:
            self.assertEqual(self.provider.events('request', id=f'{client.kind}-held'), [])
        for connection in self.provider.connections().values():
            self.assertEqual(connection['leftover_bytes'], 0, connection)
        self.daemon.must('release', 'all', '--reason', 'test')
        for client in clients:
            with self.subTest(kind=client.kind, step='hold'):
                answer = client.answer(f'{client.kind}-held')
                self.assertIsNone(answer['error'], answer)
                self.assertEqual(self.provider.events('request', id=answer['id'])[0]['body_sha256'], answer['sha256'])
            client.go()
        for client in clients:
            with self.subTest(kind=client.kind, step='deny'):
                answer = client.answer(f'{client.kind}-denied')
                self.assertIsNotNone(answer['error'], answer)
                self.assertEqual(self.provider.events('request', id=answer['id']), [])

    def test_a_body_beyond_the_window_that_names_its_model_last_is_never_completed_unjudged(self):
        """The client cannot send the rest before the server has taken the beginning: that goes, the end waits for the verdict."""
        scope = self.scope('window')
        self.start(policies=f'kind: Policy\nname: gate\nmatch: {{ cgroup: "{scope.path}" }}\nmode: enforce\nrules:\n'
                            '  - { deny: { model: "gpt-4o" } }\n  - { approve: { model: "gpt-4.1" }, hold: 10m }\n')
        requests = [{'id': 'allowed', 'model': 'gpt-4o-mini'}, {'id': 'held', 'model': 'gpt-4.1'}, {'id': 'denied', 'model': 'gpt-4o'}]
        client = self.client('go_h2', requests, scope=scope, wait=True, prompt_bytes=300_000, timeout_s=300)
        client.go()
        self.assertIsNone(client.answer('allowed')['error'])
        client.go()
        harness.rig.wait_until(lambda: len(self.daemon.held()) == 1, lambda: f'held: {json.dumps(self.daemon.held())}')
        self.assertEqual(self.provider.events('request', id='held'), [])
        self.daemon.must('release', 'all', '--reason', 'test')
        answer = client.answer('held')
        self.assertIsNone(answer['error'])
        self.assertEqual(self.provider.events('request', id='held')[0]['body_sha256'], answer['sha256'])
        client.go()
        self.assertIsNotNone(client.answer('denied')['error'])
        self.assertEqual(self.provider.events('request', id='denied'), [])

    def test_strict_scopes_let_go_what_was_seen_and_nothing_else(self):
        scope = self.scope('strict')
        observer = self.start(policies=f'kind: Policy\nname: gate\nmatch: {{ cgroup: "{scope.path}" }}\nmode: strict\nrules:\n'
                                       '  - { deny: { model: "gpt-4o" } }\n')
        for kind in RUNTIMES:
            with self.subTest(kind=kind):
                # Of one record, of a few, and of more than a socket buffer holds at once.
                requests = [{'id': f'{kind}-{i}', 'model': 'gpt-4o-mini'} for i in range(3)] + [{'id': f'{kind}-denied', 'model': 'gpt-4o'}]
                for size in (200, 40_000, 700_000):
                    tagged = [{**r, 'id': f'{r["id"]}-{size}'} for r in requests]
                    answers = self.client(kind, tagged, scope=scope, prompt_bytes=size).finish()
                    for request in tagged[:3]:
                        answer = answers[request['id']]
                        self.assertIsNone(answer['error'], answer)
                        self.assertEqual(self.provider.events('request', id=request['id'])[0]['body_sha256'], answer['sha256'])
                        exchange = observer.wait(response_id=self.told(request['id'])['response_id'])[0]
                        self.assertEqual((exchange['verdict']['action'], exchange['verdict']['mode']), ('allow', 'strict'))
                    self.assertIsNotNone(answers[tagged[3]['id']]['error'])
                    self.assertEqual(self.provider.events('request', id=tagged[3]['id']), [])

    def test_sixty_requests_at_once_are_not_mixed_up(self):
        observer = self.start()
        for k, kind in enumerate(k for k in RUNTIMES if k not in ONE_REQUEST_PER_CONNECTION):
            with self.subTest(kind=kind):
                self.sixty_at_once(observer, kind, 10_000 * (k + 1))

    def test_a_stream_over_its_budget_is_cut(self):
        scope = self.scope('runtimes')
        observer = self.start(policies=f'kind: Policy\nname: cut\nmatch: {{ cgroup: "{scope.path}" }}\nmode: enforce\nbudgets:\n'
                                       '  - { name: t, tokens: 1000, on_breach: deny, on_stream: cut }\n')
        for kind in RUNTIMES:
            with self.subTest(kind=kind):
                self.daemon.must('budget', 'reset', 't')
                name = f'cut-{kind}'
                client = self.client(kind, [{'id': name, 'script': 'step=1;chunks=9;chunk_bytes=40;big_at=1;big_bytes=30000'}],
                                     scope=scope, stream=True, max_tokens=100)
                self.provider.permit(name, 2)
                aborted = self.provider.wait('aborted', id=name)[0]
                self.assertLessEqual(aborted['chunks'], 2)
                self.assertIsNotNone(client.answer(name)['error'])
                exchange = observer.wait(pid=client.answer(name)['pid'])[0]
                self.assertEqual(exchange['verdict']['action'], 'cut')
                self.assertEqual(exchange['usage_status'], 'estimated')


class Agents(harness.Case):
    MODELS = {'claude': 'claude-haiku-4-5', 'codex': 'gpt-4o'}

    def agent(self, kind, scope):
        agent = rig.Agent(kind, self.provider, self.folder, self.MODELS[kind], scope.directory)
        self.addCleanup(agent.stop)
        return agent

    def begin(self, rule):
        scope = self.scope('agents')
        self.start_daemon(images=[rig.program(kind) for kind in self.MODELS],
                          policies=f'kind: Policy\nname: gate\nmatch: {{ cgroup: "{scope.path}" }}\nmode: enforce\nrules:\n  - {rule}\n')
        all_examined(self.daemon)
        return scope, self.observe()

    def requests(self, agent):
        return self.provider.events('request', path=agent.path, method='POST')

    def check(self, agent, observer, action='allow'):
        code, said = agent.finish()
        self.assertEqual(code, 0, said)
        request = self.requests(agent)[-1]
        told = [a for a in self.provider.events('answer', conn=request['conn']) if a['response_id']][-1]
        exchange = observer.wait(response_id=told['response_id'])[0]
        self.assertEqual(exchange['pid'], agent.process.pid)
        self.assertEqual((exchange['provider'], exchange['request_model'], exchange['response_model'], exchange['finish_reason']),
                         (told['provider'], request['model'], told['model'], told['finish_reason']))
        self.assertEqual({k: exchange['usage'].get(k) for k in told['usage']}, told['usage'])
        self.assertEqual(exchange['usage_status'], 'exact')
        self.assertEqual(exchange['verdict']['action'], action)
        self.assertGreater(exchange['verdict']['gate_ns'], 0, 'it was not gated')

    def test_an_agent_is_seen_and_let_go(self):
        scope, observer = self.begin('{ deny: { model: "o3" } }')
        for kind in self.MODELS:
            with self.subTest(agent=kind):
                self.check(self.agent(kind, scope), observer)

    def test_an_agent_is_held_for_approval(self):
        scope, observer = self.begin('{ approve: { model: ["claude-haiku-4-5", "gpt-4o"] }, hold: 10m }')
        for kind in self.MODELS:
            with self.subTest(agent=kind):
                agent = self.agent(kind, scope)
                held = harness.rig.wait_until(lambda: self.daemon.held(), lambda: f'held; {agent.said()}', 60)
                self.assertEqual((held[0]['pid'], held[0]['model']), (agent.process.pid, self.MODELS[kind]))
                self.assertEqual(self.requests(agent), [])
                self.daemon.must('release', f'exchange={held[0]["exchange"]}', '--reason', 'approved')
                self.check(agent, observer, 'hold')

    def test_an_agent_is_refused(self):
        scope, observer = self.begin('{ deny: { model: "*" } }')
        for kind in self.MODELS:
            with self.subTest(agent=kind):
                agent = self.agent(kind, scope)
                observer.wait(pid=agent.process.pid, request_model=self.MODELS[kind], timeout=60)
                agent.finish()
                self.assertEqual(self.requests(agent), [])
                self.assertTrue(all(e['verdict']['action'] == 'deny' for e in observer.find(request_model=self.MODELS[kind])))
