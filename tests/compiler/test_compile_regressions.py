"""Mistakes that compiled code once made, each with the smallest program that showed it."""

import copy
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import numpy as fnp
from fdezero.compiler.planning import fuse
from fdezero.compiler.running import blocks
from fdezero.errors import StaticError, TraceError
from fdezero.ops.checks import checked
from fdezero.testing import assert_trees_equal

X = np.arange(3.0)


def _kept(c: Any, _: Any) -> tuple[Any, None]:
    return c, None


def test_a_carry_that_comes_back_as_it_was_given_is_no_memory_that_is_written_again() -> None:
    def scanned(x: Any) -> Any:
        carry, _ = fd.scan(_kept, x * 2, length=2)
        return carry * fnp.sum(np.exp(x * 3))

    def looped(x: Any) -> Any:
        carry = fd.while_loop(lambda c: c[0] > 9.0, lambda c: c * 2, x * 2)
        return carry * fnp.sum(np.exp(x * 3))

    def turned(x: Any) -> Any:
        carry, _ = fd.scan(lambda c, _: (c.T, None), np.outer(x, x) * 2, length=2)
        return carry * fnp.sum(np.exp(x * 3))

    for function in (scanned, looped, turned):
        compiled = fd.compile(function)
        for _ in range(3):
            np.testing.assert_array_equal(compiled(X), function(X))


def test_carries_that_a_caller_holds_stay_as_they_are() -> None:
    def weights(W: Any, x: Any) -> Any:
        return fd.scan(lambda c, _: ((c[0], np.tanh(c[1] @ c[0])), None), (W * 2, x), length=3)[0]

    rows = fd.compile(lambda x: fd.scan(lambda c, row: (row, c), x[0], x * 2)[0])
    compiled = fd.compile(weights)
    assert [W[0, 0] for W, _ in [compiled(np.eye(3) * i, X) for i in range(1, 6)]] == [2, 4, 6, 8, 10]
    assert [y[0] for y in [rows(np.arange(6.0).reshape(3, 2) + i) for i in range(5)]] == [8, 10, 12, 14, 16]


def test_static_arguments_that_are_equal_but_not_the_same_are_told_apart() -> None:
    scaled = fd.compile(lambda x, n: x * n, static=("n",))
    assert [scaled(np.arange(3), n).dtype.kind for n in (1, 1.0, 1)] == ["i", "f", "i"]
    assert [np.signbit(scaled(np.ones(1), n))[0] for n in (0.0, -0.0)] == [False, True]
    with pytest.raises(StaticError, match="static names m"):
        fd.compile(lambda x: x, static=("m",))


def test_a_mask_does_not_freeze_the_indices_of_the_first_call() -> None:
    with pytest.raises(TraceError, match=r"nonzero \(also an index by a mask\).*where"):
        fd.compile(lambda x: x[x > 0])(np.array([1.0, -1.0]))
    assert fd.grad(lambda x: x[x > 0].sum())(np.array([1.0, -1.0])).tolist() == [1.0, 0.0]


def test_a_checkpoint_may_return_a_number() -> None:
    function = fd.checkpoint(lambda x: (x * 2, 3))
    assert fd.compile(fd.grad(lambda x: fnp.sum(function(x)[0])))(X).tolist() == [2.0, 2.0, 2.0]


def test_a_number_kept_for_the_way_back_stays_weak_under_vmap() -> None:
    x = np.array([0.3, 0.5], np.float32)

    def mapped(f: Any) -> Any:
        return fd.vmap(fd.grad(f, argnums=(0, 1)), (0, None))(x, -2.0)

    for mine, eager in zip(mapped(fd.compile(lambda x, n: fnp.hypot(x, n))), mapped(fnp.hypot), strict=True):
        np.testing.assert_array_equal(mine, eager)


def test_a_closure_array_is_the_one_that_was_recorded_whatever_is_written_into_it() -> None:
    a, b = np.ones(2), np.ones(2)
    product = fd.compile(lambda x: (x + a) * (x + b))
    product(np.ones(2))
    b[...] = 0
    assert product(np.ones(2)).tolist() == [4.0, 4.0]


def test_a_compiled_gradient_leaves_constants_writable() -> None:
    signs = np.array([1.0, -2.0])
    compiled = fd.compile(lambda x: fnp.sum(np.copysign(x, signs)))
    fd.grad(compiled)(np.ones(2))
    assert signs.flags.writeable


