"""Where profiles are kept: files are whole or not there, never over another, and no address tells a key."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from broker.errors import BadConfig
from profiles.objects import FORGOTTEN_AFTER_S, UNFINISHED, Objects
from profiles.settings import ProfileSettings


def test_a_key_in_the_address_of_s3_is_refused_without_being_told() -> None:
    with pytest.raises(BadConfig) as refused:
        ProfileSettings(profiles_url=SecretStr("s3://AKIA:hush@bucket/folder"))
    assert "AWS_ACCESS_KEY_ID" in str(refused.value)
    assert "hush" not in str(refused.value)


def test_a_file_is_written_once(tmp_path: Path) -> None:
    objects = Objects(str(tmp_path))
    objects.write("a/b", b"first")
    with pytest.raises(FileExistsError):
        objects.write("a/b", b"second")
    assert (objects.read("a/b"), list(objects.names("a"))) == (b"first", ["b"])


def test_what_who_died_has_left_goes_after_an_hour_and_nothing_else_does(tmp_path: Path) -> None:
    objects = Objects(str(tmp_path))
    objects.write("raw/t/s/a", b"whole")
    for name, age in ((f"{UNFINISHED}old", FORGOTTEN_AFTER_S + 9), (f"{UNFINISHED}young", FORGOTTEN_AFTER_S - 99)):
        (tmp_path / name).write_bytes(b"half")
        then = time.time() - age
        os.utime(tmp_path / name, (then, then))
    os.utime(tmp_path / "raw/t/s/a", (0, 0))
    assert [*objects.names("")] == ["raw"]
    assert (objects.sweep(), objects.sweep()) == (1, 0)
    assert sorted(each.name for each in tmp_path.iterdir()) == [f"{UNFINISHED}young", "raw"]
    assert objects.read("raw/t/s/a") == b"whole"
    assert Objects("memory://swept").sweep() == 0


def test_what_a_store_raises_beside_oserror_is_told_as_one_without_its_words() -> None:
    class Away(Exception):
        """As botocore's: no OSError."""

    def away(*_: Any, **__: Any) -> Any:
        raise Away("https://key:hush@store")

    objects = Objects("memory://kept")
    objects.fs.cat_file = objects.fs.pipe_file = objects.fs.ls = objects.fs.exists = away
    try:
        for ask in (
            lambda: objects.read("a"), lambda: objects.write("a", b""), lambda: list(objects.names("")),
            lambda: objects.has("a"),
        ):  # fmt: skip
            with pytest.raises(OSError, match="Away") as told:
                ask()
            assert "hush" not in str(told.value)
    finally:
        for name in ("cat_file", "pipe_file", "ls", "exists"):
            delattr(objects.fs, name)  # fsspec hands the same one out again
