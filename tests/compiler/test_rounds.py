"""Rounds of a compiled loop write their results where they are to lie: what is copied, what is not, and who owns what."""

from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.control.scan import Scan
from fdezero.testing import assert_trees_equal

from .program_checks import assert_same_bits

XS = np.linspace(-1, 1, 7 * 6).reshape(7, 2, 3)
W = np.linspace(-1, 1, 9).reshape(3, 3)


def swapped(c: Any, x: Any) -> Any:
    """A carry that another one keeps for a round."""
    return (c[1] * x, c[0]), c[0]


def layouts(c: Any, x: Any) -> Any:
    """The first round gets another memory layout than the others."""
    return np.sin(c @ W) + x, (c, x.T)


def both(c: Any, x: Any) -> Any:
    """Each new carry is a y as well, and stands there twice."""
    new = (np.tanh(c[0] @ W + x), c[1] + x)
    return new, (new[0], new, x.sum())


def lent(c: Any, x: Any) -> Any:
    """Carries and ys that are given, constant, or views."""
    return (c[0] + x, c[1], np.ones((2, 3))), (c, x, np.ones(2), c[0][:, :2])


def counted(c: Any, x: Any) -> Any:
    return (c[0] + 1, c[1] * 0.5 + x.sum(), c[2] @ W), (c[0], x[0, 0] * c[1])


CASES: dict[str, tuple[Any, Any]] = {
    "swapped": (swapped, (XS[0] + 2, XS[1] - 2)),
    "another layout at first": (layouts, np.asfortranarray(XS[0])),
    "one number for all at first": (layouts, np.broadcast_to(np.float64(0.5), (2, 3))),
    "results twice": (both, (XS[0], XS[1])),
    "given again": (lent, (XS[0], XS[1], XS[2])),
    "numbers": (counted, (0, np.float64(2), XS[3])),
    "no carry": (lambda c, x: (None, x * 2), None),
    "a constant matrix": (lambda c, x: (c, W), XS[0]),
}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [1, 2, 3, 7])
@pytest.mark.parametrize("name", CASES)
def test_every_way_to_keep_a_result(name: str, length: int, reverse: bool) -> None:
    function, carry = CASES[name]
    run = lambda carry, xs: fd.scan(function, carry, xs, reverse=reverse)
    compiled, expected = fd.compile(run), run(carry, XS[:length])
    held = [compiled(carry, XS[:length]) for _ in range(3)]
    for k in range(2):
        compiled(fd.tree.map(lambda leaf: leaf * 3 + k, carry), XS[:length] + k)
    for found in held:
        assert_same_bits(found, expected, name)
    leaves = [leaf for found in held for leaf in fd.tree.leaves(found) if isinstance(leaf, np.ndarray) and leaf.base is not W]
    given = [leaf for leaf in fd.tree.leaves((carry, XS)) if isinstance(leaf, np.ndarray)]
    for i, leaf in enumerate(leaves):
        leaf[...] = 0  # nobody else sees it
        assert not any(np.shares_memory(leaf, other) for other in (*leaves[i + 1 :], *given))


@pytest.mark.parametrize("name", ["swapped", "another layout at first"])
def test_gradients_of_every_way(name: str) -> None:
    function, carry = CASES[name]

    def loss(carry: Any, xs: Any) -> Any:
        return sum(fnp.sum(leaf * leaf) for leaf in fd.tree.leaves(fd.scan(function, carry, xs)))

    gradient = fd.grad(loss, argnums=(0, 1))
    for way in (fd.compile(gradient), fd.grad(fd.compile(loss), argnums=(0, 1))):
        for _ in range(2):
            assert_trees_equal(way(carry, XS), gradient(carry, XS), bits=True)


def loop_of(function: Any, name: str, number: int = 0) -> Scan:
    loops = [i.operation for i in function._last_recording().program.executable.graph.instructions if i.name == name]
    return loops[number]


def test_what_a_round_saves_is_written_into_its_column() -> None:
    f = fd.compile(fd.grad(lambda w: fnp.sum(fd.scan(lambda h, x: (np.tanh(h @ w + x), None), XS[0], XS)[0])))
    f(W)
    forward, backward = (loop_of(f, "scan", k) for k in (0, 1))
    # The new state is both the next carry and what the way back reads: a row of the column holds it, without a copy.
    source = forward.body.rows.source
    assert "np.tanh(o0, out=o0)" in source
    assert "results" not in source  # no memory of its own for results
    assert "view()" not in source
    assert forward.body.rows.given == ([0, 1],)
    assert backward.body.rows.given


def test_memory_of_one_round_is_all_that_a_loop_keeps() -> None:
    state = np.ones((64, 1024))  # half a megabyte
    f = fd.compile(lambda h, xs: fd.scan(lambda h, x: (np.sin(h) + x, h), h, xs)[1])
    f(state, np.arange(5.0))
    f(state, np.arange(5.0))
    assert loop_of(f, "scan").body.rows.nbytes == 0


def test_a_round_that_fails_runs_as_recorded() -> None:
    """And the rounds after it run as before."""
    g = fd.compile(lambda xs: fd.scan(lambda c, x: (c + fnp.linalg.solve(x, c), c), np.ones(2), xs))
    good = np.stack([np.eye(2) * k for k in (1.0, 2.0, 3.0)])
    for xs in (good, good * 2):
        assert_trees_equal(g(xs), fd.scan(lambda c, x: (c + fnp.linalg.solve(x, c), c), np.ones(2), xs), bits=True)
    with pytest.raises(Exception, match="ingular"):
        g(np.stack([np.eye(2), np.zeros((2, 2)), np.eye(2)]))
    assert_trees_equal(g(good), fd.scan(lambda c, x: (c + fnp.linalg.solve(x, c), c), np.ones(2), good), bits=True)


def test_a_round_that_a_recording_did_not_foresee() -> None:
    """2 ** n is an integer, or a float for n < 0: then the round runs as recorded, and those after it in the loop."""
    run = lambda n, xs: fd.scan(lambda c, x: (c + x, (c, x * 2**n)), np.zeros(3), xs)
    f = fd.compile(run)
    for n in (3, 2, -1, 4):
        assert_same_bits(f(n, XS[:, 0]), run(n, XS[:, 0]), str(n))


def test_floating_point_errors_as_exceptions() -> None:
    f = fd.compile(lambda xs: fd.scan(lambda c, x: (c / x, c), np.ones(3), xs))
    f(XS[:, 0] + 3)
    f(XS[:, 0] + 3)
    with np.errstate(all="raise"):
        with pytest.raises(FloatingPointError):
            f(XS[:, 0] * 0)
        assert_same_bits(f(XS[:, 0] + 3), fd.scan(lambda c, x: (c / x, c), np.ones(3), XS[:, 0] + 3), "in the caller's state")
