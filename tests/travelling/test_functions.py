"""Functions made of functions travel to other processes: by name, by their parts, and closures by cloudpickle."""

import copy
import functools
import inspect
import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero.compiler import api
from fdezero.testing import assert_trees_equal

from . import functions as f
from .elsewhere import Elsewhere, elsewhere

__all__ = ["elsewhere"]

W, X = np.linspace(0.1, 0.9, 3), np.linspace(0.5, 2.0, 3)
row = pytest.mark.parametrize("name", f.FUNCTIONS)


@row
def test_a_function_gives_the_same_bits_elsewhere(name: str, elsewhere: Elsewhere) -> None:
    function = f.FUNCTIONS[name]
    here = fd.to_numpy(function(W, X))
    pickle.dumps(function)  # by plain pickle, without cloudpickle
    assert_trees_equal(elsewhere(function, W, X), here, bits=True)
    assert_trees_equal(fd.to_numpy(function(W, X)), here, bits=True)  # it also stays what it was


@row
def test_older_protocols_and_cloudpickle_will_do(name: str) -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    function = f.FUNCTIONS[name]
    expected = fd.to_numpy(function(W, X))
    for parcel in (pickle.dumps(function, 2), pickle.dumps(function, 4), cloudpickle.dumps(function)):
        assert_trees_equal(fd.to_numpy(pickle.loads(parcel)(W, X)), expected, bits=True)


@pytest.mark.parametrize("name", [name for name in f.FUNCTIONS if name.startswith("a decorated") or name == "custom_vjp"])
def test_a_decorated_function_stays_one_object(name: str) -> None:
    function = f.FUNCTIONS[name]
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(function, protocol)) is function
    assert copy.copy(function) is copy.deepcopy(function) is function


def test_a_gradient_alone_goes_by_cloudpickle(elsewhere: Elsewhere) -> None:
    """It must be a function of Python, which counts references, and pickle finds those by name alone."""
    pytest.importorskip("cloudpickle")
    for made in (fd.grad(f.loss), fd.value_and_grad(f.with_aux, has_aux=True), fd.grad_and_aux(f.with_aux)):
        with pytest.raises(pickle.PicklingError, match="not the same object"):
            pickle.dumps(made)


def test_a_wrapper_of_the_users_is_not_taken_for_a_gradient() -> None:
    """functools.wraps copies the attributes of a function."""
    gradient = fd.grad(f.loss)

    @functools.wraps(gradient)
    def doubled(w: Any, x: Any) -> Any:
        return 2 * gradient(w, x)

    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(fd.compile(doubled))
    cloudpickle = pytest.importorskip("cloudpickle")
    again = pickle.loads(cloudpickle.dumps(fd.compile(doubled)))
    np.testing.assert_array_equal(again(W, X), doubled(W, X))


def test_closures_and_lambdas_go_by_cloudpickle(elsewhere: Elsewhere) -> None:
    pytest.importorskip("cloudpickle")
    scale = np.float64(3.0)
    step = fd.compile(lambda w, x: scale * fd.grad(lambda w: f.loss(w, x))(w))
    step(W, X)  # what has been recorded stays here
    for function in (step, fd.vmap(lambda w, x: w * scale * x), fd.checkpoint(lambda w, x: scale * f.loss(w, x))):
        assert_trees_equal(elsewhere(function, W, X), function(W, X), bits=True)
        with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
            pickle.dumps(function)


@pytest.mark.parametrize("name", ["vmap", "checkpoint", "jacobian", "hessian", "elementwise_grad", "debug"])
def test_what_a_transform_makes_looks_like_the_function(name: str) -> None:
    made = f.FUNCTIONS[name]
    inner = made.__wrapped__
    assert (made.__name__, made.__doc__, made.__module__) == (inner.__name__, inner.__doc__, inner.__module__)
    assert inspect.signature(made) == inspect.signature(inner)
    assert repr(made) == f"<{name} of {inner.__name__}>"
    assert inspect.isroutine(made)  # so `help` shows its name, its arguments and its documentation
    bound = f.TRAINER.mapped
    assert list(inspect.signature(bound).parameters) == ["w", "x"]
    assert bound.__self__ is f.TRAINER


