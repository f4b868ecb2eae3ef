"""Proves that 200 threads all go on."""
import threading
import time

from step import steps

COUNT = 200
beats = [0] * COUNT


def beat(i):
    while True:
        beats[i] += 1
        time.sleep(0.05)


threading.stack_size(256 << 10)
for i in range(COUNT):
    threading.Thread(target=beat, args=(i,), daemon=True).start()


def check(_step):
    before = list(beats)
    time.sleep(0.3)
    still = sum(1 for i in range(COUNT) if beats[i] == before[i])
    # A loaded machine may starve a few for a while; a lost thread is starved for ever.
    deadline = time.monotonic() + 20
    while still and time.monotonic() < deadline:
        time.sleep(0.05)
        still = sum(1 for i in range(COUNT) if beats[i] == before[i])
    assert still == 0, f"{still} threads stand still"
    assert threading.active_count() == COUNT + 1


steps(check)
