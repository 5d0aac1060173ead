"""The migration table, docs/learn/dezero.md, as rows: every name of DeZero, and what it is called here."""

import re
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parents[2] / "docs" / "learn" / "dezero.md"
OURS = re.compile(r"(?:fd|F|nn|optim|np)(?:\.\w+)+")


class Row(NamedTuple):
    """A row of the page: DeZero's names, the cell of our names, and what is different."""

    theirs: list[str]
    ours: str
    notes: str

    @property
    def names(self) -> list[str]:
        """All our names in the row, each in code marks; `(key, 3)` behind a name is not a part of it."""
        spans = re.findall(r"`([^`]*)`", f"{self.ours} {self.notes}")
        return [name for span in spans for name in OURS.findall(span)]


def rows(text: str) -> dict[str, list[Row]]:
    """The rows of each section whose heading is a module of DeZero."""
    found: dict[str, list[Row]] = {}
    for module, section in re.findall(r"(?ms)^## `dezero\.(\w+)`\n(.*?)(?=^## |\Z)", text):
        lines = [line for line in section.splitlines() if line.startswith("|")][2:]
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        found[module] = [Row(re.findall(r"`([^`]*)`", theirs), ours, notes) for theirs, ours, notes in cells]
    return found


ROWS = rows(PAGE.read_text(encoding="utf-8"))
