"""What a server that is broken says, and what is made of it."""

from typing import Any

import pytest

from agent.replies import Defaults, Unreadable, read_command, read_reply


@pytest.mark.parametrize("nothing", [[], "", 0, False, 7, "start", ["start"]])
def test_a_command_that_is_no_object_is_no_start_by_default(nothing: Any) -> None:
    reply = read_reply({"success": True, "profiling_command": nothing, "command_id": "c1"}, held=False)
    assert reply.command is not None
    with pytest.raises(Unreadable):
        read_command(reply.command, hostname="web-01", defaults=Defaults())
