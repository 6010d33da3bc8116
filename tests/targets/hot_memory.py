"""A Python program: `hold_much` holds nine tenths of its memory, `hold_little` the rest. It ends with its parent."""

import os
import time


def hold_much() -> list[bytearray]:
    return [bytearray(9_000) for _ in range(100)]


def hold_little() -> list[bytearray]:
    return [bytearray(1_000) for _ in range(100)]


kept: list[list[bytearray]] = []
parent = os.getppid()
print("ready", flush=True)
while os.getppid() == parent:
    kept += [hold_much(), hold_little()]
    if len(kept) >= 40:
        kept.clear()
    time.sleep(0.001)
