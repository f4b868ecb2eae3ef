"""Proves that shared memory, a deleted open file, a timer and an eventfd are as they were."""
import mmap
import os
import signal
import sys

from step import steps

shared = mmap.mmap(-1, 1 << 20)  # MAP_SHARED, of two processes
deleted_path = sys.argv[1] + ".deleted"
deleted = os.open(deleted_path, os.O_RDWR | os.O_CREAT, 0o600)
os.write(deleted, b"deleted but open\n" * 1000)
os.unlink(deleted_path)
event = os.eventfd(41, os.EFD_NONBLOCK)
os.eventfd_write(event, 1)
ticks = 0


def tick(_number, _frame):
    global ticks
    ticks += 1


signal.signal(signal.SIGALRM, tick)
child = os.fork()
if child == 0:
    signal.setitimer(signal.ITIMER_REAL, 0)
    value = 0
    while True:  # writes into the shared memory what its sibling reads there
        value = (value + 1) % 251
        shared[4096:8192] = bytes([value]) * 4096
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)


def check(step):
    ticked, seen = ticks, shared[4096]
    os.lseek(deleted, 0, os.SEEK_SET)
    assert os.read(deleted, 17) == b"deleted but open\n", "the deleted file changed"
    assert os.fstat(deleted).st_nlink == 0, "the deleted file has a name"
    assert os.eventfd_read(event) == 42, "the eventfd lost its count"
    os.eventfd_write(event, 42)
    while ticks == ticked:  # the timer goes on, or this does not
        signal.pause()
    while shared[4096] == seen:
        signal.pause()
    return f"ticks {ticks}"


steps(check)
