"""The scripts of the guide run on two ranks, and print what it shows."""

import re
from pathlib import Path

import pytest

from .ranks import ROOT, launch

GUIDE = (ROOT / "docs" / "guides" / "processes.md").read_text(encoding="utf-8")
SCRIPTS = re.findall(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", GUIDE, re.DOTALL)


def test_the_guide_shows_faults() -> None:
    assert len(SCRIPTS) == GUIDE.count("```python")
    assert sum("Error: " in shown for _, shown in SCRIPTS) >= 3


@pytest.mark.parametrize(("script", "shown"), SCRIPTS, ids=range(1, len(SCRIPTS) + 1))
def test_a_script_of_the_guide_prints_what_it_shows(tmp_path: Path, script: str, shown: str) -> None:
    (tmp_path / "train.py").write_text(script, encoding="utf-8")
    run = launch(2, "train.py", folder=tmp_path, timeout=30)
    assert run.code == ("Error: " in shown), run
    assert shown.strip() in run.stdout + run.stderr
