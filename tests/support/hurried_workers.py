"""`python -m tests.support.hurried_workers ROLE ...`: the worker roles, with shorter patience than ours.

A run without its completion times out after 4 s instead of 30, and a host counts as silent after three beats and 4 s
instead of 60: a test sees every clock strike within seconds. Nothing else differs.
"""

from datetime import timedelta

import broker.effective
import protocol.pacing

broker.effective.GRACE_SECONDS = 4.0  # type: ignore[misc]  # before anybody else reads it
protocol.pacing.MAX_WAIT = timedelta(seconds=4)  # type: ignore[misc]  # likewise

from workers.__main__ import main  # noqa: E402 - takes the patience over as it finds it

if __name__ == "__main__":
    main()
