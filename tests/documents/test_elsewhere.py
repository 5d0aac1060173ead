"""The pages for readers of other libraries: programs side by side, calls that differ, names, and DeZero's steps."""

import ast
import contextlib
import doctest
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdezero import nn, optim

from ..nn.dezero_names import rows
from ..nn.dezero_reference import dezero

LEARN = Path(__file__).parents[2] / "docs" / "learn"
DEZERO, JAPANESE = LEARN / "dezero.md", LEARN.parent / "ja" / "dezero.md"
CALL = re.compile(r"`([^`]*)` → `([^`]*)`")


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def _section(text: str, title: str) -> str:
    """The text below a heading, up to the next one of any level."""
    return re.split(rf"(?m)^#+ {re.escape(title)}$", text)[1].partition("\n#")[0]


def _sessions(text: str) -> dict[str, Any]:
    """The names after all sessions of a text."""
    names: dict[str, Any] = {"__name__": "example"}
    source = "\n".join(re.findall(r"```pycon\n(.*?)```", text, re.DOTALL))
    with contextlib.redirect_stdout(io.StringIO()):
        for example in doctest.DocTestParser().get_examples(source):
            exec(compile(example.source, "example.py", "exec"), names)
    return names


def _program(text: str, library: str) -> str:
    """The program of another library, a block whose first line is its name."""
    return re.findall(rf"```python\n# {library}\n(.*?)```", text, re.DOTALL)[0]


def _value(code: str, names: dict[str, Any]) -> Any:
    """The value of the last of several statements, parted by semicolons."""
    *before, last = code.split("; ")
    scope = dict(names)
    for statement in before:
        exec(statement, scope)
    return eval(last, scope)


def _check(code: str, result: str, names: dict[str, Any]) -> None:
    """Asserts that a call gives the number, the dtype or the error that the page shows."""
    if result.endswith("Error"):
        raised = "nothing"
        try:
            _value(code, names)
        except Exception as error:  # any, because its name is compared
            raised = type(error).__name__
        assert raised == result, code
        return
    value = _value(code, names)
    value = getattr(value, "data", value) if type(value).__module__.startswith("dezero") else value
    if re.fullmatch("[a-z]+[0-9]+", result):
        assert str(value) == result, code
    else:
        np.testing.assert_allclose(value, ast.literal_eval(result), rtol=2e-4, atol=1e-12, err_msg=code)


def _calls(text: str) -> list[tuple[str, str, int]]:
    """Call, result and column of each cell of a table that shows both."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [(*found, column) for line in lines for column, cell in enumerate(line.strip("|").split(" | ")) for found in CALL.findall(cell)]


# DeZero


def test_dezeros_program_and_ours_end_at_the_same_loss() -> None:
    theirs: dict[str, Any] = {}
    exec(_program(_text(DEZERO), "DeZero"), theirs)
    assert f"DeZero ends at {float(theirs['loss'].data):.3f} as well" in _text(DEZERO)


def test_from_the_same_weights_all_losses_are_dezeros() -> None:
    before, _, loop = _program(_text(DEZERO), "DeZero").partition("for i in")
    theirs: dict[str, Any] = {}
    exec(before + "model(x)\nlosses = []\n", theirs)
    layers = [nn.Linear(W=layer.W.data.copy(), b=layer.b.data.copy()) for layer in (theirs["model"].l0, theirs["model"].l1)]
    exec("for i in" + loop + "    losses.append(float(loss.data))\n", theirs)
    ours = _sessions(_text(DEZERO).partition("\n## What bites")[0])
    model, losses = ours["model"].replace(layers=tuple(layers)), []
    state = ours["opt"].init(model)
    for _ in range(1000):
        model, state, loss = ours["train_step"](model, state, ours["x"], ours["t"])
        losses.append(float(loss))
    np.testing.assert_allclose(losses, theirs["losses"], rtol=1e-5)


def test_calls_that_look_alike_give_what_the_page_says() -> None:
    text = _text(DEZERO)
    ours = _sessions(text.partition("\n| DeZero | fdezero | why")[0])
    arrays = {name: value for name, value in ours.items() if isinstance(value, np.ndarray)}
    theirs = {"np": np, "F": dezero.functions, "L": dezero.layers, "Variable": dezero.Variable} | arrays
    calls = _calls(_section(text, "What bites"))
    assert len(calls) >= 20
    for code, result, column in calls:
        _check(code, result, theirs if column == 0 else ours)


def test_adam_moves_as_far_as_the_page_says() -> None:
    gradient = np.array([1e-8])
    holder = dezero.Layer()
    holder.w = dezero.Parameter(np.array([1.0]))
    theirs = dezero.optimizers.Adam().setup(holder)
    opt, w = optim.adam(), np.array([1.0])
    state = opt.init(w)
    for _ in range(5):
        holder.w.grad = dezero.Variable(gradient)
        theirs.update()
        w, state = opt.step(w, gradient, state)
    moved = f"DeZero's Adam move a parameter by {1 - holder.w.data[0]:.5f}, five of `optim.adam()` by {1 - w[0]:.4f}"
    assert moved in " ".join(_text(DEZERO).split())


def test_every_step_of_the_book_has_a_row_with_a_link() -> None:
    rows = re.findall(r"(?m)^\| (\d+(?:, \d+)*) \| (.*)\|$", _text(DEZERO))
    steps = [int(step) for numbers, _ in rows for step in numbers.split(", ")]
    assert sorted(steps) == list(range(1, 61))
    for numbers, row in rows:
        assert re.search(r"\]\([^)]+\)", row), f"step {numbers} has no link"


def _code(text: str) -> list[tuple[str, str]]:
    """The lines of all sessions without their comments, and what they print."""
    source = "\n".join(re.findall(r"```pycon\n(.*?)```", text, re.DOTALL))
    return [(re.sub(r"(?m) +# .*$", "", example.source), example.want) for example in doctest.DocTestParser().get_examples(source)]


def _steps(text: str) -> dict[str, list[str]]:
    """Where the links of each step lead; a link within the page is `#`."""
    rows = re.findall(r"(?m)^\| (\d+(?:, \d+)*) \| (.*)\|$", text)
    links = {numbers: re.findall(r"\]\(([^)]+)\)", row) for numbers, row in rows}
    return {numbers: [re.sub(r"^#.*", "#", link).replace("../learn/", "") for link in found] for numbers, found in links.items()}


def test_the_japanese_page_has_the_same_code_names_and_links() -> None:
    english, japanese = _text(DEZERO), _text(JAPANESE)
    assert _code(japanese) == _code(english)
    assert _calls(japanese) == _calls(english)
    assert _program(japanese, "DeZero") == _program(english, "DeZero")
    assert _steps(japanese) == _steps(english)
    for module, (found, expected) in {name: (rows(japanese)[name], table) for name, table in rows(english).items()}.items():
        assert [row.theirs for row in found] == [row.theirs for row in expected], module
        assert [row.names for row in found] == [row.names for row in expected], module


def test_wrong_numbers_are_caught() -> None:
    for code, result in (("1 + 1", "3"), ("np.zeros(2).dtype", "float32"), ("np.zeros(-1)", "TypeError"), ("1", "TypeError")):
        with pytest.raises(AssertionError):
            _check(code, result, {"np": np})
    assert _calls("| `a; b` → `1` | `c` → `[0, 1]` | `d` |\n| | `e` → `XError` | |") == [("a; b", "1", 0), ("c", "[0, 1]", 1), ("e", "XError", 1)]
