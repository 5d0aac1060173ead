"""The package as its users get it: what importing it loads, what it exports, and that the README's code runs."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import fdezero as fd

from ..conftest import REPEATED, pytest_terminal_summary

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_import_loads_no_optional_dependency() -> None:
    code = "import sys, fdezero; print([m for m in ('cupy', 'hypothesis', 'matplotlib', 'scipy', 'torch', 'jax') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_all_is_what_users_see() -> None:
    assert all(hasattr(fd, name) for name in fd.__all__)
    public = {name for name in vars(fd) if not name.startswith("_")} - {"core", "ops", "transforms", "devices", "examples", "compiler", "control", "debugging", "messages", "solvers", "values"}
    assert public == set(fd.__all__)


def test_dir_shows_what_is_public() -> None:
    assert sorted(dir(fd)) == sorted([*fd.__all__, "__version__"])
    assert sorted(dir(fd.testing)) == sorted(fd.testing.__all__)
    assert {"sum", "fft", "linalg", "float32", "at"} <= set(dir(fd.numpy))
    assert {"reductions", "protocol", "round_to", "annotations"}.isdisjoint(dir(fd.numpy))


@pytest.mark.parametrize("block", range(len(BLOCKS)))
def test_readme_code_runs(block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "readme", "np": np, "fd": fd}
    code = BLOCKS[block].replace("loader.epoch(0)", "loader.epoch(0, start=len(loader) - 20)")
    exec(compile(code, f"README block {block}", "exec"), names)
    for name, value in list(names.items()):
        if name.startswith("test_"):
            value()  # type: ignore[operator]


def test_ci_runs_the_test_command_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    (pattern,) = re.findall(r"^command=\$\(grep -m 1 -E '(.*)' README\.md\)$", script, re.MULTILINE)
    assert script.rstrip().endswith('eval "$command"')
    assert re.findall(pattern, README, re.MULTILINE) == [
        "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/python -m pytest"
    ]


def test_a_run_ends_with_the_reasons_why_tests_were_skipped() -> None:
    lines: list[str] = []
    skipped = [SimpleNamespace(longrepr=("test_plot.py", 3, f"Skipped: {reason}")) for reason in ("no torch", "no dot", "no torch")]
    reporter = SimpleNamespace(stats={"skipped": skipped}, write_line=lines.append)
    pytest_terminal_summary(reporter, SimpleNamespace(stash={REPEATED: 3293}))  # type: ignore[arg-type]
    assert lines[:2] == ["2 skipped: no torch", "1 skipped: no dot"]
    assert lines[2].startswith("3,293 ran on the stand-in for CuPy alone: no CUDA GPU")


def test_ci_tests_the_oldest_numpy_and_each_python() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    pythons, numpys = (set(re.findall(rf'{name}: "([\d.]+)"', workflow)) for name in ("python", "numpy"))
    (oldest,) = [name.removeprefix("numpy>=") for name in project["dependencies"] if name.startswith("numpy")]
    assert min(numpys, key=lambda version: tuple(map(int, version.split(".")))) == oldest
    declared = {name.rpartition(" ")[2] for name in project["classifiers"] if name.startswith("Programming Language :: Python :: 3.")}
    assert pythons == declared
    assert f">={min(declared, key=lambda version: int(version[2:]))}" == project["requires-python"]


def test_each_licence_has_its_text_and_the_data_have_theirs_beside_them() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    code, data = [(ROOT / name).read_text(encoding="utf-8") for name in project["license-files"]]
    assert project["license"] == "MIT AND CC-BY-SA-3.0"
    assert code.startswith("MIT License")
    assert "CC-BY-SA-3.0" in data
    assert {path.suffix for path in (ROOT / project["license-files"][1]).parent.iterdir()} == {"", ".xz"}


def test_version_and_dependencies() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == fd.__version__
    assert {re.split(r"[<>=]", name)[0] for name in project["dependencies"]} == {"numpy", "attrs", "optree"}
    assert (ROOT / "docs" / "about" / "changelog.md").read_text(encoding="utf-8").count(f"## {fd.__version__}") == 1
