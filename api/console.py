"""The page as it was built: an index and files whose names change with what is in them. Read once, at the start."""

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Final

BUILT: Final = Path(__file__).parent / "built"
"""Made by `tools/build_console.py`; part of a wheel, and of no commit."""
ASSETS: Final = "assets"
MEDIA_TYPES: Final = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
"""Ours, whatever the machine takes them for: with another one a browser runs no script."""
WORTH_ZIPPING: Final = 1_024
HOW: Final = "python3 studio.py setup"

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "worker-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FRAME_POLICY: Final = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
"""speedscope's: it writes its styles into the document, which no hash can name, and brings WebAssembly.

It gets no origin, so no session and no storage, and may call nothing: the page hands it the profile."""
HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
FRAME_HEADERS: Final = {**HEADERS, "Content-Security-Policy": FRAME_POLICY}
FOREVER: Final = "public, max-age=31536000, immutable"
ALWAYS_ASKED: Final = "no-cache"
"""The index names the files of one build: after an update it must not be an old one."""


@dataclass(frozen=True)
class File:
    """One file of the page, as it is sent: plain, and zipped where that is worth it."""

    media_type: str
    plain: bytes
    zipped: bytes | None

    @classmethod
    def read(cls, path: Path) -> "File":
        """Read one.

        Raises:
            OSError: it is not there, or may not be read.
        """
        content = path.read_bytes()
        media_type = MEDIA_TYPES.get(path.suffix, "application/octet-stream")
        zipped = gzip.compress(content, mtime=0) if len(content) >= WORTH_ZIPPING else None
        return cls(media_type, content, zipped)


@dataclass(frozen=True)
class BuiltPage:
    """All of it. `index` None: it was not built here; `frame` is the document that speedscope lives in."""

    index: File | None
    assets: dict[str, File]
    frame: File | None = None

    @classmethod
    def read(cls, folder: Path = BUILT) -> "BuiltPage":
        """Read what is in a folder; nothing where it was not built.

        Raises:
            OSError: it is there, and cannot be read.
        """
        index = folder / "index.html"
        if not index.is_file():
            return cls(None, {})
        files = {path.name: File.read(path) for path in sorted((folder / ASSETS).iterdir()) if path.is_file()}
        return cls(File.read(index), files, File.read(folder / "speedscope.html"))


NOT_BUILT: Final = f"""\
<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Performance Studio</title></head><body>
<h1>The page was not built here</h1>
<p>The API works. To have the page too, run this in the clone, and start the API again:</p>
<pre>{HOW}</pre>
<p>It needs the package indexes of Python and of npm once. What the API can do is told at <a href="/docs">/docs</a>.</p>
</body></html>
"""