def test_an_array_is_writable_again_also_when_a_tape_holds_another_view_of_its_owner_longer() -> None:
    owner = np.arange(6.0)
    first, second = owner.reshape(2, 3), owner.reshape(3, 2)
    _, outer = fd.vjp(lambda x: x * first, np.ones((2, 3)))
    _, inner = fd.vjp(lambda x: x * second, np.ones((3, 2)))
    inner.release()
    outer.release()
    assert owner.flags.writeable
    assert first.flags.writeable
    assert second.flags.writeable


def test_a_constant_array_is_cut_into_blocks_with_the_rest() -> None:
    held, x = np.linspace(0, 1, 70000), np.linspace(1, 2, 70000)
    rows = held[:, None] * np.ones(2)
    for function, given in ((lambda x: np.sin(x * held) + held, x), (lambda x: np.sin(x[:, None] * rows) + rows[:1], x)):
        compiled = fd.compile(function)
        for _ in range(3):
            np.testing.assert_array_equal(compiled(given), function(given))


def test_a_composite_operation_of_a_broadcast_array_sums_in_the_order_of_eager_code() -> None:
    x = np.broadcast_to(np.linspace(-3, 3, 90, dtype=np.float32)[:, None], (3, 90, 130))
    compiled = fd.compile(fnp.logsumexp)
    assert [compiled(x) for _ in range(2)] == [fnp.logsumexp(x)] * 2


def test_a_traced_dropout_rate_scales_as_a_plain_one() -> None:
    from fdezero import functions as F

    x, key = np.linspace(1, 2, 1000), fd.random.key(3)

    def dropped(rate: Any) -> Any:
        return F.dropout(x, rate, key=key, train=True)

    np.testing.assert_array_equal(fd.compile(dropped)(0.3), dropped(0.3))


SLICED: dict[str, Any] = {
    "rows": lambda x: sum(np.sum(np.sin(x[k]) * k) for k in range(4)),
    "rows and columns": lambda x: sum(np.sum(np.sin(x[k, :3]) * x[k, 3:]) for k in range(4)),
    "some rows": lambda x: np.sum(np.sin(x[0])) + np.sum(x[2] * x[3]),
    "overlapping": lambda x: np.sum(np.sin(x[:3])) + np.sum(x[1:] * x[:3]),
    "every other": lambda x: np.sum(x[::2] * x[::-2]),
    "minus nothing": lambda x: np.sum(x[0] * -0.0) + np.sum(x[1] * -0.0) + np.sum(x[2] * 0.0),
    "one number": lambda x: x[0, 0] * x[1, 1] + x[0, 1],
}


@pytest.mark.parametrize("f", SLICED.values(), ids=SLICED.keys())
def test_slices_put_back_together_have_the_bits_of_their_sum(f: Any) -> None:
    x = np.random.default_rng(0).standard_normal((4, 6))
    gradient = fd.grad(f)
    compiled, expected = fd.compile(gradient), gradient(x)
    assert all(compiled(x).tobytes() == expected.tobytes() for _ in range(3))
    batch = np.stack([x, -x, x[::-1]])
    mapped = fd.vmap(gradient)
    compiled = fd.compile(mapped)
    assert all(compiled(batch).tobytes() == mapped(batch).tobytes() for _ in range(3))


def test_a_loop_over_rows_has_one_array_for_its_derivative() -> None:
    compiled = fd.compile(fd.grad(lambda x: sum(np.sum(np.sin(x[k])) for k in range(50))))
    compiled(np.ones((50, 3)))
    assert compiled.source.count("write_unslice") == 1


def test_a_choice_is_written_over_a_view_of_what_it_chooses_from() -> None:
    def f(x: Any) -> Any:
        row = np.tanh(x).reshape(-1)[None, 0]
        return np.exp(np.where(row > 0, row, 0.2 * row))

    compiled, x = fd.compile(f), np.array([0.5])
    assert all(compiled(x).tobytes() == f(x).tobytes() for _ in range(3))


def test_a_group_writes_a_choice_over_what_it_chooses_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuse, "LARGE", 4)

    def f(a: Any, b: Any) -> Any:
        product = a @ b
        return np.where(b > 0, product, np.sin(b) * 0.2)

    a, b = np.eye(4), np.array([[1.0, -1, 2, -2]] * 4)
    compiled = fd.compile(f)
    assert all(compiled(a, b).tobytes() == f(a, b).tobytes() for _ in range(3))


