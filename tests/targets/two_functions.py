"""A Python program with one hot function, whose name is the first argument: tests tell two of these apart by it."""

import os
import sys
import time
from collections.abc import Callable

name = sys.argv[1]
threads = int(sys.argv[2]) if len(sys.argv) > 2 else 1
# It never returns: py-spy reads without stopping the program, and where it is held up between two reads it misses the
# frame that was left meanwhile.
source = f"""
def {name}(getppid, parent):
    while getppid() == parent:
        total = 0
        for step in range(50_000):
            total += step * step
"""
namespace: dict[str, Callable[[Callable[[], int], int], None]] = {}
exec(compile(source, "two_functions.py", "exec"), namespace)
hot = namespace[name]
parent = os.getppid()
print("ready", flush=True)
if threads > 1:
    import threading

    for _ in range(threads):
        threading.Thread(target=hot, args=(os.getppid, parent), daemon=True).start()
    while os.getppid() == parent:
        time.sleep(0.1)
hot(os.getppid, parent)
