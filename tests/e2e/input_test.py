"""Bad input: unknown commands, huge writes, pids that cannot be, odd names, a
second mount of the same store. Each is refused with its errno and its words."""
import errno
import os
import subprocess
import threading

import harness


def kernel_thread():
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as stat:
                    if int(stat.read().rsplit(")", 1)[1].split()[6]) & 0x00200000:
                        return int(name)
            except OSError:
                pass
    return None


class Input(harness.Case):
    def setUp(self):
        super().setUp()
        self.one = self.mount("one")
        os.mkdir(self.one.job("job"))

    def test_unknown_commands_are_invalid(self):
        for command in ("\n", "checkpoin", "checkpoint now", "CHECKPOINT", "restart x",
                        "restart -1", "restart 0", "restart 1 2", "restart 99999999999999999999",
                        "kill me", "checkpoint stop stop", "cancel all", "\0", "checkpoint\0",
                        "restart\tclone\x7f", "checkpoint\ncheckpoint", "&", "& checkpoint"):
            with self.subTest(command=command):
                self.assert_errno(errno.EINVAL, harness.write, self.one.job("job", "ctl"), command)

    def test_huge_writes_are_refused(self):
        for name in ("ctl", "policy", "units/main/procs", "units/main/checkpointer"):
            with self.subTest(file=name):
                with self.assertRaises(OSError) as raised:
                    harness.write(self.one.job("job", name), "x" * (1 << 20))
                self.assertIn(raised.exception.errno,
                              (errno.EINVAL, errno.EFBIG, errno.E2BIG, errno.EMSGSIZE))

    def test_policies_that_cannot_be_change_nothing(self):
        before = harness.read(self.one.job("job", "policy"))
        for line in ("keep -1", "keep many", "interval 1y", "colour blue", "commit slow", "keep",
                     "keep 1 2", "buffer 99999999999999999999G", "keep 3\ncolour blue"):
            with self.subTest(line=line):
                self.assert_errno(errno.EINVAL, harness.write, self.one.job("job", "policy"),
                                  line + "\n")
                self.assertEqual(harness.read(self.one.job("job", "policy")), before)
        harness.write(self.one.job("job", "policy"), "keep 3\n")
        after = harness.read(self.one.job("job", "policy"))
        self.assertIn("keep 3\n", after)
        # What is read can be written.
        harness.write(self.one.job("job", "policy"), after)
        self.assertEqual(harness.read(self.one.job("job", "policy")), after)

    def test_pids_that_cannot_be_attached_are_refused(self):
        procs = self.one.job("job", "units/main/procs")
        program = self.program("many_threads.py")
        thread = next(int(tid) for tid in os.listdir(f"/proc/{program.pid}/task")
                      if int(tid) != program.pid)
        for what, pid in (("none", 4194303), ("negative", -5), ("zero", 0), ("a word", "me"),
                          ("a thread", thread), ("the daemon", self.one.daemon.pid),
                          ("its ancestor", os.getpid()), ("init", 1),
                          ("a kernel thread", kernel_thread())):
            if pid is None:
                continue
            with self.subTest(what=what):
                with self.assertRaises(OSError) as raised:
                    harness.write(procs, f"{pid}\n")
                self.assertIn(raised.exception.errno, (errno.EINVAL, errno.ESRCH, errno.EPERM))
                self.assertTrue(self.one.errors("job"))
        self.one.attach("job", program.pid)
        # It already is a unit of this job: it cannot be one of another as well.
        os.mkdir(self.one.job("other"))
        self.assert_errno(errno.EBUSY, harness.write, self.one.job("other", "units/main/procs"),
                          f"{program.pid}\n")

    def test_odd_names_are_refused_or_kept_as_they_are(self):
        for name in ("-x", ".hidden", "a b", "a\nb", "ü", "a" * 65, "x;rm", "a$b", "a'b", "%s%n"):
            with self.subTest(name=name):
                with self.assertRaises(OSError) as raised:
                    os.mkdir(self.one.job(name))
                self.assertIn(raised.exception.errno, (errno.EINVAL, errno.ENAMETOOLONG))
        for name in ("a", "A.b-c_9", "a" * 64):
            os.mkdir(self.one.job(name))
            self.assertIn(name, os.listdir(os.path.join(self.one.path, "jobs")))
            os.rmdir(self.one.job(name))

    def test_commands_on_a_job_without_processes_say_so(self):
        self.assert_errno(errno.ESRCH, self.one.ctl, "job", "checkpoint")
        self.assert_errno(errno.ENOENT, self.one.ctl, "job", "restart")
        self.assert_errno(errno.ENOENT, self.one.ctl, "job", "restart 7")
        self.assert_errno(errno.ESRCH, self.one.ctl, "job", "suspend")
        self.assertIn("job", self.one.errors("job"))

    def test_second_mount_of_the_store_is_refused(self):
        other = os.path.join(self.dir, "other")
        os.mkdir(other)
        second = subprocess.run(
            [harness.CKPTFS, "mount", "--foreground", "--store", self.one.store, other],
            capture_output=True, text=True, timeout=60, check=False)
        self.assertNotEqual(second.returncode, 0)
        self.assertIn("store", second.stderr)
        self.assertFalse(os.listdir(other))

    def test_broken_keys_are_refused(self):
        trusted = os.path.join(self.one.path, "keys/trusted")
        for text in ("", "x", "RWQ", "untrusted comment: x\nRWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNS\n",
                     "A" * 100000):
            with self.subTest(text=text[:20]):
                path = os.path.join(trusted, "bad.pub")
                try:
                    with open(path, "w") as file:
                        file.write(text)
                except OSError:
                    pass
                else:
                    self.assertEqual(text, "")
                self.assertNotIn("bad.pub", os.listdir(trusted))


class Many(harness.Case):
    def test_tree_answers_while_hundreds_wait(self):
        one = self.mount("one")
        program = self.program("memory.py", 32)
        one.attach("job", program.pid)
        waiters = [subprocess.Popen(["cat", one.job("job", "wait")], stdout=subprocess.PIPE,
                                    text=True) for _ in range(500)]
        followers = [subprocess.Popen(["tail", "-n0", "-f", os.path.join(one.path, "events")],
                                      stdout=subprocess.PIPE, text=True) for _ in range(50)]
        self.addCleanup(lambda: [(child.kill(), child.wait(), child.stdout.close())
                                 for child in waiters + followers])
        stop = threading.Event()

        def look():
            while not stop.is_set():
                subprocess.run(["ls", "-lR", one.path], capture_output=True, check=False)
        looker = threading.Thread(target=look)
        looker.start()
        try:
            for _ in range(10):
                one.ctl("job", "checkpoint")
                program.check_goes_on(more=1)
        finally:
            stop.set()
            looker.join()
        for follower in followers:
            self.assertIn("checkpoint", follower.stdout.readline())
        one.ctl("job", "kill")
        for waiter in waiters:
            self.assertIn("signal 9", waiter.communicate(timeout=120)[0])


if __name__ == "__main__":
    harness.main()
