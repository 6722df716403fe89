#!/usr/bin/python3
"""Runs end-to-end tests in their sandbox, as root:  run.py [test_hold] [test_kill.Kill.test_release] [-k PATTERN] [-v]

Without a name it runs all of them. PENSTOCK_BUILD_DIR names the build to test (default build/release), PENSTOCK_KEEP=1 keeps the
temporary folders (provider log, daemon log, configuration).
"""
import glob
import os
import sys
import unittest

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, here)
sys.argv[0] = os.path.join(here, 'run.py')
import harness  # noqa: E402
import rig  # noqa: E402

if __name__ == '__main__':
    rig.enter_sandbox()
    rig.node()
    for program in (harness.PENSTOCK, harness.PENSTOCKD):
        if not os.access(program, os.X_OK):
            sys.exit(f'{program} is not built')
    names = [a for a in sys.argv[1:] if a.startswith('test_')]
    options = [a for a in sys.argv[1:] if a not in names]
    names = names or sorted(os.path.basename(p)[:-3] for p in glob.glob(os.path.join(here, 'test_*.py')))
    unittest.main(module=None, argv=[sys.argv[0], *options, *names], verbosity=2)
