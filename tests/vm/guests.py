#!/usr/bin/python3
"""What the daemon does on Debian's kernels, each booted under QEMU (TCG, no KVM needed):  guests.py [SUITE …]

For every Debian suite (default: all that are listed below) its cloud kernel is fetched by apt into .deps/kernels, with lists and
sources of its own, and booted with an initramfs of the built penstockd, penstock, the libraries they need and busybox. Printed is
a row of docs/KERNELS.md: what the daemon said, and, where it started, how many programs are attached and whether a request of
`penstock status` is answered. A suite that the mirror does not have is said to be missing. As root, with qemu-system-x86
and busybox-static installed. Exit codes: 0 a row for every suite that was found · 1 a guest did not come to its end · 2 usage
"""
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get('PENSTOCK_BUILD_DIR', ROOT / 'build/release'))
KERNELS = ROOT / '.deps/kernels'
SUITES = {'bullseye': '5.10', 'bookworm': '6.1', 'trixie': '6.12', 'trixie-backports': 'newest backport', 'sid': 'newest'}
PACKAGE = 'linux-image-cloud-amd64'
SECONDS = 400  # an emulated machine on a busy one
LIBSSL = '/usr/lib/x86_64-linux-gnu/libssl.so.3'
INIT = '''#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs trace /sys/kernel/tracing
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmp /tmp
ip link set lo up
echo "guest: kernel $(uname -r)"
penstockd --config /config.yaml --state-dir /tmp/state --bpffs-dir /sys/fs/bpf/penstock --socket /tmp/penstock.sock \\
  --listen 127.0.0.1:9464 > /tmp/log 2>&1 &
daemon=$!
export PENSTOCK_SOCKET=/tmp/penstock.sock
while kill -0 $daemon 2>/dev/null && ! penstock status -o json 2>/dev/null | grep -q '"ready": *true'; do sleep 1; done
if kill -0 $daemon 2>/dev/null; then
  echo "guest: ready"
  for link in /sys/fs/bpf/penstock/links/*; do echo "guest: link ${link##*/}"; done
  kill $daemon
fi
wait $daemon
echo "guest: exit $?"
while read -r line; do echo "guest: log $line"; done < /tmp/log
echo "guest: end"
poweroff -f
'''


def apt(folder, *arguments):
    options = {'Dir::Etc::sourcelist': folder / 'sources.list', 'Dir::Etc::sourceparts': '-', 'Dir::State::lists': folder / 'lists',
               'Dir::Cache': folder / 'cache', 'APT::Architecture': 'amd64', 'Acquire::Languages': 'none'}
    command = ['apt-get', '-q', '-y', *(f'-o{k}={v}' for k, v in options.items()), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def vmlinuz(folder):
    found = [*folder.glob('image/boot/vmlinuz-*'), *folder.glob('image/usr/lib/modules/*/vmlinuz')]
    return found[0] if found else None


def fetch(suite):
    """The suite's vmlinuz; None if the mirror does not have it."""
    folder = KERNELS / suite
    if found := vmlinuz(folder):
        return found
    for part in ('lists/partial', 'cache/archives/partial'):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / 'sources.list').write_text(f'deb http://deb.debian.org/debian {suite} main\n')
    if (updated := apt(folder, 'update')).returncode != 0 or 'Err:' in updated.stdout:
        return None
    # The newest version that the suite has of the package, and from there to the one with the kernel in it.
    package = f'{PACKAGE}/{suite}'
    for _ in range(4):
        if apt(folder, '-oDir::State::status=/dev/null', 'download', package).returncode != 0:
            return None
        for file in folder.glob('*.deb'):
            subprocess.run(['dpkg-deb', '-x', file, folder / 'image'], check=True)
            depends = subprocess.run(['dpkg-deb', '-f', file, 'Depends'], capture_output=True, text=True, check=True).stdout
            file.unlink()
        if found := vmlinuz(folder):
            return found
        if not (named := re.search(r'linux-(?:binary|image)-\S+', depends)):
            return None
        package = named.group(0).rstrip(',')
    return None


