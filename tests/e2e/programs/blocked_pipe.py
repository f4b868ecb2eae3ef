"""Proves that a process blocked in a read of its sibling's pipe stays blocked and
gets what is written after the restart."""
import os
import time

from step import report

numbers, give = os.pipe()
if os.fork() == 0:
    os.close(give)
    expected = 0
    while True:
        text = os.read(numbers, 64)  # blocked here nearly always
        expected += 1
        report(f"{expected}" if int(text) == expected else f"WRONG: {text} for {expected}")
os.close(numbers)
if os.fork() == 0:
    step = 0
    while True:
        step += 1
        os.write(give, b"%10d" % step)
        time.sleep(0.02)
os.close(give)
while True:
    time.sleep(1)
