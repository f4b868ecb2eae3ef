"""Holds SIZE MiB of memory that no compression makes smaller, with a MARKER in it
over and over, and proves that its sum stays the same."""
import hashlib
import os
import sys

from step import steps

size = int(sys.argv[2]) << 20
marker = sys.argv[3].encode() if len(sys.argv) > 3 else b""
memory = bytearray(os.urandom(size))
for at in range(0, size - len(marker), 65536 + 8):
    memory[at:at + len(marker)] = marker
expected = hashlib.sha1(memory).digest()


def check(step):
    if step % 20 == 1:
        assert hashlib.sha1(memory).digest() == expected, "memory has changed"


steps(check)
