"""Images that were changed on their way: each is found, named, and nothing starts."""
import errno
import os
import shutil
import subprocess

import harness

FILES = ("manifest", "manifest.minisig", "main.img")


class Tamper(harness.Case):
    def setUp(self):
        super().setUp()
        self.one, self.two = self.mount("one"), self.mount("two")
        harness.trust_each_other(self.one, self.two)
        self.started = self.program("memory.py", 4)
        self.one.attach("job", self.started.pid)
        self.good = {}
        for version in (1, 2):
            self.one.ctl("job", "checkpoint full")
            self.good[version] = os.path.join(self.dir, f"good-{version}")
            subprocess.run(["cp", "-a", self.one.image("job", version), self.good[version]],
                           check=True)
        self.one.ctl("job", "kill")
        os.mkdir(self.two.job("job"))
        os.mkdir(os.path.join(self.two.path, "images/job"))

    def refused(self, what, numbers, make, version=1):
        """A copy of a good image, changed by make(dir), is refused by the other node."""
        bad = os.path.join(self.dir, "bad")
        shutil.copytree(self.good[version], bad)
        make(bad)
        with self.subTest(what=what):
            place = self.two.image("job", version)
            subprocess.run(["cp", "-a", bad, place], capture_output=True, check=False)
            with self.assertRaises(OSError) as raised:
                self.two.ctl("job", f"restart {version}")
            self.assertIn(raised.exception.errno, numbers,
                          f"{errno.errorcode[raised.exception.errno]}: {self.two.errors('job')}")
            self.assertFalse(harness.alive(self.started.pid), "something was started")
            verify = subprocess.run(
                [harness.CKPTFS, "verify", "--key", os.path.join(self.one.path, "keys/self.pub"),
                 bad], capture_output=True, text=True, check=False)
            # A replayed image is genuine: only where it lies is wrong.
            if numbers != (errno.ESTALE,):
                self.assertNotEqual(verify.returncode, 0, verify.stdout)
                self.assertTrue(verify.stdout + verify.stderr)
            subprocess.run(["rm", "-r", place], capture_output=True, check=False)
        shutil.rmtree(bad)

    def flip(self, name, at):
        def change(dir):
            path = os.path.join(dir, name)
            os.chmod(path, 0o600)
            with open(path, "r+b") as file:
                file.seek(at)
                byte = file.read(1)[0]
                file.seek(at)
                file.write(bytes([byte ^ 0x10]))
        return change

    def test_every_region_of_every_file_is_guarded(self):
        for name in FILES:
            size = os.stat(os.path.join(self.good[1], name)).st_size
            step = max(1, size // 12)
            for at in sorted({*range(0, size, step), size - 1}):
                self.refused(f"{name} byte {at} flipped", (errno.EBADMSG, errno.EACCES),
                             self.flip(name, at))

    def test_truncated_and_longer_files_are_refused(self):
        for name in FILES:
            size = os.stat(os.path.join(self.good[1], name)).st_size
            for length in (0, 1, size // 2, size - 1):
                # A short image may still be growing: then it is not yet there.
                self.refused(f"{name} cut to {length}", (errno.EBADMSG, errno.ENOENT, errno.EBUSY),
                             lambda dir: os.truncate(os.path.join(dir, name), length))

            def longer(dir):
                with open(os.path.join(dir, name), "ab") as file:
                    file.write(b"x")
            self.refused(f"{name} longer", (errno.EBADMSG,), longer)

    def test_files_of_another_version_are_refused(self):
        for name in FILES:
            other = os.path.join(self.good[2], name)
            # A shorter one may still be growing. How long each is hangs on the moment it was saved.
            shorter = os.stat(other).st_size < os.stat(os.path.join(self.good[1], name)).st_size
            self.refused(f"{name} of version 2",
                         (errno.EBADMSG, errno.ESTALE) + (errno.EBUSY,) * shorter,
                         lambda dir: shutil.copy(other, dir))

    def test_version_presented_as_another_is_stale(self):
        place = self.two.image("job", 7)
        subprocess.run(["cp", "-a", self.good[1], place], capture_output=True, check=False)
        self.assert_errno(errno.ESTALE, self.two.ctl, "job", "restart 7")
        self.assertFalse(harness.alive(self.started.pid))

    def test_untrusted_signer_is_named(self):
        os.unlink(os.path.join(self.two.path, "keys/trusted/one.pub"))
        subprocess.run(["cp", "-a", self.good[1], self.two.image("job", 1)], capture_output=True,
                       check=False)
        self.assert_errno(errno.EACCES, self.two.ctl, "job", "restart 1")
        self.assertIn("trust", self.two.errors("job"))
        # With the key back the same image is welcome.
        shutil.copy(os.path.join(self.one.path, "keys/self.pub"),
                    os.path.join(self.two.path, "keys/trusted/one.pub"))
        self.two.ctl("job", "restart 1")
        self.started.check_goes_on()


if __name__ == "__main__":
    harness.main()
