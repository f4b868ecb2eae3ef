"""What the end-to-end tests share: real mounts, real programs, and their clean end.

Every test gets a folder of its own; whatever it started or mounted is ended and
unmounted also when it fails. Waiting is always for a condition.
"""
import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("CKPTFS_BUILD", os.path.join(HERE, "../../build/release"))
CKPTFS = os.path.abspath(os.path.join(BUILD, "ckptfs"))
PROGRAMS = os.path.join(HERE, "programs")
PYTHON = "/usr/bin/python3"


def wait_until(condition, what, seconds=60):
    """Polls until condition() is true; its value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain: {what}")
        time.sleep(0.005)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def start_time(pid):
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rsplit(")", 1)[1].split()[19]


def comm(pid):
    """The name of its program; "" when it is gone."""
    try:
        return read(f"/proc/{pid}/comm").strip()
    except OSError:
        return ""


def kill_tree(root):
    """SIGKILL to root and all below it; returns when none is left."""
    pids = [root] + descendants(root)
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    for pid in pids:
        try:
            os.waitpid(pid, 0)
        except OSError:
            pass
        wait_until(lambda: not os.path.exists(f"/proc/{pid}"), f"pid {pid} to be gone")


def descendants(root):
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as stat:
                    parent = int(stat.read().rsplit(")", 1)[1].split()[1])
                children.setdefault(parent, []).append(int(name))
            except OSError:
                pass
    found, todo = [], [root]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def read(path):
    with open(path) as file:
        return file.read()


def write(path, text):
    """One write(2), as a shell's echo makes it. Raises OSError with the errno."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode() if isinstance(text, str) else text)
    finally:
        os.close(fd)


class Mount:
    def __init__(self, dir, name, store=None, options=()):
        self.path = os.path.join(dir, "mnt-" + name)
        self.store = store or os.path.join(dir, "store-" + name)
        self.name = name
        self.options = list(options)
        self.log_path = os.path.join(dir, f"daemon-{name}.log")
        self.daemon = None
        os.makedirs(self.path, exist_ok=True)
        self.start()

    def start(self):
        with open(self.log_path, "a") as log:
            self.daemon = subprocess.Popen(
                [CKPTFS, "mount", "--foreground", "--store", self.store, "--name", self.name,
                 *self.options, self.path], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        def up():
            if self.daemon.poll() is not None:
                raise AssertionError(f"the daemon ended: {read(self.log_path)}")
            return os.path.exists(os.path.join(self.path, "status"))
        wait_until(up, "the mount to come up")

    def kill_9(self):
        self.daemon.send_signal(signal.SIGKILL)
        self.daemon.wait()
        subprocess.run(["umount", "-l", self.path], capture_output=True, check=False)

    def stop(self):
        if self.daemon.poll() is None:
            self.daemon.send_signal(signal.SIGTERM)
            try:
                self.daemon.wait(60)
            except subprocess.TimeoutExpired:
                self.daemon.kill()
                self.daemon.wait()
        subprocess.run(["umount", "-l", self.path], capture_output=True, check=False)

    def end(self):
        """Its jobs are killed too: a restarted one may have pids that no test knows."""
        if self.daemon.poll() is None:
            for job in os.listdir(os.path.join(self.path, "jobs")):
                try:
                    write(self.job(job, "ctl"), "kill\n")
                except OSError:
                    pass
        self.stop()

    # --- paths
    def job(self, job, *rest):
        return os.path.join(self.path, "jobs", job, *rest)

    def image(self, job, version, *rest):
        return os.path.join(self.path, "images", job, str(version), *rest)

    # --- commands
    def attach(self, job, pid, unit="main"):
        if not os.path.exists(self.job(job)):
            os.mkdir(self.job(job))
        write(self.job(job, "units", unit, "procs"), f"{pid}\n")

    def ctl(self, job, command):
        try:
            write(self.job(job, "ctl"), command + "\n")
        except OSError as failed:
            failed.strerror += f" ({self.errors(job)[-1500:]})"
            raise

    def errors(self, job):
        return read(self.job(job, "error_log"))

    def versions(self, job):
        try:
            names = os.listdir(os.path.join(self.path, "images", job))
        except FileNotFoundError:
            return []
        return sorted(int(name) for name in names if name.isdigit())

    def status(self, job):
        """Flat-keyed status as a dict; a key that comes twice keeps its last value."""
        pairs = (line.split(" ", 1) for line in read(self.job(job, "status")).splitlines())
        return {pair[0]: pair[1] if len(pair) > 1 else "" for pair in pairs}


def trust_each_other(one, two):
    shutil.copyfile(os.path.join(two.path, "keys/self.pub"),
                    os.path.join(one.path, f"keys/trusted/{two.name}.pub"))
    shutil.copyfile(os.path.join(one.path, "keys/self.pub"),
                    os.path.join(two.path, f"keys/trusted/{one.name}.pub"))


class Program:
    """A program of programs/ in a session of its own. It writes what it does to
    DIR/NAME.out, a line a step, opening the file anew for each line."""

    def __init__(self, dir, program, *args, name=None):
        self.out = os.path.join(dir, (name or program) + ".out")
        path = os.path.join(PROGRAMS, program)
        command = [PYTHON, path] if path.endswith(".py") else ["/bin/sh", path]
        self.process = subprocess.Popen(
            command + [self.out, *map(str, args)], cwd=dir, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        self.pid = self.process.pid
        wait_until(lambda: self.steps() > 0, f"{program} to begin")

    def steps(self):
        try:
            with open(self.out) as out:
                return sum(1 for line in out if line.endswith("\n"))
        except FileNotFoundError:
            return 0

    def last(self):
        with open(self.out) as out:
            return out.read().splitlines()[-1]

    def check_goes_on(self, more=3):
        at = self.steps()
        wait_until(lambda: self.steps() >= at + more, f"pid {self.pid} to go on")
        if "WRONG" in read(self.out):
            raise AssertionError(f"the program found its state wrong: {read(self.out)[-400:]}")

    def kill(self):
        if self.process.poll() is None or alive(self.pid):
            kill_tree(self.pid)
        self.process.wait()


@unittest.skipUnless(os.path.exists(CKPTFS), f"{CKPTFS} has not been built")
@unittest.skipUnless(os.path.exists("/dev/fuse"), "there is no /dev/fuse here")
@unittest.skipUnless(os.geteuid() == 0, "mounts and criu need root here")
class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="ckptfs-e2e-", dir="/var/tmp")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def mount(self, name, **options):
        mount = Mount(self.dir, name, **options)
        self.addCleanup(mount.end)
        return mount

    def program(self, program, *args, name=None):
        started = Program(self.dir, program, *args, name=name)
        self.addCleanup(started.kill)
        return started

    def assert_errno(self, number, call, *args):
        with self.assertRaises(OSError) as raised:
            call(*args)
        self.assertEqual(errno.errorcode[number], errno.errorcode[raised.exception.errno])


def main():
    unittest.main(module="__main__", verbosity=2, argv=[sys.argv[0], *sys.argv[1:]])
