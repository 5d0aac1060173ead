"""The chapters that build a toy fdezero: every listing and session, in the order in which a reader types them."""

import doctest
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fdezero as fd

FOLDER = Path(__file__).parents[2] / "docs" / "learn" / "toy"
CHAPTERS = sorted(FOLDER.glob("[1-9]*.md"))
BLOCK = re.compile(r"```(python|pycon)\n(.*?)```", re.DOTALL)


def typed(sessions: bool) -> dict[str, Any]:
    """The names after all listings. The sessions run where they stand, in the same interpreter, and what they print is compared."""
    names: dict[str, Any] = {}
    for chapter in CHAPTERS:
        for number, (kind, text) in enumerate(BLOCK.findall(chapter.read_text("utf-8"))):
            if kind == "python":
                exec(compile(text, f"{chapter.name}, listing {number}", "exec"), names)
            elif sessions:
                test = doctest.DocTestParser().get_doctest(text, {}, chapter.name, chapter.name, 0)
                test.globs = names
                report: list[str] = []
                doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=report.append, clear_globs=False)
                assert not report, "".join(report)
    return names


@pytest.fixture(scope="module")
def toy() -> Any:
    return SimpleNamespace(**typed(sessions=False))


def test_listings_and_sessions_run_in_order() -> None:
    assert len(CHAPTERS) == 5
    typed(sessions=True)


def test_the_toy_has_at_most_two_hundred_lines() -> None:
    listings = "".join(text for chapter in CHAPTERS for kind, text in BLOCK.findall(chapter.read_text("utf-8")) if kind == "python")
    assert 150 < len([line for line in listings.splitlines() if line.strip()]) <= 200


FUNCTIONS = {
    "entries": lambda x: np.sum(np.sin(x) * np.exp(-x) / (1.0 + x * x)),
    "broadcast": lambda x: np.sum(np.tanh(x + np.sum(x, axis=0)) * np.reshape(np.sum(x, axis=1), (3, 1))),
    "products": lambda x: np.sum(np.log(np.matmul(x, np.transpose(x))) * np.broadcast_to(np.sum(x), (3, 3))),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_toy_agrees_with_fdezero_in_every_combination(name: str, toy: Any) -> None:
    f, x = FUNCTIONS[name], np.linspace(0.5, 1.5, 12).reshape(3, 4)
    batch = np.stack([x, x * 1.1])

    def slope_of_slope(grad: Any) -> Any:
        return grad(lambda x: np.sum(grad(f)(x) * x))

    for ours, theirs in ((toy.grad(f), fd.grad(f)), (slope_of_slope(toy.grad), slope_of_slope(fd.grad))):
        np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-10)
        np.testing.assert_allclose(toy.vmap(ours)(batch), fd.vmap(theirs)(batch), rtol=1e-10)
        compiled = toy.compile(ours)
        first = compiled(x)
        np.testing.assert_array_equal(first, ours(x))
        compiled(x + 1)
        np.testing.assert_array_equal(first, ours(x))
