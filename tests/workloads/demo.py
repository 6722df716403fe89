#!/usr/bin/python3
"""The quickstart's demonstration: the same agent under two budgets. Exits with 0 when the first ran and the second was refused."""
import os
import subprocess
import sys
import tempfile

import rig

PENSTOCK = rig.ROOT / 'build/release/penstock'


def run(provider, calls, *limits):
    agent = [rig.PYTHON, str(rig.WORKLOADS / 'demo_agent.py'), provider.base('api.openai.com'), str(calls)]
    shown = ' '.join(['penstock run', *limits, '-- python3 demo_agent.py', f'({calls} calls)'])
    print(f'\n$ {shown}', flush=True)
    # The agent trusts the fake provider's throw-away CA as it would trust a company's own.
    return subprocess.run([PENSTOCK, 'run', *limits, '--', *agent], env={**os.environ, 'SSL_CERT_FILE': provider.ca}).returncode


def main():
    rig.enter_sandbox()
    with tempfile.TemporaryDirectory(prefix='penstock-demo-') as folder:
        provider = rig.Provider(folder)
        within = run(provider, 4, '--max-usd', '2')
        served = len(provider.events('request'))
        refused = run(provider, 1, '--max-usd', '0.0001')
        leaked = len(provider.events('request')) - served
        provider.stop()
    print(f'\nThe provider received {served} requests of the first run and {leaked} of the second.')
    return 0 if (within, served, leaked) == (0, 4, 0) and refused != 0 else 1


if __name__ == '__main__':
    sys.exit(main())
