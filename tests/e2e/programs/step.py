"""What the programs share: one line a step, the file open only while writing."""
import sys
import time

OUT = sys.argv[1]


def report(text):
    with open(OUT, "a") as out:
        out.write(text + "\n")


def steps(check):
    """Calls check(step) for ever; what it returns is written down. A wrong state
    is written as WRONG, which the tests look for."""
    step = 0
    while True:
        step += 1
        try:
            report(f"{step} {check(step) or ''}".rstrip())
        except AssertionError as wrong:
            report(f"WRONG at step {step}: {wrong}")
        time.sleep(0.01)
