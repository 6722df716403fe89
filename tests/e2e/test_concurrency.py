"""Two hundred requests at once, by every runtime, on a connection each or as streams of one: what each says of itself in its
request, in its answer and by its socket belongs to the same exchange. Observed and gated, 0 mix-ups."""
import subprocess

import harness
import rig

COUNT = 200
# name -> (kind of client, what its plan adds). `shared`: the requests are streams of few connections.
CASES = {
    'curl': ('curl', {}),
    'curl_parallel': ('curl', {'parallel': 1}),
    'curl_h2_streams': ('curl_h2', {'parallel': 1, 'shared': 1}),
    'wget': ('wget', {}),
    'nss': ('nss', {}),
    'rustls': ('rustls', {}),
    'python_sync': ('python_sync', {}),
    'python_asyncio': ('python_asyncio', {}),
    'node_fetch': ('node_fetch', {}),
    'node_https': ('node_https', {}),
    'node_http2': ('node_http2_h2', {}),
    'node_http2_streams': ('node_http2_h2', {'sessions': 1, 'shared': 1}),
    'bun': ('bun', {}),
    'deno': ('deno', {}),
    'deno_h2_streams': ('deno_h2', {'shared': 1}),
    'go': ('go', {}),
    'go_h2': ('go_h2', {}),
    'go_h2_streams': ('go_h2', {'sessions': 1, 'shared': 1}),
}


def cookies_by_port(server_port):
    """Of every live client socket, in one look."""
    out = {}
    said = subprocess.run(['ss', '-Htne', f'dport = :{server_port}'], capture_output=True, text=True, check=True).stdout
    for line in said.splitlines():
        fields = line.split()
        cookie = next((f[3:] for f in fields if f.startswith('sk:')), None)
        if cookie:
            out[int(fields[3].rpartition(':')[2])] = int(cookie, 16)
    return out


class Concurrency(harness.Case):
    def begin(self, **options):
        self.start_daemon(images=[i for k in ('python_sync', 'bun', 'deno', 'rustls', 'go') for i in rig.images(k)], **options)
        rig.wait_until(lambda: not self.daemon.get('status').get('pending_images'), lambda: self.daemon.get('status'), 120)
        return self.observe()

    def requests(self, case, tag, refused=lambda i: False):
        """Names, models and counts are each request's own, and all requests are of one length: nothing else tells them apart."""
        first = 10_000 * (list(CASES).index(case) + 1)
        return [{'id': f'{tag}-{case}-{i:03}', 'model': f'{"bad" if refused(i) else "fit"}-{first + i}',
                 'script': f'in={first + i};out={20_000 + i};hold=1'} for i in range(COUNT)]

    def run_case(self, case, requests, refused=(), **options):
        """All allowed requests are at the provider before the first answer leaves. Returns (answers, cookie by request id)."""
        kind, plan = CASES[case]
        plan = {k: v for k, v in plan.items() if k != 'shared'}
        client = self.client(kind, requests, concurrency=COUNT, timeout_s=120, **plan, **options)
        allowed = [r['id'] for r in requests if r['id'] not in refused]
        arrived = lambda: {e['id']: e for e in self.provider.events('request')}  # noqa: E731
        rig.wait_until(lambda: set(allowed) <= arrived().keys() or client.lines.closed,
                       lambda: f'{case}: {len(set(allowed) & arrived().keys())} of {len(allowed)} arrived', 120)
        cookies, seen = cookies_by_port(self.provider.port), arrived()
        self.assertEqual([n for n in allowed if n not in seen], [])
        if 'shared' not in CASES[case][1]:
            self.assertEqual(len({seen[n]['peer_port'] for n in allowed}), len(allowed), 'a connection each')
        for name in reversed(allowed):
            self.provider.permit(name)
        return client.finish(), {n: cookies[seen[n]['peer_port']] for n in allowed}

    def mixed_up(self, observer, requests, answers, cookies):
        """What of the exchanges is not as the provider and the client have it."""
        names = [r for r in requests if r['id'] in cookies]
        told = {a['id']: a for a in self.provider.events('answer')}
        rig.wait_until(lambda: {told[r['id']]['response_id'] for r in names} <= {e.get('response_id') for e in observer.exchanges},
                       lambda: f'{len(names)} exchanges; observed {len(observer.exchanges)}', 60)
        seen = {e.get('response_id'): e for e in observer.exchanges}
        wrong = []
        for request in names:
            name = request['id']
            exchange = seen[told[name]['response_id']]
            usage = exchange.get('usage', {})
            is_so = (exchange.get('request_model'), exchange.get('response_model'), usage.get('input_tokens'), usage.get('output_tokens'),
                     exchange['pid'], exchange['connection'], exchange['usage_status'])
            should = (request['model'], told[name]['model'], told[name]['usage']['input_tokens'], told[name]['usage']['output_tokens'],
                      answers[name]['pid'], cookies[name], 'exact')
            if is_so != should:
                wrong.append({'request': name, 'is': is_so, 'should be': should})
        return wrong

    def test_observed(self):
        observer = self.begin()
        for case in CASES:
            with self.subTest(case=case):
                requests = self.requests(case, 'seen')
                answers, cookies = self.run_case(case, requests)
                self.assertEqual([a for a in answers.values() if a['error']], [])
                self.assertEqual(self.mixed_up(observer, requests, answers, cookies), [])

    def test_gated(self):
        """Every other request is refused, where a refusal does not end the connection of others."""
        scope = self.scope('concurrency')
        observer = self.begin(policies=f'kind: Policy\nname: gate\nmatch: {{ cgroup: "{scope.path}" }}\nmode: enforce\nrules:\n'
                                       '  - { deny: { model: "bad-*" } }\n')
        for case, (_, plan) in CASES.items():
            with self.subTest(case=case):
                requests = self.requests(case, 'gate', lambda i: i % 2 and 'shared' not in plan)  # noqa: B023
                refused = {r['id'] for r in requests if r['model'].startswith('bad-')}
                answers, cookies = self.run_case(case, requests, refused, scope=scope)
                self.assertEqual([n for n in cookies if answers[n]['error']], [])
                self.assertEqual([n for n in refused if not answers[n]['error']], [])
                self.assertEqual([e['id'] for e in self.provider.events('request') if e['id'] in refused], [])
                self.assertEqual(self.mixed_up(observer, requests, answers, cookies), [])
                models = {r['model'] for r in requests}
                judged = rig.wait_until(lambda: x if len(x := [e for e in observer.exchanges if e.get('request_model') in models])
                                        >= COUNT else None, lambda: f'{COUNT} verdicts of {case}')
                wrong = [e for e in judged if e['verdict']['action'] != ('deny' if e['request_model'].startswith('bad-') else 'allow')
                         or not e['verdict'].get('gate_ns')]
                self.assertEqual(wrong, [])
