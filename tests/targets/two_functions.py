"""A Python program with one hot function, whose name is the first argument: tests tell two of these apart by it."""

import os
import sys
import time
from collections.abc import Callable

name = sys.argv[1]
threads = int(sys.argv[2]) if len(sys.argv) > 2 else 1
source = f"""
def {name}():
    total = 0
    for step in range(50_000):
        total += step * step
    return total
"""
namespace: dict[str, Callable[[], int]] = {}
exec(compile(source, "two_functions.py", "exec"), namespace)
hot = namespace[name]
parent = os.getppid()
if threads > 1:
    import threading

    def forever() -> None:
        while True:
            hot()

    for _ in range(threads):
        threading.Thread(target=forever, daemon=True).start()
    while os.getppid() == parent:
        time.sleep(0.1)
while os.getppid() == parent:
    hot()
