"""Which container a process is in, by the texts that the kernel has of it. Pure.

The forms of cgroup paths are those that container runtimes and the kubelet write, under their drivers `cgroupfs` and
`systemd`. A path names the outermost group first: a container in a container is told as the inner one.
"""

import re
from dataclasses import dataclass
from typing import Final

_UID: Final = r"[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32}"
"""Of a pod; systemd's slices write `_` for `-`, and a pod from a file on the node has a digest without either."""
_POD: Final = re.compile(rf"(?:.*-)?pod(?P<uid>{_UID})(?:\.slice)?(?P<unit>:[a-z-]+:[0-9a-f]{{64}})?")
_ID: Final = "[0-9a-f]{64}"
_CONTAINER: Final = re.compile(rf"(?:(?:.*:)?(?P<prefix>[a-z][a-z-]*)[-:])?(?P<id>{_ID})(?:\.scope)?")
_FARGATE: Final = re.compile(r"[0-9a-f]{32}-[0-9]{5,}")
_RUNTIMES: Final = {
    "docker": "docker", "cri-containerd": "containerd", "nerdctl": "containerd", "crio": "cri-o",
    "libpod": "podman", "libpod-payload": "podman",
}  # fmt: skip
"""Runtime by the word before the id. Any other word (`crio-conmon`) is that of a helper, outside the container."""
_PARENTS: Final = {"docker": "docker", "ecs": "docker", "libpod_parent": "podman"}
"""Runtime by the first group of a path, where nothing stands before the id."""

_OF_THE_NETWORK: Final = frozenset({"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"})
_KUBELETS: Final = re.compile(rf"(?:.*/)?pods/(?P<uid>{_UID})/etc-hosts")
_FILES: Final = (
    (re.compile(rf".*/overlay-containers/(?P<id>{_ID})/userdata/[a-z.]+"), "podman"),
    (re.compile(rf"(?:.*/)?containers/(?P<id>{_ID})/[a-z.]+"), "docker"),
)


@dataclass(frozen=True)
class Home:
    """What a process runs in, as far as that is known; of a process of the host itself nothing is."""

    container_id: str | None = None
    runtime: str | None = None
    pod_uid: str | None = None


HOST: Final = Home()


def home_by_cgroup(text: str) -> Home:
    """Read `/proc/PID/cgroup`, of version 1, 2 or both: the first hierarchy that names a container, else a pod."""
    homes = [_by_path(line.split(":", 2)[2]) for line in text.splitlines() if line.count(":") >= 2]  # noqa: PLR2004
    named = [home for home in homes if home.container_id is not None]
    return next(iter((*named, *(home for home in homes if home.pod_uid is not None))), HOST)


def home_by_mounts(text: str) -> Home:
    """Read `/proc/PID/mountinfo`, for a container whose cgroup namespace hides its path.

    Where the kubelet gave it its hosts file, the other files are those of the pod's sandbox: only the pod is known.
    """
    roots = {
        fields[4]: fields[3]
        for fields in map(str.split, text.splitlines())
        if fields[4:5] and fields[4] in _OF_THE_NETWORK
    }
    if kubelets := _KUBELETS.fullmatch(roots.get("/etc/hosts", "")):
        return Home(pod_uid=_plain(kubelets["uid"]))
    for root in roots.values():
        for form, runtime in _FILES:
            if found := form.fullmatch(root):
                return Home(found["id"], runtime)
    return HOST


def _by_path(path: str) -> Home:
    parts = path.removesuffix(" (deleted)").strip("/").split("/")
    pod_uid: str | None = None
    found: tuple[str, str | None] | None = None
    for part in parts:
        if pod := _POD.fullmatch(part):
            pod_uid, found = _plain(pod["uid"]), None
        if container := _CONTAINER.fullmatch(part):
            found = _container(container["prefix"], container["id"], parts[0]) or found
        elif parts[0] == "ecs" and _FARGATE.fullmatch(part):
            found = part, "containerd"
    container_id, runtime = found or (None, None)
    return Home(container_id, runtime, pod_uid)


def _container(prefix: str | None, container_id: str, parent: str) -> tuple[str, str | None] | None:
    if prefix is None:
        return container_id, _PARENTS.get(parent)
    return (container_id, _RUNTIMES[prefix]) if prefix in _RUNTIMES else None


def _plain(uid: str) -> str:
    return uid.replace("_", "-")
