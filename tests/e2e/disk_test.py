"""A full disk, and what lies on it: ENOSPC, the job goes on, the space comes back;
and no page of the job in any file that the daemon wrote."""
import errno
import os
import secrets
import subprocess

import harness


class SmallDisk(harness.Case):
    """A store on an ext4 of its own, which can be filled."""

    def disk(self, size_mib):
        image = os.path.join(self.dir, "disk.img")
        with open(image, "wb") as file:
            file.truncate(size_mib << 20)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
        where = os.path.join(self.dir, "disk")
        os.mkdir(where)
        subprocess.run(["mount", "-o", "loop", image, where], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", where], check=False)
        return where

    def free(self, where):
        about = os.statvfs(where)
        return about.f_bfree * about.f_frsize

    def test_full_disk_is_enospc_and_the_job_goes_on(self):
        disk = self.disk(96)
        one = self.mount("one", store=os.path.join(disk, "store"))
        program = self.program("memory.py", 24)
        one.attach("job", program.pid)
        one.ctl("job", "checkpoint full")
        kept = one.versions("job")
        before = self.free(disk)
        filler = os.path.join(disk, "filler")
        # Less and less room, so that the disk is full at ever earlier points.
        for left_mib in (20, 12, 6, 2, 1, 0):
            with open(filler, "ab") as file:
                size = os.stat(filler).st_size
                grow = self.free(disk) - (left_mib << 20)
                if grow > 0:
                    try:
                        os.posix_fallocate(file.fileno(), size, grow)
                    except OSError:
                        pass
            self.assert_errno(errno.ENOSPC, one.ctl, "job", "checkpoint full")
            self.assertIn("space", one.errors("job").lower())
            program.check_goes_on()
            self.assertEqual(one.versions("job"), kept)
            # `checkpoint stop` that cannot be committed ends nothing.
            self.assert_errno(errno.ENOSPC, one.ctl, "job", "checkpoint stop full")
            program.check_goes_on()
        os.unlink(filler)
        self.assertGreater(self.free(disk), before - (4 << 20))
        one.ctl("job", "checkpoint full")
        harness.kill_tree(program.pid)
        one.ctl("job", "restart")
        program.check_goes_on(more=25)


class Plaintext(harness.Case):
    def test_no_page_of_the_job_is_in_any_file(self):
        marker = "MARK" + secrets.token_hex(24)
        one = self.mount("one")
        # Given as hex halves, so that only the program's memory holds it whole.
        program = self.program("memory.py", 16, marker)
        one.attach("job", program.pid)
        one.ctl("job", "checkpoint")
        one.ctl("job", "checkpoint full")
        found = []
        for place in (one.store, "/run", "/dev/shm", "/tmp", one.path):
            for base, _dirs, files in os.walk(place):
                for name in files:
                    path = os.path.join(base, name)
                    if os.path.islink(path) or not os.path.isfile(path) or name in ("wait", "ctl"):
                        continue
                    if self.holds(path, marker.encode()):
                        found.append(path)
        self.assertEqual(found, [])
        # The scan would have found it: it does find it in the process.
        with open(f"/proc/{program.pid}/cmdline", "rb") as cmdline:
            self.assertIn(marker.encode(), cmdline.read())

    def holds(self, path, marker):
        try:
            with open(path, "rb") as file:
                tail = b""
                while chunk := file.read(1 << 22):
                    if marker in tail + chunk:
                        return True
                    tail = chunk[-len(marker):]
        except OSError:
            pass
        return False


if __name__ == "__main__":
    harness.main()
