"""The package as its users get it: what importing it loads, what it exports, and that the README's code runs."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fdezero as fd

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_import_loads_no_optional_dependency() -> None:
    code = "import sys, fdezero; print([m for m in ('cupy', 'hypothesis', 'matplotlib', 'tqdm', 'torch', 'jax') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_all_is_what_users_see() -> None:
    assert all(hasattr(fd, name) for name in fd.__all__)
    public = {name for name in vars(fd) if not name.startswith("_")} - {"core", "ops", "transforms", "devices", "examples"}
    assert public == set(fd.__all__)


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
    commands = re.findall(r"^python3 -m venv .* -m pytest$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(commands) == 1
    assert "README.md" in (ROOT / ".ci" / "run").read_text()
