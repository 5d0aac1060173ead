"""The faults that the guide shows run on two ranks, and give its messages."""

import re
from pathlib import Path

import pytest

from .ranks import ROOT, launch

GUIDE = ROOT / "docs" / "guides" / "processes.md"
SECTION = GUIDE.read_text(encoding="utf-8").partition("## When something goes wrong")[2].partition("\n## ")[0]
FAULTS = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```\n", SECTION, re.DOTALL)


def test_the_guide_shows_faults() -> None:
    assert len(FAULTS) == SECTION.count("```python") == 3


@pytest.mark.parametrize(("script", "message"), FAULTS, ids=range(1, len(FAULTS) + 1))
def test_a_fault_of_the_guide_gives_its_message(tmp_path: Path, script: str, message: str) -> None:
    (tmp_path / "train.py").write_text(script, encoding="utf-8")
    run = launch(2, "train.py", folder=tmp_path, timeout=30)
    assert run.code == 1, run
    assert message.strip() in run.stderr
