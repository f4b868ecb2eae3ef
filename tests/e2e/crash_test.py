"""kill -9 of the daemon at random moments. Of a checkpoint: the job always goes on,
the last committed version restarts, nothing half-made is listed, no space leaks. Of a
restart: the job runs and is known, or nothing of it is there."""
import errno
import os
import random
import signal
import subprocess
import threading
import time

import harness
from harness import wait_until

KILLS = int(os.environ.get("CKPTFS_KILLS", "200"))
RESTART_KILLS = max(KILLS // 5, 1)
SIZE_MIB = 48


def pack_bytes(store):
    total = 0
    for base, _dirs, files in os.walk(store):
        if "catalogue" not in base:
            total += sum(os.stat(os.path.join(base, name)).st_blocks * 512 for name in files)
    return total


class Crash(harness.Case):
    def test_killed_daemon_harms_neither_job_nor_store(self):
        seed = int(os.environ.get("CKPTFS_SEED", random.randrange(1 << 30)))
        print(f"seed {seed}, {KILLS} kills", flush=True)
        chance = random.Random(seed)
        one = self.mount("one")
        program = self.program("memory.py", SIZE_MIB)
        one.attach("job", program.pid)
        began = time.monotonic()
        one.ctl("job", "checkpoint full")
        took = time.monotonic() - began
        killed_in_time = 0
        for kill in range(KILLS):
            before = one.versions("job")
            answered = []

            def checkpoint():
                try:
                    one.ctl("job", chance.choice(["checkpoint", "checkpoint full"]))
                    answered.append(True)
                except OSError:
                    answered.append(False)

            writer = threading.Thread(target=checkpoint)
            writer.start()
            # A random moment of the checkpoint, its very beginning and end included.
            time.sleep(chance.uniform(0, took * 1.1))
            one.kill_9()
            writer.join()
            killed_in_time += answered != [True]
            with self.subTest(kill=kill):
                # criu outlives the daemon: it is to find out and let go.
                wait_until(lambda: "TracerPid:\t0\n" in harness.read(
                    f"/proc/{program.pid}/status"), "criu to let the job go")
                program.check_goes_on(more=2)
            one.start()
            after = one.versions("job")
            # What was answered is there; what was not may be there whole or not at all.
            self.assertIn(after, (before, before + [before[-1] + 1],
                                  before + [max(after, default=0)]))
            if answered == [True]:
                self.assertEqual(len(after), len(before) + 1)
            if kill % 20 == 19:
                self.restart_of_the_last(one, program)
                self.forget_all_but_the_last(one)
        print(f"{killed_in_time} of {KILLS} before the answer", flush=True)
        self.assertGreater(killed_in_time, KILLS // 2)
        self.no_space_has_leaked(one, program)

    def test_killed_daemon_loses_no_restarted_job(self):
        seed = int(os.environ.get("CKPTFS_SEED", random.randrange(1 << 30)))
        print(f"seed {seed}, {RESTART_KILLS} kills", flush=True)
        chance = random.Random(seed)
        one = self.mount("one")
        program = self.program("memory.py", SIZE_MIB)
        one.attach("job", program.pid)
        one.ctl("job", "checkpoint")
        harness.kill_tree(program.pid)
        began = time.monotonic()
        one.ctl("job", "restart")
        took = time.monotonic() - began
        survived = 0
        for kill in range(RESTART_KILLS):
            one.ctl("job", "kill")
            steps = program.steps()
            answered = []

            def restart():
                try:
                    one.ctl("job", "restart")
                    answered.append(True)
                except OSError:
                    answered.append(False)

            writer = threading.Thread(target=restart)
            writer.start()
            # Also just after the end, when the job has only begun to run.
            time.sleep(chance.uniform(0, took * 1.5))
            # Stopped first, so that nothing it started is missed.
            one.daemon.send_signal(signal.SIGSTOP)
            checkpointers = [pid for pid in harness.descendants(one.daemon.pid)
                             if harness.alive(pid) and harness.comm(pid) == "criu"]
            one.kill_9()
            writer.join()
            with self.subTest(kill=kill):
                for pid in checkpointers:
                    wait_until(lambda: not harness.alive(pid), f"criu, pid {pid}, to end")
                one.start()
                if harness.alive(program.pid):
                    survived += 1
                    self.assertEqual(one.status("job")["state"], "running")
                    self.assert_errno(errno.EEXIST, one.ctl, "job", "restart")
                else:
                    self.assertEqual(answered, [False])
                    self.assertEqual(program.steps(), steps)
                    one.ctl("job", "restart")
                program.check_goes_on(more=25)
        print(f"{survived} of {RESTART_KILLS} survived the daemon", flush=True)

    def test_killed_daemon_leaves_no_job_stopped_unawares(self):
        one = self.mount("one")
        program = self.program("memory.py", SIZE_MIB)
        one.attach("job", program.pid)
        chance = random.Random(int(os.environ.get("CKPTFS_SEED", "1")))
        for kill in range(RESTART_KILLS):
            stop = threading.Event()

            def toggle():
                try:
                    while not stop.is_set():
                        one.ctl("job", "suspend")
                        one.ctl("job", "resume")
                except OSError:
                    pass  # the daemon is gone

            writer = threading.Thread(target=toggle)
            writer.start()
            time.sleep(chance.uniform(0, 0.05))
            one.kill_9()
            stop.set()
            writer.join()
            one.start()
            with self.subTest(kill=kill):
                state = one.status("job")["state"]
                if state == "suspended":
                    if kill % 2:
                        one.ctl("job", "checkpoint")
                    one.ctl("job", "resume")
                self.assertEqual(one.status("job")["state"], "running")
                program.check_goes_on(more=2)

    def restart_of_the_last(self, one, program):
        harness.kill_tree(program.pid)
        one.ctl("job", "restart")
        program.check_goes_on(more=25)  # its memory's sum is checked every 20 steps

    def forget_all_but_the_last(self, one):
        for version in one.versions("job")[:-1]:
            subprocess.run(["rm", "-r", one.image("job", version)], check=True)

    def no_space_has_leaked(self, one, program):
        one.ctl("job", "checkpoint full")
        self.forget_all_but_the_last(one)
        one.stop()
        held = pack_bytes(one.store)
        self.assertLess(held, (SIZE_MIB << 20) * 1.5 + (16 << 20))
        check = subprocess.run([harness.CKPTFS, "fsck", "--store", one.store],
                               capture_output=True, text=True, check=False)
        self.assertEqual(check.returncode, 0, check.stdout + check.stderr)
        os.kill(program.pid, signal.SIGCONT)
        wait_until(lambda: harness.alive(program.pid), "the job to be there")


if __name__ == "__main__":
    harness.main()
