#!/usr/bin/env python3
"""scripts/check_layers: this tree is in order, and a planted breach of every kind is named with file, line and a way out."""
import os
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRIPT = os.path.join(ROOT, "scripts", "check_layers")

# file, its include, what the line must say
BREACHES = [
    ("userspace/base/log.cc", '"userspace/model/money.h"', "of a higher layer"),
    ("userspace/ledger/ledger.cc", '"userspace/daemon/daemon.h"', "of a higher layer"),
    ("userspace/pipeline/pipeline.cc", '"userspace/daemon/daemon.h"', "of a higher layer"),
    ("cli/run.cc", '"parsers/decode/decode.h"', "of a higher layer"),
    ("parsers/wire/sse/sse.cc", '"parsers/dialects/provider.h"', "of a higher layer"),
    ("parsers/providers/mistral_ai/mistral_ai.cc", '"parsers/providers/openai/openai.h"', "its sibling"),
    ("userspace/locators/go/go.cc", '"userspace/locators/openssl/openssl.h"', "its sibling"),
    ("exporters/jsonl/jsonl.cc", '"exporters/prometheus/prometheus.h"', "its sibling"),
    ("userspace/policy/decide.cc", '"userspace/ledger/ledger.h"', "its sibling"),
    ("userspace/api/server.cc", '"parsers/core/limits.h"', "its sibling"),
    ("userspace/tracker/tracker.cc", '"parsers/wire/http/message.h"', "no contract"),
    ("userspace/daemon/daemon.cc", '"bpf/lib/maps.h"', "only bpf/include/penstock/wire.h"),
    ("bpf/lib/emit.h", '"userspace/model/exchange.h"', "only bpf/include/penstock/wire.h"),
    ("bpf/include/penstock/wire.h", "<stdint.h>", "nothing else"),
    ("cli/doctor.cc", "<bpf/libbpf.h>", "only userspace/capture and userspace/gate"),
    ("userspace/daemon/probes.cc", '"penstock_bpf.skel.h"', "only userspace/capture and userspace/gate"),
    ("userspace/model/exchange.h", "<google/protobuf/message.h>", "plain structs"),
    ("parsers/wire/json/text.cc", "<chrono>", "no clock, descriptor or thread"),
    ("parsers/dialects/provider.h", "<unistd.h>", "no clock, descriptor or thread"),
    ("parsers/providers/openai/openai.cc", "<mutex>", "no clock, descriptor or thread"),
    ("userspace/policy/decide.cc", "<chrono>", "pure function"),
    ("userspace/brand_new/thing.cc", '"userspace/base/result.h"', "has no layer"),
    ("userspace/base/log.cc", '"userspace/brand_new/thing.h"', "has no layer"),
    ("userspace/base/log.cc", '"clock.h"', "relative path"),
]
IN_ORDER = [
    ("cli/main.cc", '"parsers/decode/decode.h"'),
    ("parsers/wire/websocket/websocket.h", '"parsers/wire/inflate/inflate.h"'),
    ("parsers/session/select.cc", '"parsers/providers/registry.h"'),
    ("parsers/wire/json/json_test.cc", "<fstream>"),
    ("userspace/tracker/tracker.h", '"bpf/include/penstock/wire.h"'),
    ("userspace/capture/kernel.cc", '"penstock_bpf.skel.h"'),
    ("userspace/daemon/daemon.h", '"userspace/pipeline/pipeline.h"'),
    ("exporters/jsonl/jsonl.cc", '"exporters/core/exporter.h"'),
    ("tests/bpf/wire_test.cc", '"userspace/gate/kernel_gate.h"'),
]


def check(root):
    return subprocess.run([SCRIPT, "--root", root], capture_output=True, text=True)


def check_tree(files):
    """Checks a tree that holds these files only: {path: text}."""
    with tempfile.TemporaryDirectory() as root:
        for path, text in {"userspace/base/clock.h": "", **files}.items():
            path = os.path.join(root, path)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as out:
                out.write(text)
        return check(root)


class CheckLayers(unittest.TestCase):
    def test_this_tree(self):
        done = check(ROOT)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)

    def test_breaches(self):
        for path, include, says in BREACHES:
            with self.subTest(path=path, include=include):
                done = check_tree({path: f"// A comment.\n  #  include {include}\n"})
                lines = done.stdout.splitlines()
                self.assertEqual((done.returncode, len(lines)), (1, 1), done.stdout + done.stderr)
                self.assertTrue(lines[0].startswith(f"{path}:2: "), lines[0])
                self.assertIn(says, lines[0])

    def test_in_order(self):
        done = check_tree({path: f"#include {include}\n" for path, include in IN_ORDER})
        self.assertEqual((done.returncode, done.stdout.count("\n")), (0, 1), done.stdout)

    def test_not_a_repository(self):
        with tempfile.TemporaryDirectory() as empty:
            done = check(empty)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1), done.stderr)


if __name__ == "__main__":
    sys.exit(unittest.main())
