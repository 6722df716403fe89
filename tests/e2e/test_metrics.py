"""The metrics page: valid for Prometheus, with the names that dashboards use and the numbers that the provider sent."""
import http.client
import subprocess

import harness


class Metrics(harness.Case):
    def fetch(self, path):
        connection = http.client.HTTPConnection('127.0.0.1', self.daemon.port, timeout=30)
        connection.request('GET', path)
        response = connection.getresponse()
        body = response.read().decode()
        connection.close()
        return response.status, response.headers.get('content-type', ''), body

    def samples(self, name):
        """{label text: value} of one metric."""
        out = {}
        for line in self.fetch('/metrics')[2].splitlines():
            if line.startswith((name + '{', name + ' ')):
                series, _, value = line.rpartition(' ')
                out[series[len(name):]] = float(value)
        return out

    def test_page(self):
        scope = self.scope('metrics')
        self.start_daemon(policies=f'kind: Policy\nname: m\nmatch: {{ cgroup: "{scope.path}" }}\nmode: enforce\nbudgets:\n'
                                   '  - { name: d, usd: 100, window: 1d }\nrules:\n  - { deny: { model: "gpt-4o" } }\n')
        observer = self.observe()
        requests = [{'id': f'ok-{i}', 'script': f'in={10 + i};out={20 + i};cached=3'} for i in range(5)]
        requests.append({'id': 'no', 'model': 'gpt-4o'})
        self.client('python_sync', requests, scope=scope, stream=True).finish()
        observer.wait(6)

        status, kind, page = self.fetch('/metrics')
        self.assertEqual(status, 200)
        self.assertIn('text/plain', kind)
        check = subprocess.run(['promtool', 'check', 'metrics'], input=page, capture_output=True, text=True)
        self.assertEqual((check.returncode, check.stdout + check.stderr), (0, ''))

        tokens = self.samples('gen_ai_client_token_usage_sum')
        by_type = {t: sum(v for labels, v in tokens.items() if f'gen_ai_token_type="{t}"' in labels) for t in ('input', 'output')}
        self.assertEqual(by_type, {'input': sum(10 + i for i in range(5)), 'output': sum(20 + i for i in range(5))})
        self.assertEqual(sum(self.samples('gen_ai_client_operation_duration_seconds_count').values()), 5)
        verdicts = self.samples('penstock_verdicts_total')
        self.assertEqual(sum(v for labels, v in verdicts.items() if 'verdict="deny"' in labels), 1)
        self.assertEqual(sum(v for labels, v in verdicts.items() if 'verdict="allow"' in labels), 5)
        self.assertGreater(sum(self.samples('penstock_cost_usd_total').values()), 0)
        self.assertEqual(list(self.samples('penstock_budget_limit_usd').values()), [100])
        self.assertEqual(sum(self.samples('penstock_events_lost_total').values()), 0)
        self.assertEqual(len(self.samples('penstock_build_info')), 1)

    def test_health(self):
        self.start_daemon()
        self.assertEqual(self.fetch('/healthz')[0], 200)
        self.assertEqual(self.fetch('/readyz')[0], 200)
        self.assertEqual(self.fetch('/nothing-here')[0], 404)

    def test_label_values_are_bounded(self):
        self.start_daemon()
        observer = self.observe()
        requests = [{'id': f'm-{i}', 'model': f'invented-model-{i}'} for i in range(1500)]
        requests.append({'id': 'real', 'model': 'gpt-4o-mini'})
        self.client('python_asyncio', requests, concurrency=16).finish(300)
        observer.wait(1000, timeout=60)
        page = self.fetch('/metrics')[2]
        models = {part for line in page.splitlines() for part in line.split('"') if part.startswith('invented-model-')}
        self.assertLess(len(models), 1000)
        self.assertIn('"gpt-4o-mini"', page, 'a model of the price list has its own series however many others there are')
        self.assertGreater(sum(self.samples('penstock_series_overflow_total').values()), 0)
