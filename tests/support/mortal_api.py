"""An API that kills itself at a moment of an upload that nobody hits from outside: as SIGKILL does it, just then.

python -m tests.support.mortal_api MOMENT [options of the API]
"""

import os
import runpy
import signal
import sys
from typing import Any, Final
from urllib.parse import urlsplit

from broker.uploads import Uploads
from profiles.shelves import RAW
from tests.support.api import Api
from tests.support.processes import Role

BEFORE_ITS_NAME: Final = "before it has its name"
"""It is whole on the disk, and nobody can find it."""
BEFORE_IT_IS_TOLD: Final = "before it is told of"
"""It is stored, and nobody indexes it."""
BEFORE_THE_ANSWER: Final = "before the answer"
"""It is indexed, and who sent it does not know."""
MOMENTS: Final = (BEFORE_ITS_NAME, BEFORE_IT_IS_TOLD, BEFORE_THE_ANSWER)


def mortal_role(moment: str, api: Api) -> Role:
    """Such an API in place of one that was stopped."""
    port = str(urlsplit(api.url).port)
    return Role(
        "api", [sys.executable, "-m", __name__, moment, "--port", port, "--workers", "1"],
        env={"PCS_STATE_DIR": str(api.state_dir), "PCS_LIMITS": "off"}, log=api.role.log,
    )  # fmt: skip


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(moment: str) -> None:
    """Have this process die at the first such moment."""
    link, announce = os.link, Uploads.announce

    def deadly_link(source: Any, name: Any, **said: Any) -> None:
        is_upload = f"/{RAW}/" in os.fspath(name)
        if is_upload and moment == BEFORE_ITS_NAME:
            die()
        link(source, name, **said)
        if is_upload and moment == BEFORE_IT_IS_TOLD:
            die()

    async def deadly_announce(*given: Any) -> None:
        await announce(*given)
        if moment == BEFORE_THE_ANSWER:
            die()

    os.link = deadly_link  # type: ignore[assignment]  # in this process alone
    Uploads.announce = deadly_announce  # type: ignore[assignment, method-assign]  # likewise


if __name__ == "__main__":
    arm(sys.argv.pop(1))
    runpy.run_module("api", run_name="__main__", alter_sys=True)
