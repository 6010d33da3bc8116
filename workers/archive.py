"""Where the archive's segments are: a family a folder, and below it a folder for each UTC day."""

from profiles.objects import Objects
from workers.segments import NAME, in_chains


class Archive(Objects):
    """The files of one archive."""

    def paths(self, family: str | None = None, *, since: str = "") -> list[str]:
        """Every segment, of one family or of all, from a UTC day on."""
        found: list[str] = []
        for folder in [family] if family else self.names(""):
            for day in self.names(folder):
                if day >= since:
                    found += [f"{folder}/{day}/{name}" for name in self.names(f"{folder}/{day}")]
        return sorted(path for path in found if NAME.search(path))

    def newest(self, family: str, *, since: str = "") -> dict[int, str]:
        """Stream -> its newest segment among those from a UTC day on."""
        return {stream: chain[-1] for (_, stream), chain in in_chains(self.paths(family, since=since))}
