"""The import contracts of pyproject.toml hold, and each has been seen to fail, on a copy with planted imports."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import NamedTuple

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("protocol", "formats", "broker", "profiles", "api", "workers", "agent", "gprofiler", "cli")
CONTRACTS = {
    contract["id"]: contract
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}
MOST_LINES = 400


class Plant(NamedTuple):
    """An import that a contract must catch."""

    contract: str
    module: str
    imported: str

    @property
    def reported_as(self) -> str:
        return f"{self.module} -> {self.imported} (l."


def plants_for_every(contract: str) -> list[Plant]:
    """For a `forbidden` contract, one planted import in each source module, going round what is forbidden to it."""
    sources, forbidden = CONTRACTS[contract]["source_modules"], CONTRACTS[contract]["forbidden_modules"]
    rounds = max(len(sources), len(forbidden))
    return [
        Plant(contract, planted_in(sources[number % len(sources)]), forbidden[number % len(forbidden)])
        for number in range(rounds)
    ]


def planted_in(module: str) -> str:
    """A new module in a package; a plain module gets the import itself."""
    is_package = (ROOT / module.replace(".", "/")).is_dir()
    return f"{module}.planted" if is_package else module


PLANTS: Sequence[Plant] = (
    Plant("direction", "protocol.planted", "broker"),
    Plant("direction", "broker.planted", "api"),
    Plant("direction", "protocol.planted", "formats"),
    Plant("direction", "formats.planted", "broker"),
    Plant("direction", "broker.planted", "profiles"),
    Plant("direction", "profiles.planted", "api"),
    Plant("direction", "api.planted", "workers"),
    Plant("direction", "workers.planted", "agent"),
    Plant("direction", "agent.planted", "cli"),
    Plant("direction", "cli.planted", "api"),
    Plant("direction", "agent.planted", "gprofiler"),
    *(plant for contract in CONTRACTS if contract != "direction" for plant in plants_for_every(contract)),
)


class Report(NamedTuple):
    exit_code: int
    text: str

    def broken(self, contract: str) -> str:
        """What the linter says on a broken contract: the text under its underlined name."""
        name = CONTRACTS[contract]["name"]
        _, found, rest = self.text.partition(f"\n{name}\n{'-' * len(name)}\n")
        others = [f"\n{other['name']}\n---" for other in CONTRACTS.values()]
        return (
            rest[: min((at for other in others if (at := rest.find(other)) >= 0), default=len(rest))] if found else ""
        )


def lint(folder: Path) -> Report:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--no-logo"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    return Report(done.returncode, done.stdout + done.stderr)


def copy_of_the_code(folder: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", folder)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="session")
def with_plants(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = copy_of_the_code(tmp_path_factory.mktemp("planted"))
    for plant in PLANTS:
        file = folder / f"{plant.module.replace('.', '/')}.py"
        with file.open("a") as code:
            code.write(f"\nimport {plant.imported}\n")
    return lint(folder)


def test_every_contract_holds(tmp_path: Path) -> None:
    report = lint(copy_of_the_code(tmp_path))
    assert report.exit_code == 0, report.text
    assert report.text.count(" KEPT") == len(CONTRACTS)


@pytest.mark.parametrize("contract", CONTRACTS)
def test_a_contract_fails_on_each_import_it_forbids(with_plants: Report, contract: str) -> None:
    said = with_plants.broken(contract)
    planted = [plant for plant in PLANTS if plant.contract == contract]
    assert planted
    missed = [plant for plant in planted if plant.reported_as not in said]
    assert not missed, f"the linter let these pass: {missed}\n{said or with_plants.text}"


def test_the_linter_fails_as_a_whole_when_one_contract_does(with_plants: Report) -> None:
    assert with_plants.exit_code == 1


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)
    imports = {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}
    TopologicalSorter(imports).prepare()
    imports["agent.frozen"].add("agent.cli")
    with pytest.raises(CycleError):
        TopologicalSorter(imports).prepare()


def every_module() -> list[Path]:
    return [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]


def test_no_module_is_named_like_one_of_the_standard_library() -> None:
    names = {file.stem for file in every_module()} - {"__init__", "__main__"}
    assert not names & sys.stdlib_module_names


def test_no_file_is_longer_than_two_files_would_be() -> None:
    lengths = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in every_module()}
    assert not {file: lines for file, lines in lengths.items() if lines > MOST_LINES}


INSTALLED_FOR = {
    "protocol": (),
    "cli": (),
    "agent": ("agent", "memory"),
    "gprofiler": ("agent",),
    "broker": ("server", "embedded", "otel"),
    "api": ("server",),
    "formats": (),
    "profiles": ("server",),
    "workers": ("server",),
}
"""Package -> the extras that a machine with this role installs, beside the plain dependencies."""
COMES_WITH = {"pydantic_core": "pydantic", "starlette": "fastapi"}
"""Module -> one of the distribution that brings it along."""


def distributions(*extras: str) -> set[str]:
    """The distributions that these extras name, and the plain dependencies."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(one for extra in extras for one in project["optional-dependencies"][extra])]
    return {re.split(r"[^A-Za-z0-9_.-]", requirement)[0].lower() for requirement in wanted}


def imported_modules(package: str) -> set[str]:
    """The top-level modules that a package imports, ours and the standard library's left out."""
    trees = [ast.parse(file.read_text()) for file in (ROOT / package).rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    named = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    named |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {name.partition(".")[0] for name in named} - sys.stdlib_module_names - set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_role_imports_only_what_its_extra_installs(package: str) -> None:
    installed = distributions(*INSTALLED_FOR[package])
    owners = packages_distributions()
    for module in imported_modules(package):
        providers = {name.lower().replace("_", "-") for name in owners.get(COMES_WITH.get(module, module), [])}
        assert providers & installed, f"{package} imports {module}, which its extras do not install"
