"""Programs as users have them: saved while they run, saved and stopped, killed,
restarted here and at another node. Each program proves its own state."""
import errno
import os
import shutil
import signal
import socket
import subprocess
import unittest

import harness
from harness import wait_until


class Programs(harness.Case):
    def round_trip(self, program, *args):
        one, two = self.mount("one"), self.mount("two")
        harness.trust_each_other(one, two)
        started = self.program(program, *args)
        one.attach("job", started.pid)

        one.ctl("job", "checkpoint")
        started.check_goes_on()
        harness.kill_tree(started.pid)
        one.ctl("job", "restart")
        started.check_goes_on()
        self.assert_errno(errno.EEXIST, one.ctl, "job", "restart")

        one.ctl("job", "checkpoint stop")
        started.process.poll()
        wait_until(lambda: not harness.alive(started.pid), "the job to end")
        stick = os.path.join(self.dir, "stick")
        subprocess.run(["cp", "-a", one.image("job", 2), stick], check=True)
        os.mkdir(os.path.join(two.path, "images/job"))
        subprocess.run(["cp", "-a", stick, two.image("job", 2)], check=True)
        os.mkdir(two.job("job"))
        two.ctl("job", "restart 2")
        started.check_goes_on()
        two.ctl("job", "kill")
        wait_until(lambda: not harness.alive(started.pid), "the job to be killed")
        # The image is still there: it restarts again and again.
        two.ctl("job", "restart 2")
        started.check_goes_on()

    def test_shell_with_a_pipeline_goes_on(self):
        self.round_trip("pipeline.sh")

    def test_blocked_read_of_a_siblings_pipe_goes_on(self):
        self.round_trip("blocked_pipe.py")

    def test_program_that_ignores_signals_goes_on(self):
        self.round_trip("ignores_signals.py")

    def test_two_hundred_threads_go_on(self):
        self.round_trip("many_threads.py")

    def test_shared_memory_deleted_file_timers_and_eventfds_go_on(self):
        self.round_trip("kernel_objects.py")

    def test_open_output_file_is_as_it_was_at_the_checkpoint(self):
        one = self.mount("one")
        started = self.program("threads_and_file.py")
        one.attach("job", started.pid)
        one.ctl("job", "checkpoint stop")
        started.process.wait()  # a zombie would keep the pid
        saved = harness.read(started.out)
        # The file goes on growing after the checkpoint, as that of a crashed job does.
        with open(started.out, "a") as out:
            out.write("lost\n" * 10)
        one.ctl("job", "restart")
        started.check_goes_on()
        now = harness.read(started.out)
        self.assertTrue(now.startswith(saved))
        self.assertNotIn("lost", now)
        lines = [int(line) for line in now.splitlines()]
        self.assertEqual(lines, list(range(1, len(lines) + 1)))
        # What was there instead has been kept aside, not lost.
        aside = [name for name in os.listdir(self.dir) if "before-restart" in name]
        self.assertEqual(len(aside), 1)
        self.assertIn("lost", harness.read(os.path.join(self.dir, aside[0])))

    def test_a_job_that_lives_at_another_node_of_the_machine_is_not_doubled(self):
        one, two = self.mount("one"), self.mount("two")
        harness.trust_each_other(one, two)
        started = self.program("threads_and_file.py")
        one.attach("job", started.pid)
        one.ctl("job", "checkpoint")
        os.mkdir(os.path.join(two.path, "images/job"))
        subprocess.run(["cp", "-a", one.image("job", 1), two.image("job", 1)], check=True)
        os.mkdir(two.job("job"))

        # The original lives: refused, and its file is left alone.
        self.assert_errno(errno.EEXIST, two.ctl, "job", "restart 1")
        self.assertIn(f"process {started.pid} is alive", two.errors("job"))
        self.assertEqual([], [name for name in os.listdir(self.dir) if "before-restart" in name])
        started.check_goes_on()
        # On purpose it may be.
        two.ctl("job", "restart 1 clone")
        two.ctl("job.clone1", "kill")

        harness.kill_tree(started.pid)
        two.ctl("job", "restart 1")
        started.check_goes_on()
        self.assertGreater(int(two.status("job")["last_memory_bytes"]), 1 << 20)
        events = harness.read(os.path.join(two.path, "events"))
        self.assertEqual(1, events.count("image admitted version=1"), events)
        # Now it is an earlier restart of it that lives.
        self.assert_errno(errno.EEXIST, one.ctl, "job", "restart 1")
        started.check_goes_on()

    @unittest.skipUnless(shutil.which("redis-server"), "redis-server is not installed")
    def test_redis_keeps_its_data_and_its_port(self):
        one = self.mount("one")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = subprocess.Popen(
            [shutil.which("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save",
             "", "--appendonly", "no", "--dir", self.dir], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        self.addCleanup(lambda: (harness.kill_tree(server.pid), server.wait()))

        def ask(*words):
            with socket.create_connection(("127.0.0.1", port), 5) as link:
                link.sendall((" ".join(words) + "\r\n").encode())
                return link.recv(4096).decode()

        def answers():
            try:
                return ask("PING").startswith("+PONG")
            except OSError:
                return False
        wait_until(answers, "redis to answer")
        for i in range(100):
            self.assertTrue(ask("SET", f"key{i}", f"value{i}").startswith("+OK"))
        one.attach("redis", server.pid)
        one.ctl("redis", "checkpoint")
        wait_until(answers, "redis to go on")
        ask("SET", "key0", "changed")
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
        one.ctl("redis", "restart")
        wait_until(answers, "redis to be back")
        for i in range(100):
            self.assertIn(f"value{i}", ask("GET", f"key{i}"))
        one.ctl("redis", "kill")


if __name__ == "__main__":
    harness.main()
