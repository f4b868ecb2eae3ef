"""Two users and root at one mount with allow_other: what is one's does not exist for
the other. Users are numbers here: no account has to be made for them."""
import errno
import os
import pickle
import shutil
import signal
import subprocess

import harness
from harness import wait_until

ALICE, BOB = 61001, 61002


def as_user(uid, call, *args):
    """What call(*args) returns, or its OSError's errno, in a child that is that user."""
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            try:
                answer = ("done", call(*args))
            except OSError as failed:
                answer = ("errno", failed.errno)
            os.write(into, pickle.dumps(answer))
        finally:
            os._exit(0)
    os.close(into)
    with os.fdopen(out, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    return pickle.loads(answer)


class Users(harness.Case):
    def setUp(self):
        super().setUp()
        os.chmod(self.dir, 0o755)
        self.one = self.mount("one", options=("-o", "allow_other"))

    def sleeper(self, uid):
        """A program of that user's, in a session of its own."""
        home = os.path.join(self.dir, f"home-{uid}")
        if not os.path.exists(home):
            os.mkdir(home)
            os.chown(home, uid, uid)
        process = subprocess.Popen(
            [harness.PYTHON, os.path.join(harness.PROGRAMS, "memory.py"),
             os.path.join(home, "memory.out"), "4"],
            cwd=home, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True, user=uid, group=uid,
            extra_groups=[])
        self.addCleanup(lambda: (harness.kill_tree(process.pid), process.wait()))
        wait_until(lambda: os.path.exists(os.path.join(home, "memory.out")), "it to begin")
        return process

    def may(self, uid, call, *args):
        kind, answer = as_user(uid, call, *args)
        if kind == "errno":
            said = harness.read(os.path.join(self.one.path, "error_log"))
            self.fail(f"uid {uid}: {errno.errorcode[answer]}: {args}: {said[-1000:]}")
        return answer

    def may_not(self, uid, numbers, call, *args):
        kind, answer = as_user(uid, call, *args)
        self.assertEqual("errno", kind, f"uid {uid} may {call.__name__} {args}: {answer}")
        self.assertIn(answer, numbers, f"{errno.errorcode[answer]}: {args}")

    def alices_job(self):
        process = self.sleeper(ALICE)
        self.may(ALICE, os.mkdir, self.one.job("hers"))
        self.may(ALICE, harness.write, self.one.job("hers", "units/main/procs"),
                 f"{process.pid}\n")
        self.may(ALICE, harness.write, self.one.job("hers", "ctl"), "checkpoint\n")
        return process

    def test_anothers_job_and_images_do_not_exist(self):
        process = self.alices_job()
        one = self.one
        self.assertEqual(["hers"], self.may(ALICE, os.listdir, one.job("")))
        self.assertEqual([], self.may(BOB, os.listdir, one.job("")))
        self.assertEqual([], self.may(BOB, os.listdir, os.path.join(one.path, "images")))
        gone = (errno.ENOENT,)
        for name in ("", "ctl", "status", "policy", "progress", "wait", "error_log",
                     "units", "units/main", "units/main/procs", "units/main/log"):
            self.may_not(BOB, gone, os.stat, one.job("hers", name))
            self.may_not(BOB, gone, os.open, one.job("hers", name), os.O_RDONLY)
        for name in ("ctl", "policy", "units/main/procs", "units/main/checkpointer"):
            self.may_not(BOB, gone, harness.write, one.job("hers", name), "kill\n")
        for name in ("", "manifest", "manifest.minisig", "main.img", "status"):
            self.may_not(BOB, gone, os.stat, one.image("hers", 1, name))
        for call in (os.rmdir, os.unlink, os.listdir):
            self.may_not(BOB, gone, call, one.job("hers"))
            self.may_not(BOB, gone, call, one.image("hers", 1))
        self.may_not(BOB, gone, os.rename, one.job("hers"), one.job("his"))
        self.may_not(BOB, gone, os.mkdir, one.job("hers", "units/his"))
        self.may_not(BOB, (errno.EPERM, errno.EEXIST), os.mkdir, one.job("hers"))
        self.may_not(BOB, (errno.EPERM, errno.EEXIST), os.mkdir,
                     os.path.join(one.path, "images/hers"))
        self.assertTrue(harness.alive(process.pid))
        self.assertEqual([1], one.versions("hers"))
        # No name of hers in what he can read.
        for name in ("status", "metrics", "error_log"):
            kind, text = as_user(BOB, harness.read, os.path.join(one.path, name))
            if kind == "done":
                self.assertNotIn("hers", text, name)

    def test_anothers_processes_cannot_be_attached(self):
        process = self.sleeper(ALICE)
        self.may(BOB, os.mkdir, self.one.job("his"))
        procs = self.one.job("his", "units/main/procs")
        self.may_not(BOB, (errno.EPERM,), harness.write, procs, f"{process.pid}\n")
        self.may_not(BOB, (errno.EPERM, errno.EINVAL), harness.write, procs, "1\n")
        self.may_not(BOB, (errno.EPERM, errno.EINVAL), harness.write, procs,
                     f"{self.one.daemon.pid}\n")
        self.assertTrue(harness.alive(process.pid))

    def test_an_image_of_anothers_gives_no_process_of_hers(self):
        process = self.alices_job()
        stick = os.path.join(self.dir, "stick")
        subprocess.run(["cp", "-r", self.one.image("hers", 1), stick], check=True)
        os.chmod(stick, 0o755)
        for name in os.listdir(stick):
            os.chmod(os.path.join(stick, name), 0o644)
        harness.kill_tree(process.pid)
        images = os.path.join(self.one.path, "images/his")
        self.may(BOB, os.mkdir, images)
        as_user(BOB, subprocess.run, ["cp", "-r", stick, os.path.join(images, "1")])
        self.may(BOB, os.mkdir, self.one.job("his"))
        self.may_not(BOB, (errno.EPERM, errno.ESTALE, errno.ENOENT), harness.write,
                     self.one.job("his", "ctl"), "restart 1\n")
        self.assertFalse(harness.alive(process.pid))

    def test_only_root_changes_trust_and_reads_events(self):
        trusted = os.path.join(self.one.path, "keys/trusted")
        two = self.mount("two")
        key = os.path.join(self.dir, "two.pub")
        shutil.copyfile(os.path.join(two.path, "keys/self.pub"), key)
        os.chmod(key, 0o644)
        denied = (errno.EACCES, errno.EPERM)

        def put(path):
            shutil.copyfile(key, path)
        self.may_not(BOB, denied, put, os.path.join(trusted, "two.pub"))
        put(os.path.join(trusted, "two.pub"))
        self.may_not(BOB, denied, os.unlink, os.path.join(trusted, "two.pub"))
        self.may_not(BOB, denied, put, os.path.join(trusted, "two.pub"))
        self.may_not(BOB, denied, os.rename, os.path.join(trusted, "two.pub"),
                     os.path.join(trusted, "three.pub"))
        self.assertEqual(["two.pub"], os.listdir(trusted))
        self.may_not(BOB, denied, harness.read, os.path.join(self.one.path, "events"))
        self.assertIn("trusted", harness.read(os.path.join(self.one.path, "status")))

    def test_a_users_job_goes_on_as_that_user(self):
        process = self.alices_job()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        self.may(ALICE, harness.write, self.one.job("hers", "ctl"), "restart\n")
        with open(f"/proc/{process.pid}/status") as status:
            lines = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
        self.assertEqual([str(ALICE)] * 4, lines["Uid"].split())
        self.assertEqual([str(ALICE)] * 4, lines["Gid"].split())
        for kind in ("CapPrm", "CapEff", "CapAmb"):
            self.assertEqual(0, int(lines[kind], 16), kind)
        self.may(ALICE, harness.write, self.one.job("hers", "ctl"), "kill\n")


if __name__ == "__main__":
    harness.main()
