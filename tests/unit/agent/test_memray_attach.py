"""What is let into a process along with memray: made from its own payload, which is not ours to know by heart."""

import pytest
from memray.commands import attach

from agent.profilers.memray_attach import payload


def test_it_is_memrays_own_program_with_one_more_thread() -> None:
    theirs = attach.PAYLOAD
    filled = payload(theirs, "/tmp/a {strange} 'name'/end").format(tracker_call="memray.Tracker()", mode="", duration=1)
    assert filled.startswith(theirs.format(tracker_call="memray.Tracker()", mode="", duration=1))
    compile(filled, "payload", "exec")
    assert """args=("/tmp/a {strange} 'name'/end", id(memray._last_tracker))""" in filled


def test_another_release_of_memray_is_refused_rather_than_trusted() -> None:
    with pytest.raises(ValueError, match="this release of memray is not known here: its payload has no 'import time'"):
        payload(attach.PAYLOAD.replace("import time", ""), "/tmp/end")
