"""Which engine is taken, by the setting that names it; its password is never told."""

from pathlib import Path

import pytest

from broker.errors import BadConfig
from profiles.clickhouse import ClickHouse
from profiles.embedded import Embedded
from profiles.engines import engine_of
from profiles.objects import Objects
from profiles.settings import ProfileSettings


def test_without_a_setting_files_have_the_index(tmp_path: Path) -> None:
    assert isinstance(engine_of(ProfileSettings(), Objects(str(tmp_path))), Embedded)


def test_an_address_is_clickhouses_and_nothing_is_connected_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PCS_PROFILES_ENGINE", "https://me:hidden@clickhouse.invalid:8443/studio")
    settings = ProfileSettings()
    engine = engine_of(settings, Objects(str(tmp_path)))
    assert isinstance(engine, ClickHouse)
    assert "hidden" not in f"{engine!r} {settings!r}"


@pytest.mark.parametrize("url", ["clickhouse", "https://me:hidden@host", "ftp://me:hidden@host/x", "http:///x", ""])
def test_what_is_no_address_is_refused_without_telling_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCS_PROFILES_ENGINE", url)
    with pytest.raises(BadConfig, match=r"(?i)profiles_engine") as refused:
        ProfileSettings()
    assert "hidden" not in str(refused.value)