def test_a_function_with_the_name_of_an_operation_it_calls_does_not_call_itself() -> None:
    def memory(x: Any) -> Any:
        return np.sum(np.exp(x) * 2)

    for function, x in ((np.tanh, np.array(0.5)), (np.abs, np.array(-0.5, np.float16)), (memory, X)):
        compiled = fd.compile(function)
        assert [compiled(x) for _ in range(3)] == [function(x)] * 3


def test_arguments_may_bear_the_names_that_a_program_gives_its_own() -> None:
    def memories(b0: Any, o0: Any, k0: Any, c0: Any, v0: Any, m0: Any, run0: Any) -> Any:
        return np.tanh(b0 * 1.5 + o0) @ k0 - c0 * v0 + m0 * run0

    def helpers(positive: Any, memory: Any, array: Any, outputs: Any, results: Any, np_: Any, read_only: Any, write_where: Any) -> Any:
        y = np.positive(memory) + array * outputs - results
        return np.where(y > 0, y, y * 0.2) * np_ + read_only.sum() * write_where + fnp.clip(positive, 0, 1)

    for function, count in ((memories, 7), (helpers, 8)):
        given = [np.random.default_rng(i).standard_normal((3, 3)) for i in range(count)]
        before = [x.copy() for x in given]
        compiled, expected = fd.compile(function), function(*given)
        assert all(compiled(*given).tobytes() == expected.tobytes() for _ in range(3))
        assert all(np.array_equal(x, old) for x, old in zip(given, before, strict=True))


def test_one_entry_is_a_number_whatever_kind_of_number_the_index_is() -> None:
    def f(x: Any) -> Any:
        return fnp.take(np.ravel(0.5), (x == x).sum() - x.size, axis=0), fnp.take(x, np.argmax(x), axis=0)

    compiled, x = fd.compile(f), np.array([1.0, 3.0, 2.0])
    for _ in range(3):
        assert [type(y) for y in compiled(x)] == [type(y) for y in f(x)] == [np.float64, np.float64]


@pytest.mark.parametrize("constant", [np.float32([2.0])[::-1], np.float32([2.0]), np.float32(2.0), np.broadcast_to(np.float32(2.0), (1,))])
def test_a_constant_of_one_entry_is_read_as_it_lies_in_memory(constant: Any) -> None:
    compiled = fd.compile(lambda x: np.arctan2(x, constant))
    for number in np.random.default_rng(0).standard_normal(200).astype(np.float32):
        x = np.array([number])
        assert compiled(x).tobytes() == np.arctan2(x, constant).tobytes()


def test_a_row_of_a_closure_array_is_a_copy_in_every_call() -> None:
    table = np.arange(6.0).reshape(3, 2)
    compiled = fd.compile(lambda i: (fnp.take(table, i, axis=0), fnp.take(table, i, axis=0)[::-1]))
    for call in range(3):
        for row in compiled(np.int64(call)):
            assert row.sum() == table[call].sum()
            row[...] = 1
    assert table.tolist() == [[0, 1], [2, 3], [4, 5]]