# A function of a script: pickle finds it by name, cloudpickle sends it by value
READER = """
import pickle, sys
work, objects, functions = pickle.load(open(sys.argv[1], "rb"))
assert repr(work(objects)) == pickle.load(open(sys.argv[2], "rb"))
step, helper, factorial, ruled, call, gradient = functions
assert work.__globals__["step"] is step and work.__globals__["Net"].__call__ is call, "one object each"
x = objects[0].W.T
assert (step(x) == helper(x) * 3).all()
assert gradient(objects[0], x).W.shape == (3, 2)
assert not hasattr(sys.modules["__main__"], "Net") and "tests" not in sys.modules
"""


def test_functions_and_classes_of_a_script_go_by_value_where_the_script_is_not(tmp_path: Path) -> None:
    pytest.importorskip("cloudpickle")
    files = [str(tmp_path / name) for name in ("parcel", "expected")]
    for program in (["-m", "tests.travelling.script"], ["-c", READER]):
        done = subprocess.run(
            [sys.executable, *program, *files], cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # fork in a process that may have threads is what is tested
def test_a_forked_process_goes_on_with_what_was_recorded_before() -> None:
    expected = f.compiled(W, X)
    gradient = fd.compile(fd.grad(f.loss))
    gradient(W, X)
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        assert pool.submit(_kept, W, X).result(30) == (expected, len(f.compiled.recordings))
        np.testing.assert_array_equal(pool.submit(gradient, W, X).result(30), gradient(W, X))


def _kept(w: Any, x: Any) -> Any:
    return f.compiled(w, x), len(f.compiled.recordings)


# Executors send a function along with every task
def test_a_function_that_arrives_again_is_not_recorded_again() -> None:
    for make in (
        lambda: fd.compile(f.loss, threads=1),
        lambda: fd.compile(fd.grad(f.loss), threads=1),
        lambda: fd.compile(functools.partial(f.scaled, 2.0), threads=1),
        lambda: fd.compile(fd.vmap(fd.grad(f.loss), in_axes=(None, 0)), threads=1),
    ):
        parcel = pickle.dumps(make())
        first = pickle.loads(parcel)
        expected = first(W, X)
        second = pickle.loads(parcel)
        assert second is not first
        np.testing.assert_array_equal(second(W, X), expected)
        assert len(second.recordings) == 1
        assert second.recordings[0] is first.recordings[0]
        other = pickle.loads(pickle.dumps(make())), fd.compile(f.loss)  # settings count, and what was made here is apart
        assert other[0].recordings
        assert not other[1].recordings
        first.clear()
        assert not pickle.loads(parcel).recordings


def test_functions_without_a_name_keep_their_recordings_apart() -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    results = []
    for scale in (2.0, 3.0):
        again = pickle.loads(cloudpickle.dumps(fd.compile(lambda w, x: f.loss(w, x) * scale)))
        results.append(again(W, X))
        method = pickle.loads(pickle.dumps(fd.compile(f.Trainer(scale).plain)))
        np.testing.assert_array_equal(method(W, X), f.Trainer(scale).plain(W, X))
        held = pickle.loads(pickle.dumps(fd.compile(functools.partial(f.scaled, np.full(3, scale)))))
        np.testing.assert_array_equal(held(W, X), f.scaled(np.full(3, scale), W, X))
    assert results[0] != results[1]
    before = len(api.ARRIVED)
    for scale in range(3):
        pickle.loads(cloudpickle.dumps(fd.compile(lambda w: w * scale)))(W)
    assert len(api.ARRIVED) == before  # so nothing is kept for functions that do not come again
