"""Two that start in the same moment do not get the same port."""

import socket
import subprocess
import sys

import pytest

from cli.errors import PortTaken
from cli.ports import claimed_port


def test_a_port_that_another_is_about_to_listen_on_is_taken_until_that_one_is_gone() -> None:
    with claimed_port("127.0.0.1", 0) as chosen:
        with socket.socket() as free:
            free.bind(("127.0.0.1", chosen))  # nobody listens there yet
        with (
            pytest.raises(PortTaken, match=f"port {chosen}: another one that starts"),
            claimed_port("127.0.0.1", chosen),
        ):
            pass
    with claimed_port("127.0.0.1", chosen) as again:
        assert again == chosen


def test_the_kernel_lets_go_of_it_with_the_process() -> None:
    code = (
        "import os; from cli.ports import claimed_port; claim = claimed_port('127.0.0.1', 0);"
        " print(claim.__enter__(), flush=True); os._exit(0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    chosen = int(done.stdout)
    with claimed_port("127.0.0.1", chosen) as again:
        assert again == chosen
