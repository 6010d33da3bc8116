"""Which container a process is in, by what the kernel has of it: one row for each form that runtimes write."""

import pytest

from agent.containers import HOST, Home, home_by_cgroup, home_by_mounts

ID = "4f797c539e6c745de61a93ca3ff892358ecbcaccd8414d5db545c38428142970"
OTHER = "9ec39b91f3d70e1beff50a308f77067065ea6be0d91a3378375056cd4422cf3d"
UID = "74c13223-5a00-11e9-b385-42010a80018d"
STATIC = "89f4f2cb511c3b0b7e5272cff5ec37bf"
SLICES = "kubepods.slice/kubepods-burstable.slice"
POD_SLICE = f"kubepods-burstable-pod{UID.replace('-', '_')}.slice"


@pytest.mark.parametrize(
    ("path", "home"),
    [
        (f"/docker/{ID}", Home(ID, "docker")),
        (f"/system.slice/docker-{ID}.scope", Home(ID, "docker")),
        (f"/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{ID}.scope", Home(ID, "docker")),
        (f"/docker/{ID}/system.slice/cron.service", Home(ID, "docker")),
        (f"/system.slice/docker-{ID}.scope (deleted)", Home(ID, "docker")),
        (f"/../../system.slice/docker-{ID}.scope", Home(ID, "docker")),
        (f"/builds/{ID}", Home(ID)),
        (f"/default/{ID}", Home(ID)),
        (f"/system.slice/nerdctl-{ID}.scope", Home(ID, "containerd")),
        (f"/system.slice/cri-containerd-{ID}.scope", Home(ID, "containerd")),
        (f"/kubepods/burstable/pod{UID}/{ID}", Home(ID, None, UID)),
        (f"/kubepods/pod{STATIC}/{ID}", Home(ID, None, STATIC)),
        (f"/kubepods/besteffort/pod{UID}/crio-{ID}", Home(ID, "cri-o", UID)),
        (f"/{SLICES}/{POD_SLICE}/cri-containerd-{ID}.scope", Home(ID, "containerd", UID)),
        (f"/{SLICES}/{POD_SLICE}/docker-{ID}.scope", Home(ID, "docker", UID)),
        (f"/{SLICES}/{POD_SLICE}/crio-{ID}.scope", Home(ID, "cri-o", UID)),
        (f"/{SLICES}/{POD_SLICE}/crio-{ID}.scope/container", Home(ID, "cri-o", UID)),
        (f"/kubepods.slice/kubepods-pod{STATIC}.slice/cri-containerd-{ID}.scope", Home(ID, "containerd", STATIC)),
        (f"/system.slice/containerd.service/{POD_SLICE}:cri-containerd:{ID}", Home(ID, "containerd", UID)),
        (f"/../../{POD_SLICE}/cri-containerd-{ID}.scope", Home(ID, "containerd", UID)),
        (f"/docker/{OTHER}/kubelet.slice/kubelet-{POD_SLICE}/cri-containerd-{ID}.scope", Home(ID, "containerd", UID)),
        (f"/docker/{OTHER}/docker/{ID}", Home(ID, "docker")),
        (f"/{SLICES}/{POD_SLICE}", Home(None, None, UID)),
        (f"/machine.slice/libpod-{ID}.scope", Home(ID, "podman")),
        (f"/machine.slice/libpod-{ID}.scope/container", Home(ID, "podman")),
        (f"/system.slice/app.service/libpod-payload-{ID}", Home(ID, "podman")),
        (f"/libpod_parent/libpod-{ID}", Home(ID, "podman")),
        (f"/ecs/{STATIC}/{ID}", Home(ID, "docker")),
        (f"/ecs/cluster/{UID}/{ID}", Home(ID, "docker")),
        (f"/ecs/{STATIC}/{STATIC}-3081182112", Home(f"{STATIC}-3081182112", "containerd")),
        (f"/system.slice/crio-conmon-{ID}.scope", HOST),
        (f"/machine.slice/libpod-conmon-{ID}.scope", HOST),
        (f"/{SLICES}/{POD_SLICE}/crio-conmon-{ID}.scope", Home(None, None, UID)),
        ("/", HOST),
        ("/init.scope", HOST),
        ("/system.slice/docker.service", HOST),
        ("/system.slice/containerd.service", HOST),
        ("/user.slice/user-1000.slice/session-3.scope", HOST),
        (f"/jobs/{STATIC}", HOST),
        (f"/system.slice/docker-{ID[:12]}.scope", HOST),
        (f"/system.slice/docker-{ID}.service", HOST),
        (f"/system.slice/docker-{ID.upper()}.scope", HOST),
    ],
)
def test_a_path_of_a_cgroup_tells_the_container(path: str, home: Home) -> None:
    assert home_by_cgroup(f"0::{path}\n") == home
    assert home_by_cgroup(f"12:cpu,cpuacct:{path}\n1:name=systemd:{path}\n") == home


@pytest.mark.parametrize(
    ("text", "home"),
    [
        ("", HOST),
        ("nonsense\n1:cpu\n", HOST),
        (f"3:cpu:/\n1:name=systemd:/system.slice/docker-{ID}.scope\n0::/\n", Home(ID, "docker")),
        (f"3:cpu:/kubepods/pod{UID}\n2:pids:/kubepods/pod{UID}/{ID}\n", Home(ID, None, UID)),
        (f"3:cpu:/a:b\n0::/system.slice/docker-{ID}.scope\n", Home(ID, "docker")),
    ],
)
def test_one_hierarchy_that_tells_is_enough(text: str, home: Home) -> None:
    assert home_by_cgroup(text) == home


def mounts(**roots: str) -> str:
    """A mountinfo in which each file under /etc comes from this root."""
    lines = [
        f"{number} 25 8:1 {root} /etc/{name.replace('_', '.')} rw,relatime - ext4 /dev/sda1 rw"
        for number, (name, root) in enumerate(roots.items(), 30)
    ]
    return "\n".join(["25 1 0:24 / / rw,relatime - overlay overlay rw,lowerdir=/a", "", *lines])


@pytest.mark.parametrize(
    ("text", "home"),
    [
        ("", HOST),
        (mounts(), HOST),
        (mounts(hostname=f"/var/lib/docker/containers/{ID}/hostname"), Home(ID, "docker")),
        (mounts(resolv_conf=f"/docker/containers/{ID}/resolv.conf"), Home(ID, "docker")),
        (
            mounts(hosts=f"/run/user/1/containers/overlay-containers/{ID}/userdata/hosts"),
            Home(ID, "podman"),
        ),
        (
            mounts(
                hosts=f"/var/lib/kubelet/pods/{UID}/etc-hosts", hostname=f"/var/lib/docker/containers/{ID}/hostname"
            ),
            Home(None, None, UID),
        ),
        (f"40 25 0:50 / /var/lib/docker/containers/{ID}/mounts/shm rw - tmpfs shm rw", HOST),
        (mounts(hostname=f"/run/containerd/sandboxes/{ID}/hostname"), HOST),
    ],
)
def test_the_files_that_a_runtime_mounts_tell_the_container(text: str, home: Home) -> None:
    assert home_by_mounts(text) == home