def test_rows_that_are_read_backwards_are_no_part_of_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy computes few entries and many entries with different bits."""
    monkeypatch.setattr(fuse, "LARGE", 4)
    monkeypatch.setattr(blocks, "CACHE", 0)
    x = np.random.default_rng(0).standard_normal((6, 300))

    def f(x: Any, y: Any) -> Any:
        return np.arctan2(x[:, ::-1], y) + y, np.exp(x[:, ::-1] * y) * y, np.arctan2(y * 2, x[0, ::-1]) * y

    compiled, expected = fd.compile(f), f(x, x + 1)
    for _ in range(3):
        assert [a.tobytes() for a in compiled(x, x + 1)] == [b.tobytes() for b in expected]
    assert "in blocks" in compiled.source


def test_an_implementation_that_is_written_out_keeps_the_layout_of_its_result() -> None:
    """The quotient of a scalar cotangent and an array in Fortran order is in C order."""

    def f(x: Any) -> Any:
        y = np.tanh(x)
        return fnp.sum(fnp.reshape(fnp.reshape(y, (-1,)), y.shape) / y) ** 2

    gradient = fd.grad(f)
    compiled, x = fd.compile(gradient), np.asfortranarray(np.random.default_rng(0).standard_normal((3, 4)))
    assert all(compiled(x).tobytes() == gradient(x).tobytes() for _ in range(3))


def test_a_choice_between_numbers_one_of_which_is_zero() -> None:
    for f in (lambda x, n: np.where(x > 0, n, n), lambda x, n: np.where(x > 0, n, 0), lambda x, n: np.where(x > 0, 1, 0), lambda x, n: np.where(x > 0, 2.0, n)):
        compiled = fd.compile(f)
        for n in (0, 3, 0):
            assert compiled(X, n).tobytes() == np.asarray(f(X, n)).tobytes()


def test_a_compiled_function_is_copied_as_functions_are() -> None:
    compiled = fd.compile(lambda x: x * 2)
    compiled(np.ones(3))
    compiled(np.ones(3))
    assert copy.copy(compiled) is compiled
    assert copy.deepcopy({"f": compiled})["f"] is compiled


def test_a_file_whose_name_has_two_lines() -> None:
    names: dict[str, Any] = {}
    exec(compile("def f(x):\n    return x * 2 + 1\n", "two\nlines.py", "exec"), names)
    compiled, x = fd.compile(names["f"]), np.ones(3)
    assert all(np.array_equal(compiled(x), 2 * x + 1) for _ in range(3))
    assert "two lines.py:2" in compiled.source


@pytest.mark.parametrize("kind", [float, np.float64, np.array])
def test_a_group_leaves_numpy_its_choice_of_a_root_for_a_power(kind: Any) -> None:
    def f(x: Any, n: Any) -> Any:
        return x**n * 2.0

    x, compiled = np.linspace(0.5, 1.5, 70_000) + 1j, fd.compile(f)
    assert x.nbytes > fuse.LARGE
    compiled(x, kind(3.5))
    assert np.array_equal(compiled(x, kind(0.5)), f(x, kind(0.5)))


def test_derivatives_by_a_python_number_are_added_in_the_dtype_of_what_it_meets() -> None:
    x, y = np.array([0.1, 0.2], np.float32), np.array([1.3, 0.7, 1e-4], np.float32)

    def f(n: Any) -> Any:
        return (n * x).sum() + (n * y).sum()

    derivatives = fd.grad(f), fd.grad(lambda n: fd.grad(f)(n) * n), lambda n: fd.jvp(f, (n,), (0.3,)), fd.grad(lambda n: f(2.0 * n))
    for derivative in derivatives:
        expected, compiled = derivative(0.7), fd.compile(derivative)
        for _ in range(2):
            assert_trees_equal(compiled(0.7), expected, bits=True)


def test_a_check_of_a_view_looks_at_the_numbers_of_every_call() -> None:
    def f(x: Any) -> Any:
        sums = fd.numpy.cumsum(x * 2.0)
        checked(sums[-1:], test=lambda total: total > 0, error=lambda total: ValueError(f"the total is {total}"))
        return sums / 2.0

    compiled = fd.compile(f)
    for x in (np.ones(4), np.ones(4), np.full(4, 3.0)):
        np.testing.assert_array_equal(compiled(x), f(x))
    with pytest.raises(ValueError, match=r"the total is \[-8.\]"):
        compiled(-np.ones(4))


def test_constants_with_the_same_bits_and_layout_are_one() -> None:
    function = fd.compile(lambda x: (x + np.linspace(1, 2, 50)) * np.linspace(1, 2, 50) - np.arange(50.0) + np.arange(50.0)[::-1])
    function(np.zeros(50))
    assert function.source.count("constant float64[50]") == 3
    np.testing.assert_array_equal(function(np.zeros(50)), np.linspace(1, 2, 50) ** 2 - np.arange(50.0) + np.arange(50.0)[::-1])


def test_zeros_of_both_signs_are_two_constants() -> None:
    function = fd.compile(lambda x: (x * np.zeros(3), x * -np.zeros(3)))
    for _ in range(3):
        plus, minus = function(np.ones(3))
        assert not np.signbit(plus).any()
        assert np.signbit(minus).all()


@pytest.mark.parametrize("exponent", [0, 1, 2, -1])
def test_the_slope_of_a_power_has_the_same_zero_for_a_number_that_is_an_argument(exponent: int) -> None:
    slope = fd.grad(lambda x, n: np.sum(x**n))
    x = np.array([-1.0, 0.5, -0.0, 0.0, 2.0, np.nan, np.inf, -np.inf])
    with np.errstate(all="ignore"):
        assert_trees_equal(fd.compile(slope)(x, exponent), slope(x, exponent), bits=True)
