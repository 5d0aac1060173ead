"""The package as users get it: the modules that it loads, its exports, and the code of the README."""

import ast
import json
import re
import subprocess
import sys
import tomllib
import types
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import fdezero as fd

from ..conftest import REPEATED, pytest_terminal_summary

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


# A process for each code, copied where it can be from one that has loaded NumPy, which takes longer than the rest.
BEGIN = "import importlib, json, os, subprocess, sys, {ready}\n"
EACH = """
for code in json.loads(sys.argv[1]):
    code += "\\nprint(json.dumps(list(sys.modules)), flush=True)"
    if not hasattr(os, "fork"):
        subprocess.run([sys.executable, "-c", sys.argv[2] + code], check=True)
    elif (child := os.fork()) == 0:
        exec(code, {"json": json, "sys": sys})
        os._exit(0)
    elif os.waitpid(child, 0)[1]:
        sys.exit(code)
"""


def loaded_by(*codes: str, ready: str = "numpy") -> list[set[str]]:
    """The modules that each code loads in an interpreter that has loaded `ready`, and what starts processes."""
    begin = BEGIN.format(ready=ready)
    run = subprocess.run([sys.executable, "-c", begin + EACH, json.dumps(["", *codes]), begin], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    before, *after = [set(json.loads(line)) for line in run.stdout.splitlines()]
    return [modules - before for modules in after]


def test_import_loads_nothing() -> None:
    assert loaded_by("import fdezero", ready="typing") == [{"fdezero"}]


def test_a_gradient_loads_the_transforms_and_what_they_stand_on() -> None:
    (loaded,) = loaded_by("import numpy, fdezero; fdezero.grad(numpy.sin)(1.0)")
    parts = {name.split(".")[1] for name in loaded if name.startswith("fdezero.")}
    assert parts - {"native"} == {"core", "devices", "elsewhere", "errors", "foreign", "messages", "numpy", "ops", "transforms", "tree", "values"}
    assert "fdezero.native.calls" not in loaded
    assert "optree" in loaded
    assert loaded.isdisjoint({"attr", "concurrent.futures", "logging", "string"})


def test_nothing_loads_an_optional_dependency() -> None:
    (loaded,) = loaded_by("from fdezero import *")
    assert {f"fdezero.{name}" for name in ("compiler", "data", "nn", "solvers", "testing")} <= loaded
    assert loaded.isdisjoint({"cupy", "hypothesis", "jax", "matplotlib", "scipy", "torch"})


def test_any_name_may_be_the_first_that_is_asked_for() -> None:
    codes = [
        "from fdezero import data; data.DataLoader",
        "import fdezero.data; fdezero.data.DataLoader",
        "import fdezero.debugging.plot; fdezero.plot.__call__; assert fdezero.trace is fdezero.debugging.trace",
        "import fdezero as fd; assert fd.load is fd.io.load",
        "import fdezero as fd; fd.debug.__call__; fd.plot.__call__; fd.trace.__call__",
        "import fdezero as fd; assert fd.tree.Module is fd.Module",
        "from fdezero import compile, Module; assert compile(lambda x: x + 1)(1.0) == 2.0",
    ]
    assert all("fdezero" in loaded for loaded in loaded_by(*codes))  # and no code has failed


def test_every_name_is_loaded_on_first_use_and_then_kept() -> None:
    code = """
import importlib
import fdezero as fd
for name in fd.__all__:
    value = getattr(fd, name)
    assert vars(fd)[name] is value, name
    assert name in fd._MODULES or getattr(importlib.import_module(f"fdezero.{fd._MODULE_OF[name]}"), name) is value
"""
    assert {f"fdezero.{name}" for name in fd._MODULES} <= loaded_by(code)[0]


def test_type_checkers_read_the_names_that_python_loads() -> None:
    """The import statements under TYPE_CHECKING and the table that `__getattr__` uses are two lists of the same."""
    body = ast.parse(Path(fd.__file__).read_text(encoding="utf-8")).body
    (block,) = [node for node in body if isinstance(node, ast.If) and not isinstance(node.test, ast.UnaryOp)]
    statements = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    read = {alias.name: (node.module or alias.name).partition(".")[0] for node in statements for alias in node.names}
    assert read == {name: name for name in fd._MODULES} | fd._MODULE_OF
    assert read.keys() == set(fd.__all__)


def test_all_is_what_users_see() -> None:
    assert all(hasattr(fd, name) for name in fd.__all__)
    public = {name for name in vars(fd) if not name.startswith("_")} - {"core", "ops", "transforms", "devices", "examples", "commands", "compiler", "control", "debugging", "elsewhere", "foreign", "messages", "native", "solvers", "values"}
    assert public == set(fd.__all__)


def test_dir_shows_what_is_public() -> None:
    assert sorted(dir(fd)) == sorted([*fd.__all__, "__version__"])
    modules, found = [fd], [fd]
    while modules:
        module = modules.pop()
        inside = [value for name in module.__all__ if isinstance(value := getattr(module, name), types.ModuleType)]
        new = [value for value in inside if hasattr(value, "__all__") and value not in found]
        modules, found = modules + new, found + new
        if module not in (fd, fd.numpy):
            assert sorted(dir(module)) == sorted(module.__all__), module.__name__
    assert {fd.io, fd.optim.schedules, fd.optim.precision, fd.data.transforms, fd.training} <= set(found)
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


def test_the_readme_is_short_and_has_one_picture() -> None:
    assert len(README.splitlines()) <= 120
    assert len(re.findall(r"!\[[^]]+\]\(", README)) == 1


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
