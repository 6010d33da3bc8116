"""A real S3 server (moto's) as a process, a bucket on it, and the environment in which our processes find it."""

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from tests.support.processes import Role, eventually, free_port, started

BUCKET: Final = "profiles"
SECRET: Final = "never-to-be-seen-in-a-log"


@dataclass
class S3:
    """The server. What is in it is gone when it is killed: it keeps everything in memory."""

    role: Role
    url: str
    env: dict[str, str]

    def make_bucket(self) -> None:
        """Wait for the server and make the bucket, whoever owns it."""

        def made() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return httpx.put(f"{self.url}/{BUCKET}", timeout=5, trust_env=False, verify=False).status_code == 200
            return False

        eventually(made, within=60, what="an S3 server", of=self.role)


@contextlib.contextmanager
def running_s3(folder: Path) -> Iterator[S3]:
    """The server until the end of the block. Its credentials are in a file, as on most machines."""
    port = free_port()
    credentials = folder / "credentials"
    credentials.write_text(f"[default]\naws_access_key_id = a-key\naws_secret_access_key = {SECRET}\n")
    argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with started(Role("s3", argv, env={}, log=folder / "s3.log")) as role:
        url = f"http://127.0.0.1:{port}"
        env = {
            "PCS_PROFILES_URL": f"s3://{BUCKET}/kept", "AWS_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_SHARED_CREDENTIALS_FILE": str(credentials), "AWS_EC2_METADATA_DISABLED": "true",
        }  # fmt: skip
        server = S3(role, url, env)
        server.make_bucket()
        yield server
