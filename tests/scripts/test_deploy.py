#!/usr/bin/env python3
"""deploy/: what is installed elsewhere fits the programs of this tree."""
import configparser
import os
import re
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PENSTOCKD = os.path.join(os.environ["PENSTOCK_BUILD_DIR"], "penstockd")
DEPLOY = os.path.join(ROOT, "deploy")


def text(*path):
    with open(os.path.join(DEPLOY, *path)) as f:
        return f.read()


def run(*arguments):
    return subprocess.run([PENSTOCKD, *arguments], capture_output=True, text=True)


class Deploy(unittest.TestCase):
    def test_the_configuration_is_valid(self):
        folder = os.path.join(DEPLOY, "kubernetes")
        config = text("kubernetes", "config.yaml").replace("/etc/penstock/policies", os.path.join(folder, "policies"))
        path = os.path.join(os.environ["PENSTOCK_BUILD_DIR"], "deploy-config.yaml")
        with open(path, "w") as f:
            f.write(config)
        done = run("--check-config", "--config", path)
        self.assertEqual((done.returncode, done.stdout), (0, "configuration is valid: 1 policies\n"), done.stderr)

    def test_the_unit_starts_what_exists(self):
        unit = configparser.ConfigParser(strict=False, interpolation=None)
        unit.optionxform = str
        unit.read_string(text("systemd", "penstockd.service"))
        service = unit["Service"]
        help_text = run("--help").stdout
        for line in (service["ExecStartPre"], service["ExecStart"]):
            program, *options = line.split()
            self.assertEqual(program, "/usr/bin/penstockd")
            for option in options:
                self.assertIn(option, help_text)
        self.assertEqual(service["Type"], "notify")
        self.assertIn("AF_NETLINK", service["RestrictAddressFamilies"].split())  # SOCK_DESTROY

    def test_both_name_the_same_capabilities(self):
        unit = re.search(r"^CapabilityBoundingSet=(.*)$", text("systemd", "penstockd.service"), re.M).group(1)
        pod = re.search(r"add: \[([^]]*)\]", text("kubernetes", "daemonset.yaml")).group(1)
        self.assertEqual({c.removeprefix("CAP_") for c in unit.split()}, set(pod.replace(",", " ").split()))

    def test_the_daemon_set_mounts_what_the_configuration_names(self):
        daemon_set, config = text("kubernetes", "daemonset.yaml"), text("kubernetes", "config.yaml")
        mounts = re.findall(r"mountPath: ([^ ,}]+)", daemon_set)
        for key in ("state_dir", "bpffs_dir"):
            path = re.search(rf"^{key}: (.*)$", config, re.M).group(1)
            self.assertTrue(any(path == m or path.startswith(m + "/") for m in mounts), path)
        for name in re.findall(r"^ {12}- \{ name: (\w+), mountPath", daemon_set, re.M):
            self.assertIn(f"- {{ name: {name}, ", daemon_set.split("volumes:")[1])
        self.assertIn("hostPID: true", daemon_set)
        self.assertNotIn("privileged: true", daemon_set)


if __name__ == "__main__":
    sys.exit(unittest.main())
