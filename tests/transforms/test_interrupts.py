"""An interrupt (Ctrl-C) between any two lines leaves no array read-only, no lock held and no wrong state behind."""

import gc
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero.core import owners

from ..profiles import NIGHTLY

LIBRARY = os.path.dirname(fd.__file__) + os.sep
EVERY = 1 if NIGHTLY else 13  # one line in so many is interrupted
MOST = 100_000


def dying(frame: Any) -> bool:
    """Whether a frame belongs to a finalizer, in which Python swallows every exception."""
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


def interrupted(work: Callable[[], Any], number: int) -> bool:
    """Run `work` and raise KeyboardInterrupt before its line `number` within the library. False if there are fewer lines."""
    seen = 0

    def lines(frame: Any, event: str, arg: Any) -> Any:
        nonlocal seen
        if event == "line" and not dying(frame):
            seen += 1
            if seen == number:
                raise KeyboardInterrupt
        return lines

    def calls(frame: Any, event: str, arg: Any) -> Any:
        return lines if frame.f_code.co_filename.startswith(LIBRARY) else None

    before = sys.gettrace()
    sys.settrace(calls)
    try:
        work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return seen >= number


def value(x: Any) -> Any:
    return (np.exp(x * 0.1) * x).sum()


scaled = fd.custom_vjp(lambda x, w: x * w)
scaled.defvjp(lambda x, w: (x * w, (x, w)), lambda kept, t: (t * kept[1], t * kept[0]))


def works(x: np.ndarray, w: np.ndarray) -> dict[str, Callable[[], Any]]:
    """Calls that lock x, w or both, and return what they compute."""
    both = {"x": x, "w": w[1:-1]}

    def pulled() -> Any:
        y, pullback = fd.vjp(lambda x: x * w, x)
        return y, pullback(np.ones(x.shape))

    def linearized() -> Any:
        return fd.linearize(lambda x: x * x, x)[1](np.ones(x.shape))

    return {
        "grad": lambda: fd.grad(value)(x),
        "grad of a closure": lambda: fd.grad(lambda v: (v * w).sum())(np.ones(w.shape)),
        "grad of a view in a closure": lambda: fd.grad(lambda v: (v * w[1:]).sum())(np.ones(w[1:].shape)),
        "grad of a tree": lambda: fd.grad(lambda p: (p["x"] ** 2).sum() + (p["w"] ** 3).sum())(both),
        "grad within grad": lambda: fd.grad(lambda x: (fd.grad(value)(x) ** 2).sum())(x),
        "vjp": pulled,
        "linearize": linearized,
        "a custom rule": lambda: fd.grad(lambda x: scaled(x, w).sum())(x),
        "hvp": lambda: fd.hvp(value, (x,), (x,)),
    }


NAMES = list(works(np.ones(4), np.ones(4)))


@pytest.mark.parametrize("name", NAMES)
def test_an_interrupt_leaves_nothing_behind(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners, "SMALL", 0)
    monkeypatch.setattr(owners, "LARGE", 0)
    x, w = np.linspace(0.5, 1.5, 4), np.linspace(1.0, 2.0, 4)
    expected = fd.tree.map(np.array, works(x, w)[name]())
    claimed = set(owners.Guard._claims)  # by values that another test keeps alive
    number = 1 + len(name) % EVERY
    while interrupted(works(x, w)[name], number):
        if not (x.flags.writeable and w.flags.writeable):
            gc.collect()  # a cycle may hold a traced value
        assert x.flags.writeable, f"line {number}"
        assert w.flags.writeable, f"line {number}"
        assert owners.Guard._claims.keys() <= claimed
        assert not owners.Guard._waiting
        number += EVERY
        assert number < MOST
    found = works(x, w)[name]()
    assert all(np.array_equal(a, b) for a, b in zip(fd.tree.leaves(found), fd.tree.leaves(expected), strict=True))


def test_the_lines_that_are_interrupted_lock_and_release(monkeypatch: pytest.MonkeyPatch) -> None:
    """The law above would be empty if no array were locked in between."""
    monkeypatch.setattr(owners, "SMALL", 0)
    monkeypatch.setattr(owners, "LARGE", 0)
    x = np.linspace(0.5, 1.5, 4)
    locked = []
    fd.grad(lambda v: (locked.append(x.flags.writeable), (v * x).sum())[1])(x)
    fd.grad(lambda v: ((v * x).sum(), locked.append(x.flags.writeable))[0])(np.ones(4))
    assert locked == [False, False]
    assert x.flags.writeable
    monkeypatch.setattr(owners, "LARGE", 1 << 40)  # from here on only an array with one reference is locked
    seen = []
    look = [np.linspace(0.5, 1.5, 4)]
    for differentiate in (fd.grad, fd.value_and_grad):
        differentiate(lambda v: (seen.append(look[0].flags.writeable), (v * v).sum())[1])(look[0])
        differentiate(lambda p: (seen.append(look[0].flags.writeable), (p["x"] ** 2).sum())[1])({"x": look[0]})
        differentiate(lambda v, w: (seen.append(look[0].flags.writeable), (v * w).sum())[1], argnums=(0,))(look[0], np.ones(4))
        differentiate(lambda v, w: (seen.append(look[0].flags.writeable), (v * w).sum())[1])(np.ones(4), look[0])
    assert seen == [False, True, False, False] * 2


def test_a_release_that_was_cut_off_is_made_up_for_by_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    x, other = np.ones(owners.SMALL), np.ones(owners.SMALL)
    _, pullback = fd.vjp(lambda x: x * x, x)
    with monkeypatch.context() as patch:
        patch.setattr(owners.Guard, "release", lambda self: None)
        del pullback
    assert not x.flags.writeable
    fd.grad(lambda x: (x * x).sum())(other)
    assert x.flags.writeable
    assert other.flags.writeable


def test_threads_that_lock_one_array_leave_it_writable() -> None:
    x = np.linspace(0.5, 1.5, owners.LARGE // 8 + 1)
    views = [x[1:], x[:-1], x, x[::2]]
    wrong = []

    def work(n: int) -> None:
        for _ in range(8):
            g = fd.grad(lambda v: ((v * views[n]) ** 2).sum())(np.ones(views[n].shape))
            if not np.array_equal(g, 2 * views[n] ** 2):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(views))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert all(view.flags.writeable for view in views)
