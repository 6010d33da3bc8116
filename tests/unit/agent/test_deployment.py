"""What `deploy/` has for the agent: a unit, a manifest, a chart, a playbook; checked as far as can be without systems.

The chart's templates are rendered here by the few functions that they use: no helm can be had.
"""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.cli import gprofiler
from agent.flags.config import variables
from agent.guard_settings import KILL_SWITCH
from tests.support.processes import ROOT
from tests.support.tools import needs, needs_root

DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "systemd" / "gprofiler.service"
OPTIONS = {option for param in gprofiler.params for option in param.opts}


def options_in(words: list[str]) -> set[str]:
    return {word.partition("=")[0] for word in words if word.startswith("--")}


# systemd --------------------------------------------------------------------------------------------------------------


def unit() -> dict[str, list[str]]:
    """The unit's settings: name -> values."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().replace("\\\n", " ").splitlines():
        name, is_setting, value = line.partition("=")
        if is_setting and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


@needs("systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    here = tmp_path / "gprofiler.service"
    text = (
        UNIT.read_text().replace("/opt/gprofiler/gprofiler", "/bin/true").replace("/opt/gprofiler/envs.sh", "/dev/null")
    )
    here.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", here], capture_output=True, text=True, timeout=60, check=False
    )
    told = [line for line in (done.stdout + done.stderr).splitlines() if here.name in line]
    assert (done.returncode, told) == (0, [])


def test_the_units_command_has_options_that_exist() -> None:
    (command,) = unit()["ExecStart"]
    assert options_in(command.split()) <= OPTIONS
    given = {name for each in unit()["Environment"] for name in re.findall(r"(\w+)=", each)}
    assert given <= variables(gprofiler.params)


@needs_root
@needs("setpriv")
@pytest.mark.needs_root
def test_what_the_unit_leaves_of_root_is_enough_to_profile(tmp_path: Path) -> None:
    from tests.support.agents import GPROFILER, busy_python  # noqa: PLC0415 - only here

    (wanted,) = unit()["CapabilityBoundingSet"]
    kept = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in wanted.split())
    with busy_python() as (pid,):
        done = subprocess.run(
            ["setpriv", "--no-new-privs", f"--bounding-set=-all,{kept}", f"--inh-caps=-all,{kept}", GPROFILER,
             "-o", tmp_path, "-d", "2", "-f", "50", "--pids", str(pid)],
            capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "hot_loop" in (tmp_path / "last_profile.col").read_text()


@pytest.mark.parametrize("how", ["shell", "systemd"])
def test_the_settings_are_read_by_a_shell_and_by_systemd(how: str) -> None:
    envs = DEPLOY / "systemd" / "envs.sh"
    if how == "shell":
        told = subprocess.run(
            ["sh", "-euc", f". {envs}; set | grep ^GPROFILER_"], capture_output=True, text=True, check=True, timeout=10
        ).stdout
        names = {line.partition("=")[0] for line in told.splitlines()}
    else:
        lines = [line for line in envs.read_text().splitlines() if line and not line.startswith("#")]
        assert all(re.fullmatch(r'[A-Z_]+="[^"$`\\]*"', line) for line in lines), "plain assignments, without export"
        names = {line.partition("=")[0] for line in lines}
    assert {"GPROFILER_SERVICE", "GPROFILER_SERVER", "GPROFILER_TOKEN_FILE"} <= names <= variables(gprofiler.params)
    commented = set(re.findall(r"^# (GPROFILER_\w+)=", envs.read_text(), re.MULTILINE))
    assert commented <= variables(gprofiler.params)


def test_the_readme_names_the_switch_that_the_agent_knows() -> None:
    assert f"touch {KILL_SWITCH}" in (DEPLOY / "README.md").read_text()


# Kubernetes -----------------------------------------------------------------------------------------------------------


def daemonset(text: str) -> dict[str, Any]:
    account, found = list(yaml.safe_load_all(text))
    assert account["kind"] == "ServiceAccount"
    assert account["automountServiceAccountToken"] is False
    assert found["kind"] == "DaemonSet"
    spec: dict[str, Any] = found["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"].items() <= labels.items()
    return spec


def pod(text: str) -> dict[str, Any]:
    found: dict[str, Any] = daemonset(text)["template"]["spec"]
    return found


def documented_pod() -> dict[str, Any]:
    found = re.search(
        r"^```yaml\n(hostPID.*?)^```$", (ROOT / "docs" / "agent.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert found is not None
    shown: dict[str, Any] = yaml.safe_load(found[1])
    return shown


def test_the_daemonset_is_the_pod_of_the_agents_page_with_its_token() -> None:
    ours, shown = pod((DEPLOY / "kubernetes" / "daemonset.yaml").read_text()), documented_pod()
    (container,), (example,) = ours["containers"], shown["containers"]
    assert (ours["hostPID"], ours["hostNetwork"]) == (True, True)
    assert container["securityContext"] == example["securityContext"]
    assert container["env"] == example["env"]
    added = [mount["mountPath"] for mount in container["volumeMounts"] if mount not in example["volumeMounts"]]
    assert added == ["/run/secrets/gprofiler"]
    assert [volume for volume in ours["volumes"] if volume not in shown["volumes"]] == [
        {"name": "token", "secret": {"secretName": "gprofiler", "defaultMode": 0o400}}
    ]
    assert options_in(container["args"]) <= OPTIONS
    assert f"--token-file={added[0]}/token" in container["args"]


def render(template: str, values: dict[str, Any], *, name: str, namespace: str) -> str:
    """What helm makes of a template, for the functions that ours uses.

    Raises:
        AssertionError: it uses another, or a value that there is not.
    """
    chart = yaml.safe_load((DEPLOY / "helm" / "gprofiler" / "Chart.yaml").read_text())
    scope = {
        "Values": values,
        "Release": {"Name": name, "Namespace": namespace},
        "Chart": {"AppVersion": chart["appVersion"]},
    }

    def look_up(path: str, dot: Any) -> Any:
        found: Any = dot if path == "." else scope
        for part in filter(None, path.split(".")):
            assert part in found, f"{path} is no value"
            found = found[part]
        return found

    def evaluate(text: str, dot: Any) -> str:
        words, *pipes = [part.strip() for part in text.split("|")]
        if printed := re.fullmatch(r'printf "([^"]*)" (\S+)', words):
            value: Any = printed[1] % look_up(printed[2], dot)
        elif encoded := re.fullmatch(r"toJson (\S+)", words):
            value = json.dumps(look_up(encoded[1], dot))
        else:
            assert re.fullmatch(r"\.\S*", words), f"not known here: {text}"
            value = look_up(words, dot)
        for pipe in pipes:
            if otherwise := re.fullmatch(r"default (\S+)", pipe):
                value = value or look_up(otherwise[1], dot)
            else:
                assert pipe == "quote", f"not known here: {pipe}"
                value = json.dumps(str(value))
        return str(value)

    def loop(found: "re.Match[str]") -> str:
        return "".join(fill(found[2], item) for item in look_up(found[1], None))

    def fill(text: str, dot: Any) -> str:
        return re.sub(r"\{\{ (.*?) \}\}", lambda found: evaluate(found[1], dot), text)

    looped = re.sub(r"\s*\{\{- range (\S+) \}\}(.*?)\s*\{\{- end \}\}", loop, template, flags=re.DOTALL)
    return fill(looped, None)


def test_the_chart_makes_the_daemonset() -> None:
    folder = DEPLOY / "helm" / "gprofiler"
    values = yaml.safe_load((folder / "values.yaml").read_text())
    made = render(
        (folder / "templates" / "daemonset.yaml").read_text(), values, name="gprofiler", namespace="gprofiler"
    )
    plain = pod((DEPLOY / "kubernetes" / "daemonset.yaml").read_text())
    ours = pod(made)
    (container,), (other,) = ours.pop("containers"), plain.pop("containers")
    assert container.pop("image") == "performance-studio-agent:0.1.0"
    assert (container.pop("imagePullPolicy"), ours.pop("nodeSelector")) == ("IfNotPresent", {})
    other.pop("image")
    assert container == other
    assert ours == plain


def test_the_charts_values_are_used() -> None:
    folder = DEPLOY / "helm" / "gprofiler"
    values = yaml.safe_load((folder / "values.yaml").read_text())
    values |= {"serviceName": 'web "1"', "extraArgs": ["--no-java", "--cpu-budget=50"]}
    values["image"]["tag"] = "7"
    made = pod(render((folder / "templates" / "daemonset.yaml").read_text(), values, name="one", namespace="two"))
    (container,) = made["containers"]
    assert container["image"] == "performance-studio-agent:7"
    assert container["args"][-2:] == ["--no-java", "--cpu-budget=50"]
    assert '--service-name=web "1"' in container["args"]
    assert made["serviceAccountName"] == "one"


def test_the_chart_has_the_projects_version() -> None:
    chart = yaml.safe_load((DEPLOY / "helm" / "gprofiler" / "Chart.yaml").read_text())
    assert f'version = "{chart["appVersion"]}"' in (ROOT / "pyproject.toml").read_text()


# Ansible --------------------------------------------------------------------------------------------------------------

ROLE = DEPLOY / "ansible" / "roles" / "gprofiler"


def test_the_playbook_names_a_role_files_and_variables_that_there_are() -> None:
    (play,) = yaml.safe_load((DEPLOY / "ansible" / "playbook.yml").read_text())
    assert [role["role"] for role in play["roles"]] == [ROLE.name]
    tasks = yaml.safe_load((ROLE / "tasks" / "main.yml").read_text())
    handlers = {handler["name"] for handler in yaml.safe_load((ROLE / "handlers" / "main.yml").read_text())}
    assert {task["notify"] for task in tasks if "notify" in task} <= handlers
    assert all(any(key.startswith("ansible.builtin.") for key in task) for task in tasks)
    for task in tasks:
        for module in (task.get("ansible.builtin.copy"), task.get("ansible.builtin.template")):
            if module and "{{" not in module["src"]:
                assert (ROLE / "templates" / module["src"]).exists()
            elif module and module["src"].startswith("{{ playbook_dir }}"):
                assert (DEPLOY / "ansible" / module["src"].removeprefix("{{ playbook_dir }}/")).resolve() == UNIT
    known = set(yaml.safe_load((ROLE / "defaults" / "main.yml").read_text()))
    used = {name for file in ROLE.rglob("*.*") for name in re.findall(r"\bgprofiler_[a-z_]+\b", file.read_text())}
    assert used <= known
    (secret,) = [task for task in tasks if task["name"] == "Copy the token"]
    assert secret["no_log"] is True
    assert secret["ansible.builtin.copy"]["mode"] == "0600"


def test_the_playbooks_settings_are_options() -> None:
    names = re.findall(r"^(GPROFILER_\w+)=", (ROLE / "templates" / "envs.sh.j2").read_text(), re.MULTILINE)
    assert set(names) <= variables(gprofiler.params)
