"""The commands that work without a mount, on images of a real job: verify, extract,
fsck; and keys under a passphrase."""
import errno
import os
import pty
import shutil
import struct
import subprocess

import harness
from harness import CKPTFS


def run(*words, **options):
    return subprocess.run([CKPTFS, *words], capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL, **options)


class Commands(harness.Case):
    def copied(self, mount, version=1):
        out = os.path.join(self.dir, f"copy-{version}")
        subprocess.run(["cp", "-a", mount.image("job", version), out], check=True)
        return out

    def key_of(self, mount):
        return os.path.join(mount.store, "keys/self.pub")

    def begin(self, name="one", program="memory.py", args=(4,), **options):
        mount = self.mount(name, **options)
        started = self.program(program, *args)
        mount.attach("job", started.pid)
        mount.ctl("job", "checkpoint")
        return mount, started

    def test_verify_needs_the_signers_key_alone(self):
        one, _ = self.begin()
        other = self.mount("other")
        image, elsewhere = self.copied(one), os.path.join(self.dir, "elsewhere.pub")
        shutil.copyfile(self.key_of(one), elsewhere)
        one.stop()
        shutil.rmtree(one.store)
        done = run("verify", "--key", elsewhere, image)
        self.assertEqual((0, ""), (done.returncode, done.stderr))
        self.assertIn("job job version 1, signed by", done.stdout)
        line = harness.read(elsewhere).splitlines()[1]
        self.assertEqual(0, run("verify", "--key", line, image).returncode)
        wrong = run("verify", "--key", self.key_of(other), image)
        self.assertEqual(3, wrong.returncode, wrong.stdout)
        self.assertIn("not trusted", wrong.stderr)
        unchecked = run("verify", image)
        self.assertIn("NOT checked", unchecked.stdout)

    def test_extract_gives_criu_its_files(self):
        one, started = self.begin()
        image, out = self.copied(one), os.path.join(self.dir, "out")
        one.stop()
        done = run("extract", "--store", one.store, image, out)
        self.assertEqual((0, ""), (done.returncode, done.stderr))
        names = os.listdir(os.path.join(out, "main"))
        for name in ("inventory.img", "pstree.img", f"core-{started.pid}.img", "pages-1.img"):
            self.assertIn(name, names)
        with open(os.path.join(out, "main/pstree.img"), "rb") as file:
            self.assertEqual((0x54564319, 0x50273030), struct.unpack("<II", file.read(8)))
        self.assertEqual(0o700, os.stat(out).st_mode & 0o777)
        self.assertEqual(0o600, os.stat(os.path.join(out, "main/pages-1.img")).st_mode & 0o777)
        if shutil.which("crit"):
            shown = subprocess.run(["crit", "x", os.path.join(out, "main"), "ps"],
                                   capture_output=True, text=True, check=True).stdout
            self.assertIn(str(started.pid), shown)
        # What is there is not written over.
        again = run("extract", "--store", one.store, image, out)
        self.assertEqual(1, again.returncode)
        self.assertIn("exists", again.stderr)
        stranger = self.mount("stranger")
        stranger.stop()
        refused = run("extract", "--store", stranger.store, image, out + "2")
        self.assertEqual(1, refused.returncode)
        self.assertIn("not trusted", refused.stderr)
        self.assertFalse(os.path.exists(out + "2"))

    def test_a_lost_catalogue_is_rebuilt_and_every_version_restarts(self):
        one, started = self.begin(program="threads_and_file.py", args=())
        one.ctl("job", "checkpoint")
        one.ctl("job", "checkpoint stop")
        self.assertEqual([1, 2, 3], one.versions("job"))
        self.assertIn("is in use", run("fsck", "--store", one.store).stderr)
        one.stop()
        for name in os.listdir(one.store):
            if "catalogue" in name:
                path = os.path.join(one.store, name)
                shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
        rebuilt = run("fsck", "--rebuild", "--store", one.store)
        self.assertEqual(0, rebuilt.returncode, rebuilt.stdout + rebuilt.stderr)
        self.assertEqual(0, run("fsck", "--store", one.store).returncode)
        one.start()
        self.assertEqual([1, 2, 3], one.versions("job"))
        if not os.path.exists(one.job("job")):
            os.mkdir(one.job("job"))
        started.process.wait()
        for version in (1, 2, 3):
            one.ctl("job", f"restart {version}")
            started.check_goes_on()
            one.ctl("job", "kill")

    def test_a_damaged_pack_is_named_by_fsck(self):
        one, _ = self.begin()
        one.stop()
        packs = os.path.join(one.store, "packs")
        pack = os.path.join(packs, os.listdir(packs)[0])
        with open(pack, "r+b") as file:
            file.seek(os.stat(pack).st_size // 2)
            byte = file.read(1)[0]
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte ^ 1]))
        found = run("fsck", "--store", one.store)
        self.assertEqual(3, found.returncode)
        self.assertIn("job version 1", found.stdout + found.stderr)

    def test_keys_under_a_passphrase_open_with_it_only(self):
        right, wrong = os.path.join(self.dir, "right"), os.path.join(self.dir, "wrong")
        for path, words in ((right, "correct horse\n"), (wrong, "battery staple\n")):
            with open(path, "w") as file:
                file.write(words)
            os.chmod(path, 0o600)
        one, started = self.begin(options=("--seal-keys", "--passphrase-file", right))
        image = self.copied(one)
        with open(os.path.join(one.store, "keys/self.key"), "rb") as file:
            self.assertNotIn(b"correct horse", file.read())
        one.stop()
        without = run("mount", "--foreground", "--store", one.store, one.path)
        self.assertEqual(1, without.returncode)
        self.assertIn("passphrase", without.stderr)
        bad = run("mount", "--foreground", "--store", one.store, "--passphrase-file", wrong,
                  one.path)
        self.assertEqual(1, bad.returncode)
        self.assertIn("passphrase", bad.stderr)
        self.assertFalse(os.path.ismount(one.path))
        self.assertEqual(1, run("extract", "--store", one.store, "--passphrase-file", wrong, image,
                                os.path.join(self.dir, "out")).returncode)
        self.assertEqual(0, run("extract", "--store", one.store, "--passphrase-file", right, image,
                                os.path.join(self.dir, "out")).returncode)
        one.options = ["--passphrase-file", right]
        one.start()
        harness.kill_tree(started.pid)
        one.ctl("job", "restart")
        started.check_goes_on()

    def test_the_passphrase_is_asked_for_at_the_terminal(self):
        right = os.path.join(self.dir, "right")
        with open(right, "w") as file:
            file.write("correct horse\n")
        os.chmod(right, 0o600)
        one, _ = self.begin(options=("--seal-keys", "--passphrase-file", right))
        image = self.copied(one)
        one.stop()
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(CKPTFS, [CKPTFS, "extract", "--store", one.store, image,
                              os.path.join(self.dir, "out")])
        said = b""
        try:
            while b"assphrase" not in said:
                said += os.read(terminal, 1000)
            os.write(terminal, b"correct horse\n")
            while True:
                said += os.read(terminal, 1000)
        except OSError as ended:  # EIO: the other end of the terminal is closed
            self.assertEqual(errno.EIO, ended.errno)
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
        self.assertEqual(0, os.waitstatus_to_exitcode(status), said)
        self.assertNotIn(b"correct horse", said)
        self.assertIn("inventory.img", os.listdir(os.path.join(self.dir, "out/main")))


if __name__ == "__main__":
    harness.main()
