"""What pages for readers of other libraries show: sessions, programs of the other library, and calls with their results."""

import contextlib
import doctest
import importlib
import io
import operator
import re
from pathlib import Path
from typing import Any

import numpy as np

LEARN = Path(__file__).parents[2] / "docs" / "learn"
CALL = re.compile(r"`([^`]*)` → `([^`]*)`")


def read_page(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def section_of(text: str, title: str) -> str:
    """The text below a heading, up to the next one of any level."""
    return re.split(rf"(?m)^#+ {re.escape(title)}$", text)[1].partition("\n#")[0]


def names_after(text: str) -> dict[str, Any]:
    """The names after all sessions of a text."""
    names: dict[str, Any] = {"__name__": "example"}
    source = "\n".join(re.findall(r"```pycon\n(.*?)```", text, re.DOTALL))
    with contextlib.redirect_stdout(io.StringIO()):
        for example in doctest.DocTestParser().get_examples(source):
            exec(compile(example.source, "example.py", "exec"), names)
    return names


def program_of(text: str, library: str) -> str:
    """The program of another library, a block whose first line is its name."""
    return re.findall(rf"```python\n# {library}\n(.*?)```", text, re.DOTALL)[0]


def value_of(code: str, names: dict[str, Any]) -> Any:
    """The value of the last of several statements, parted by semicolons."""
    *before, last = code.split("; ")
    scope = dict(names)
    for statement in before:
        exec(statement, scope)
    return eval(last, scope)


def exported(name: str) -> Any:
    """The object of a full name, whose first parts are modules."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:count]))
        except ImportError:
            continue
        return operator.attrgetter(".".join(parts[count:]))(found) if parts[count:] else found
    raise AttributeError(name)


def check_call(code: str, result: str, names: dict[str, Any]) -> None:
    """Asserts that a call gives the number, the dtype or the error that the page shows."""
    if result.endswith("Error"):
        raised = "nothing"
        try:
            value_of(code, names)
        except Exception as error:  # any, because its name is compared
            raised = type(error).__name__
        assert raised == result, code
        return
    value = value_of(code, names)
    value = getattr(value, "data", value) if type(value).__module__.startswith("dezero") else value
    if re.fullmatch("[a-z.]+[0-9]+", result):
        assert str(value) == result, code
    else:
        value = value.detach().numpy() if hasattr(value, "detach") else value
        np.testing.assert_allclose(value, eval(result, {"nan": np.nan}), rtol=2e-4, atol=1e-12, err_msg=code)


def calls_in(text: str) -> list[tuple[str, str, int]]:
    """Call, result and column of each cell of a table that shows both."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [(*found, column) for line in lines for column, cell in enumerate(line.strip("|").split(" | ")) for found in CALL.findall(cell)]


