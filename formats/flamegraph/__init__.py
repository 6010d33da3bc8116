"""A profile as one HTML file that opens from disk, with no network: see `docs/decisions/0003-flame-graph-file.md`.

`page.html` is the frame, `style.css`, `tree.js` (decoding, ordering, searching; no DOM) and `view.js` (the canvas) go
into it, and the profile as JSON. A Content-Security-Policy with the hashes of exactly these allows nothing else to run
and nothing to be loaded.
"""

from formats.flamegraph.page import render

__all__ = ["render"]
