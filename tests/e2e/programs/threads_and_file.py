"""Proves that threads go on, and that an output file that is kept open is after a
restart as it was at the checkpoint, and goes on from there."""
import sys
import threading
import time

out = open(sys.argv[1], "w", buffering=1)
lock = threading.Lock()
step = 0


def work():
    global step
    while True:
        with lock:
            step += 1
            out.write(f"{step}\n")
        time.sleep(0.02)


for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
while True:
    time.sleep(1)
