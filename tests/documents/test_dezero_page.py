"""The pages for readers of DeZero, in English and Japanese: the program, calls that differ, and the book's steps."""

import doctest
import re
from typing import Any

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim

from ..nn.dezero_names import rows
from ..nn.dezero_reference import dezero
from .side_by_side import LEARN, calls_in, check_call, names_after, program_of, read_page, section_of

DEZERO, JAPANESE = LEARN / "dezero.md", LEARN.parent / "ja" / "dezero.md"


def test_dezeros_program_and_ours_end_at_the_same_loss() -> None:
    theirs: dict[str, Any] = {}
    exec(program_of(read_page(DEZERO), "DeZero"), theirs)
    assert f"DeZero ends at {float(theirs['loss'].data):.3f} as well" in read_page(DEZERO)


def test_from_the_same_weights_all_losses_are_dezeros() -> None:
    before, _, loop = program_of(read_page(DEZERO), "DeZero").partition("for i in")
    theirs: dict[str, Any] = {}
    exec(before + "model(x)\nlosses = []\n", theirs)
    layers = [nn.Linear(W=layer.W.data.copy(), b=layer.b.data.copy()) for layer in (theirs["model"].l0, theirs["model"].l1)]
    exec("for i in" + loop + "    losses.append(float(loss.data))\n", theirs)
    ours = names_after(read_page(DEZERO).partition("\n## What bites")[0])
    model, losses = ours["model"].replace(layers=tuple(layers)), []
    state = ours["opt"].init(model)
    for _ in range(1000):
        model, state, loss = ours["train_step"](model, state, ours["x"], ours["t"])
        losses.append(float(loss))
    np.testing.assert_allclose(losses, theirs["losses"], rtol=1e-5)


def test_calls_that_look_alike_give_what_the_page_says() -> None:
    text = read_page(DEZERO)
    ours = names_after(text.partition("\n| DeZero | fdezero | why")[0])
    arrays = {name: value for name, value in ours.items() if isinstance(value, np.ndarray)}
    theirs = {"np": np, "F": dezero.functions, "L": dezero.layers, "Variable": dezero.Variable} | arrays
    calls = calls_in(section_of(text, "What bites"))
    assert len(calls) >= 20
    for code, result, column in calls:
        check_call(code, result, theirs if column == 0 else ours)


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
    assert moved in " ".join(read_page(DEZERO).split())


PLACES: dict[str, Any] = {  # where a reader looks for the names of a module of DeZero
    "core": fd, "functions": F, "functions_conv": F, "layers": nn, "models": nn, "datasets": fd.data, "dataloaders": fd.data,
    "transforms": fd.data.transforms, "optimizers": optim,
}  # fmt: skip
OBJECTS: dict[str, Any] = {  # where a reader looks for the methods of a class
    "Layer": nn.Linear.init(fd.random.key(0), 2, 3), "Model": nn.MLP.init(fd.random.key(0), (2, 3)),
    "RNN": nn.RNN.init(fd.random.key(0), 2, 3), "LSTM": nn.LSTM.init(fd.random.key(0), 2, 3), "Optimizer": optim.sgd(0.1),
}  # fmt: skip
OPERATORS = {"sub", "rsub", "mul", "div", "rdiv", "neg", "pow", "add"}  # methods of Variable, which nobody looks for in fd


def _hint(place: Any, name: str) -> str:
    """What is said to someone who asks for a name that is not there; empty if it is there, or if there is no advice."""
    try:
        getattr(place, name)
    except AttributeError as error:
        return str(error)
    return ""


def _traced(name: str) -> str:
    """The same, of a traced value."""
    _, said = fd.grad(lambda x: (x.sum(), _hint(x, name)), has_aux=True)(np.ones((2, 3)))
    return str(said)


def test_a_name_of_dezero_that_is_not_here_is_an_error_with_advice() -> None:
    silent = []
    for module, place in PLACES.items():
        for name in {name for row in rows(read_page(DEZERO))[module] for name in row.theirs} - OPERATORS:
            of, _, method = name.partition(".")
            if not method:
                said = _hint(place, name)
            elif of == "Variable":
                said = _traced(method)
            elif of in OBJECTS:
                said = _hint(OBJECTS[of], method)
            else:
                continue
            if said and ": use " not in said and ": leave it out, " not in said and (". " not in said or "It has the methods of an array" in said):
                silent.append(f"{module}.{name}")
    assert silent == []


def test_every_step_of_the_book_has_a_row_with_a_link() -> None:
    rows = re.findall(r"(?m)^\| (\d+(?:, \d+)*) \| (.*)\|$", read_page(DEZERO))
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
    english, japanese = read_page(DEZERO), read_page(JAPANESE)
    assert _code(japanese) == _code(english)
    assert calls_in(japanese) == calls_in(english)
    assert program_of(japanese, "DeZero") == program_of(english, "DeZero")
    assert _steps(japanese) == _steps(english)
    for module, (found, expected) in {name: (rows(japanese)[name], table) for name, table in rows(english).items()}.items():
        assert [row.theirs for row in found] == [row.theirs for row in expected], module
        assert [row.names for row in found] == [row.names for row in expected], module
