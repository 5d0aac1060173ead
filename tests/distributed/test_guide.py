"""The scripts of the guide run on two ranks, and print what it shows."""

import re
from pathlib import Path
from typing import Any

import pytest

from .ranks import ROOT, launch, on_ranks

GUIDE = (ROOT / "docs" / "guides" / "processes.md").read_text(encoding="utf-8")
SCRIPTS = re.findall(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", GUIDE, re.DOTALL)
FAULTS = [(script, shown) for script, shown in SCRIPTS if "Error: " in shown]
RIGHT = [(script, shown) for script, shown in SCRIPTS if "Error: " not in shown]


def test_the_guide_shows_faults() -> None:
    assert len(SCRIPTS) == GUIDE.count("```python")
    assert len(FAULTS) >= 3
    assert len(RIGHT) >= 3


@pytest.mark.parametrize(("script", "shown"), FAULTS, ids=range(1, len(FAULTS) + 1))
def test_a_script_with_a_fault_ends_with_what_the_guide_shows(tmp_path: Path, script: str, shown: str) -> None:
    (tmp_path / "train.py").write_text(script, encoding="utf-8")
    run = launch(2, "train.py", folder=tmp_path, timeout=30)
    assert run.code == 1, run
    assert shown.strip() in run.stdout + run.stderr


@on_ranks(2)
@pytest.mark.parametrize(("script", "shown"), RIGHT, ids=range(1, len(RIGHT) + 1))
def test_a_script_prints_what_the_guide_shows(world: Any, tmp_path: Path, script: str, shown: str) -> None:
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        exec(compile(script, "train.py", "exec"), {"__name__": "__main__", "print": lambda *words: said.append(" ".join(map(str, words)))})
    assert said == (shown.strip().splitlines() if world.rank == 0 else [])
