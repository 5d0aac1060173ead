"""The pages for readers of autograd, JAX and PyTorch: programs side by side, calls that differ, and names."""

import importlib
import re
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim

from .side_by_side import (
    LEARN,
    calls_in,
    check_call,
    exported,
    names_after,
    program_of,
    read_page,
    section_of,
    value_of,
)


def _names(library: str) -> list[tuple[list[str], list[str]]]:
    """Their names and ours in each row of the table of names."""
    section = section_of(read_page(LEARN / f"{library.lower()}.md"), "Names")
    cells = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return [(re.findall(r"`([^`]*)`", theirs), re.findall(r"`([^`]*)`", ours)) for theirs, ours, *_ in cells]


# autograd, JAX and PyTorch, where they are installed


def _autograd() -> dict[str, Any]:
    autograd = pytest.importorskip("autograd")
    return {**vars(autograd), "np": importlib.import_module("autograd.numpy")}


def _jax() -> dict[str, Any]:
    jax = pytest.importorskip("jax")
    return {"jax": jax, "jnp": jax.numpy, "np": np}


def _torch() -> dict[str, Any]:
    torch = pytest.importorskip("torch")
    return {"torch": torch, "nn": torch.nn, "F": torch.nn.functional}


OTHERS = {"autograd": _autograd, "JAX": _jax, "PyTorch": _torch}


@pytest.mark.parametrize("library", OTHERS)
def test_names_of_ours_exist(library: str) -> None:
    table = _names(library)
    assert len(table) > 15
    for theirs, ours in table:
        assert ours, f"{theirs} has no counterpart"
        for name in ours:
            value_of(name, {"fd": fd, "F": F, "nn": nn, "optim": optim, "np": np})


@pytest.mark.parametrize("library", OTHERS)
def test_calls_of_ours_that_look_alike_give_what_the_page_says(library: str) -> None:
    text = read_page(LEARN / f"{library.lower()}.md")
    names = {"fd": fd, "F": F, "nn": nn, "optim": optim} | names_after(text.partition(f"\n| {library} | fdezero | why")[0])
    for code, result, column in calls_in(section_of(text, "What bites")):
        if column == 1:
            check_call(code, result, names)


@pytest.mark.filterwarnings("ignore")  # other libraries warn
@pytest.mark.parametrize("library", OTHERS)
def test_what_the_page_says_of_the_other_library_is_true(library: str) -> None:
    text, names = read_page(LEARN / f"{library.lower()}.md"), OTHERS[library]()
    ours = names_after(text.partition(f"\n| {library} | fdezero | why")[0])
    program: dict[str, Any] = {}
    exec(program_of(text, library), program)
    if library == "PyTorch":
        assert float(program["loss"]) < 0.1
    else:
        assert float(program["loss"]) == pytest.approx(float(ours["loss"]), rel=1e-4)
    arrays = {name: value for name, value in ours.items() if isinstance(value, np.ndarray)}
    for code, result, column in calls_in(section_of(text, "What bites")):
        if column == 0:
            check_call(code, result, arrays | names)
    for theirs, _ in _names(library):
        for name in theirs:
            exported(name)


def test_from_the_same_weights_all_losses_are_pytorchs() -> None:
    _torch()
    text = read_page(LEARN / "pytorch.md")
    before, _, loop = program_of(text, "PyTorch").partition("for i in")
    theirs: dict[str, Any] = {}
    exec(before + "losses = []\nweights = [p.detach().numpy().copy() for p in model.parameters()]\n", theirs)
    exec("for i in" + loop + "    losses.append(loss.item())\n", theirs)
    ours = names_after(text.partition("\n## What bites")[0])
    first, shift, last, end = theirs["weights"]
    model, losses = nn.Sequential(nn.Linear(W=first.T, b=shift), F.tanh, nn.Linear(W=last.T, b=end)), []
    state = ours["opt"].init(model)
    for _ in range(200):
        model, state, loss = ours["train_step"](model, state, ours["x"], ours["t"])
        losses.append(float(loss))
    np.testing.assert_allclose(losses, theirs["losses"], rtol=1e-3)


def test_wrong_numbers_are_caught() -> None:
    for code, result in (("1 + 1", "3"), ("np.zeros(2).dtype", "float32"), ("np.zeros(-1)", "TypeError"), ("1", "TypeError")):
        with pytest.raises(AssertionError):
            check_call(code, result, {"np": np})
    assert calls_in("| `a; b` → `1` | `c` → `[0, 1]` | `d` |\n| | `e` → `XError` | |") == [("a; b", "1", 0), ("c", "[0, 1]", 1), ("e", "XError", 1)]
