#!/usr/bin/env python3
"""scripts/new-provider writes one folder and touches nothing else; the build's registry finds it by itself.

usage: test_new_provider.py REPOSITORY
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

REPOSITORY = pathlib.Path(sys.argv.pop() if len(sys.argv) > 1 else '.').resolve()


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob('*') if p.is_file()}


class NewProvider(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        for part in ('cmake', 'parsers/providers'):
            shutil.copytree(REPOSITORY / part, self.folder / part)
        (self.folder / 'scripts').mkdir()
        shutil.copy(REPOSITORY / 'scripts/new-provider', self.folder / 'scripts')

    def run_script(self, *arguments):
        return subprocess.run([self.folder / 'scripts/new-provider', *arguments], capture_output=True, text=True)

    def test_one_folder_and_nothing_else(self):
        before = contents(self.folder)
        self.assertEqual(0, self.run_script('acme.ai', 'api.acme.example', '*.acme.example').returncode)
        after = contents(self.folder)
        self.assertEqual(before, {name: text for name, text in after.items() if name in before})
        made = set(after) - set(before)
        self.assertTrue(made)
        self.assertTrue(all(name.startswith('parsers/providers/acme_ai/') for name in made), made)
        self.assertIn('parsers/providers/acme_ai/golden/chat.md', made)

    def test_the_registry_finds_it(self):
        self.assertEqual(0, self.run_script('acme_ai', 'api.acme.example').returncode)
        # The functions of the build, without what they would compile.
        (self.folder / 'CMakeLists.txt').write_text('''cmake_minimum_required(VERSION 3.23)
project(registry NONE)
function(penstock_library)
endfunction()
include(cmake/Registry.cmake)
penstock_registry(providers LAYER 5 ROOT parsers/providers HEADER h TYPE Provider PREFIX provider NAMESPACE n)
''')
        subprocess.run(['cmake', '-S', self.folder, '-B', self.folder / 'build'], check=True, capture_output=True)
        registry = (self.folder / 'build/generated/parsers/providers/registry.cc').read_text()
        entries = re.findall(r'&k_(\w+)', registry)
        self.assertIn('acme_ai', entries)
        self.assertEqual(len(list((self.folder / 'parsers/providers').glob('*/CMakeLists.txt'))), len(entries))

    def test_refusals(self):
        before = contents(self.folder)
        for arguments in ([], ['acme'], ['Acme', 'h'], ['1acme', 'h'], ['a/b', 'h'], ['openai', 'h']):
            self.assertNotEqual(0, self.run_script(*arguments).returncode, arguments)
        self.assertEqual(before, contents(self.folder))


if __name__ == '__main__':
    unittest.main(verbosity=2)
