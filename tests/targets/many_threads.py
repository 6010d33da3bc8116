"""A Python program of four busy threads and two that wait.

Of its CPU time `spin_much` has three quarters, `spin_little` the rest. It ends with its parent.
"""

import os
import random
import threading
import time


def spin_much(until: float) -> None:
    while time.thread_time() < until:
        sum(range(2_000))


def spin_little(until: float) -> None:
    while time.thread_time() < until:
        sum(range(2_000))


def busy(seed: int) -> None:
    # rounds of 15 to 45 ms: with equal ones, a sampler could keep step with them
    chance = random.Random(seed)
    while True:
        round_seconds = 0.015 + 0.03 * chance.random()
        spin_much(time.thread_time() + 0.75 * round_seconds)
        spin_little(time.thread_time() + 0.25 * round_seconds)


def wait_asleep() -> None:
    while True:
        time.sleep(60)


def wait_for_a_lock() -> None:
    threading.Event().wait()


for seed in range(4):
    threading.Thread(target=busy, args=(seed,), daemon=True).start()
for idle in (wait_asleep, wait_for_a_lock):
    threading.Thread(target=idle, daemon=True).start()
parent = os.getppid()
while os.getppid() == parent:
    time.sleep(0.1)