def needed(program):
    """The shared libraries of a program, and their loader."""
    said = subprocess.run(['ldd', program], capture_output=True, text=True, check=True).stdout
    return re.findall(r'(/\S+) \(0x', said)


def entry(name, mode, data=b''):
    """One file of a cpio archive in the `newc` format that the kernel unpacks."""
    fields = [0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
    head = b'070701' + b''.join(b'%08X' % f for f in fields) + name.encode() + b'\0'
    return head + b'\0' * (-len(head) % 4) + data + b'\0' * (-len(data) % 4)


def initramfs():
    files = {'init': (INIT.encode(), 0o755), 'config.yaml': (f'images: ["{LIBSSL}"]\n'.encode(), 0o644), 'etc/passwd': (b'root:x:0:0::/:/bin/sh\n', 0o644)}
    sources = {'bin/busybox': shutil.which('busybox'), 'bin/penstockd': BUILD / 'penstockd', 'bin/penstock': BUILD / 'penstock'}
    for program in (sources['bin/penstockd'], sources['bin/penstock'], LIBSSL):
        sources.update({library.lstrip('/'): library for library in needed(program)})
    sources[LIBSSL.lstrip('/')] = LIBSSL
    for name, source in sources.items():
        data = pathlib.Path(source).read_bytes()
        files[name] = (data, 0o755)
    folders = {'proc', 'sys', 'dev', 'tmp', 'run', *(str(p) for name in files for p in pathlib.PurePath(name).parents if str(p) != '.')}
    out = b''.join(entry(f, stat.S_IFDIR | 0o755) for f in sorted(folders))
    out += b''.join(entry(n, stat.S_IFREG | mode, data) for n, (data, mode) in files.items())
    return out + entry('TRAILER!!!', 0)


def boot(kernel, ramdisk):
    """The lines that the guest's init said."""
    command = ['qemu-system-x86_64', '-accel', 'tcg', '-cpu', 'max', '-m', '1500', '-smp', '2', '-nographic', '-no-reboot', '-nic', 'none',
               '-kernel', kernel, '-initrd', ramdisk, '-append', 'console=ttyS0 quiet panic=-1']
    try:
        said = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=SECONDS).stdout
    except subprocess.TimeoutExpired as late:
        said = late.stdout or b''
    return re.findall(r'guest: (.*?)\r?\n', said.decode(errors='replace'))


def row(lines):
    release = next((line.split()[1] for line in lines if line.startswith('kernel ')), 'did not boot')
    links = [re.sub(r'^e\d+-', '', line.split()[1]) for line in lines if line.startswith('link ')]
    if 'ready' in lines:
        programs = {re.match(r'\w+?__[a-z0-9_]+', link).group(0) for link in links}
        state = f'starts: {len(links)} links of {len(programs)} programs'
    else:
        code = next((line.split()[1] for line in lines if line.startswith('exit ')), '?')
        said = [line[4:] for line in lines if line.startswith(('log penstockd:', 'log hint:'))]
        state = f'exit code {code}: {"; ".join(said) or "it said nothing"}'
    return release, state


def main():
    suites = sys.argv[1:] or list(SUITES)
    if os.geteuid() != 0 or not shutil.which('qemu-system-x86_64') or not shutil.which('busybox') or not set(suites) <= set(SUITES):
        print(__doc__, file=sys.stderr)
        return 2
    failed = False
    print('| Debian | kernel | the daemon |\n|---|---|---|')
    with tempfile.NamedTemporaryFile(prefix='penstock-initramfs-') as ramdisk:
        ramdisk.write(initramfs())
        ramdisk.flush()
        for suite in suites:
            kernel = fetch(suite)
            lines = boot(kernel, ramdisk.name) if kernel else []
            release, state = row(lines) if kernel else (SUITES[suite], 'not on the mirror')
            failed = failed or bool(kernel) and 'end' not in lines
            print(f'| {suite} | {release} | {state} |', flush=True)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
