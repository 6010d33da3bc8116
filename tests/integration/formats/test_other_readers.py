"""What we write, read by programs of others: of the versions named here, from npm, each by its digest."""

import base64
import gzip
import hashlib
import json
import os
import subprocess
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import jsonschema_rs
import pytest

from agent.stacks.collapsed import frame
from profiles.renderings import RENDERINGS, Merged

PACKAGES: Final = {
    "speedscope@1.25.0": "cpf9HWTZf1ijLXBJrk87Ve/54tnYx6rlf0gUThvn3ook6h63hLXVOQiMf44PT+XoV503cPfvfiT5gP5vojp6Ag==",
    "pprof-format@2.3.2": "fcMM+sgKMOveSurz7i0BMHfy1hHNnI9+VWjd4kdclqQjSTuiHWaP69DGwvkw3zcLkM/F76LhVIKvPyrxmp6iiw==",
}
"""Package -> its SHA-512, in base64 as npm tells it."""
STACKS: Final = {
    "web;main (app.py:3);work (app.py:9)": 30, "web;main (app.py:3);rest": 10,
    "web;main (app.py:3);again;main (app.py:3)": 7,
    "db;do_syscall_64_[k]": 5, "späť;日本 (x.py:1)": 3, f"deep;{';'.join(f'f{number}' for number in range(600))}": 2,
    frame("one\ttab"): 1,
}  # fmt: skip
READ_PPROF: Final = """
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
const { Profile } = await import(process.argv[2]);
const profile = Profile.decode(gunzipSync(readFileSync(process.argv[3])));
const text = (index) => profile.stringTable.strings[index];
const by = (list) => new Map(list.map((each) => [each.id, each]));
const locations = by(profile.location), functions = by(profile.function);
console.log(JSON.stringify({
  types: profile.sampleType.map((type) => [text(type.type), text(type.unit)]),
  samples: profile.sample.map((sample) => [
    sample.locationId.map((id) => locations.get(id).line.map((line) => {
      const found = functions.get(line.functionId);
      return [text(found.name), text(found.filename)];
    })),
    sample.value.map(Number),
  ]),
  period: Number(profile.period), seconds: Number(profile.durationNanos) / 1e9,
}));
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each package, unpacked, by its name."""
    folder = tmp_path_factory.mktemp("npm")
    environment = {**os.environ, "npm_config_cache": str(folder / "cache"), "npm_config_update_notifier": "false"}
    command = ["npm", "pack", *PACKAGES, "--json", "--ignore-scripts", "--pack-destination", str(folder)]
    packed = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=90
    )
    assert packed.returncode == 0, packed.stderr
    unpacked = {}
    for each, digest in PACKAGES.items():
        name, _, version = each.partition("@")
        file = folder / f"{name}-{version}.tgz"
        assert base64.b64encode(hashlib.sha512(file.read_bytes()).digest()).decode() == digest, each
        unpacked[name] = folder / name
        with tarfile.open(file) as archive:
            archive.extractall(folder / name, filter="data")
    return unpacked


def written(kind: str, mode: str = "cpu", frequency_hz: int = 11) -> bytes:
    began = datetime(2026, 5, 4, tzinfo=UTC)
    merged = Merged(STACKS, "web", mode, frequency_hz, began, timedelta(minutes=1), {})
    content = {str(name): each for name, each in RENDERINGS.items()}[kind].write(merged, 100)
    return content if isinstance(content, bytes) else b"".join(content)


def read_pprof(packages: dict[str, Path], content: bytes, folder: Path) -> Any:
    reader, file = folder / "read.mjs", folder / "profile.pb.gz"
    reader.write_text(READ_PPROF, encoding="utf-8")
    file.write_bytes(content)
    module = packages["pprof-format"] / "package" / "dist" / "esm" / "index.js"
    done = subprocess.run(
        ["node", str(reader), str(module), str(file)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(("mode", "unit"), [("cpu", "none"), ("allocation", "bytes")])
def test_our_speedscope_files_are_what_speedscopes_schema_asks_for(
    packages: dict[str, Path], mode: str, unit: str
) -> None:
    schema = json.loads((packages["speedscope"] / "package/dist/release/file-format-schema.json").read_bytes())
    check = jsonschema_rs.validator_for(schema)
    document = json.loads(written("speedscope", mode))
    assert [error.message for error in check.iter_errors(document)] == []
    assert (document["profiles"][0]["unit"], sum(document["profiles"][0]["weights"])) == (unit, sum(STACKS.values()))
    broken = {**document, "profiles": [{**document["profiles"][0], "weights": "many"}]}
    assert not check.is_valid(broken), "the schema would let anything pass"


def test_our_pprof_is_read_with_every_stack_and_count(packages: dict[str, Path], tmp_path: Path) -> None:
    found = read_pprof(packages, written("pprof"), tmp_path)
    assert found["types"] == [["samples", "count"], ["cpu", "nanoseconds"]]
    assert (found["period"], found["seconds"]) == (10**9 // 11, 60)
    read = {}
    for locations, (samples, nanoseconds) in found["samples"]:
        frames = [f"{name} ({file})" if file else name for ((name, file),) in reversed(locations)]
        read[";".join(frames)] = samples
        assert abs(nanoseconds - samples * 1e9 / 11) <= samples
    assert read == {
        stack.replace(":3)", ")").replace(":9)", ")").replace(":1)", ")"): count for stack, count in STACKS.items()
    }  # fmt: skip


def test_allocations_are_bytes_to_a_reader_of_pprof(packages: dict[str, Path], tmp_path: Path) -> None:
    found = read_pprof(packages, written("pprof", "allocation", 0), tmp_path)
    assert found["types"][-1] == ["alloc_space", "bytes"]
    assert sum(values[-1] for _, values in found["samples"]) == sum(STACKS.values())


def test_what_is_cut_short_is_read_by_nobody(packages: dict[str, Path], tmp_path: Path) -> None:
    content = gzip.decompress(written("pprof"))
    with pytest.raises(AssertionError):
        read_pprof(packages, gzip.compress(content[: len(content) // 2]), tmp_path)
