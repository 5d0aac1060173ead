"""Schedules: each against its formula in plain Python, PyTorch and optax; pure, compiled, mapped, pickled; errors."""

import math
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import fdezero as fd
from fdezero import optim
from fdezero.errors import DTypeError, RangeError, StructureError
from fdezero.optim import schedules as S
from fdezero.testing import assert_trees_equal


class Row(NamedTuple):
    """A schedule, its rates in plain Python, and other settings of the same class if it has numbers."""

    schedule: Any
    formula: Callable[[int], float]
    other: Any = None


def half_wave(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def restarts(start: float, end: float, length: int, longer: int, factor: float, step: int) -> float:
    while step >= length:
        step, length, start = step - length, length * longer, start * factor
    return half_wave(start, end, step / length)


def one_cycle(step: int) -> float:
    top, last = 0.3 * 20 - 1, 19
    return half_wave(0.5 / 25, 0.5, step / top) if step <= top else half_wave(0.5, 0.5 / 25 / 1e4, min((step - top) / (last - top), 1))


def drops(step: int) -> float:
    return 0.1 if step < 3 else 0.05 if step < 7 else 0.001


ROWS: dict[str, Row] = {
    "constant": Row(S.constant(0.1), lambda k: 0.1, S.constant(0.2)),
    "linear": Row(S.linear(0.1, 0.02, 8), lambda k: 0.1 - 0.08 * min(k / 8, 1), S.linear(0.3, 0.1, 9)),
    "polynomial": Row(S.polynomial(0.1, 0.01, 8, 2.0), lambda k: 0.01 + 0.09 * (1 - min(k / 8, 1)) ** 2, S.polynomial(1.0, 0.5, 9, 3.0)),
    "step": Row(S.step(0.1, 3, 0.5), lambda k: 0.1 * 0.5 ** (k // 3), S.step(0.2, 4, 0.1)),
    "exponential": Row(S.exponential(0.1, 0.9), lambda k: 0.1 * 0.9**k, S.exponential(0.3, 0.8)),
    "exponential with an end": Row(S.exponential(0.1, 0.5, 2, end=0.02), lambda k: max(0.1 * 0.5 ** (k / 2), 0.02), S.exponential(0.1, 1.5, 2, end=0.3)),
    "exponential that grows": Row(S.exponential(0.1, 2, end=1.0), lambda k: min(0.1 * 2**k, 1.0)),
    "cosine": Row(S.cosine(0.1, 8, 0.01), lambda k: half_wave(0.1, 0.01, min(k / 8, 1)), S.cosine(0.2, 3, 0.1)),
    "cosine_restarts": Row(S.cosine_restarts(0.1, 4, 0.01), lambda k: restarts(0.1, 0.01, 4, 1, 1.0, k), S.cosine_restarts(1.0, 5, 0.1)),
    "cosine_restarts that grow": Row(S.cosine_restarts(0.1, 2, 0.01, 3, 0.5), lambda k: restarts(0.1, 0.01, 2, 3, 0.5, k)),
    "inverse_sqrt": Row(S.inverse_sqrt(0.1, 5), lambda k: 0.1 * min((k + 1) / 5, math.sqrt(5 / (k + 1))), S.inverse_sqrt(0.3, 2)),
    "one_cycle": Row(S.one_cycle(0.5, 20), one_cycle, S.one_cycle(0.1, 30)),
    "warmup": Row(S.warmup(4, S.step(0.1, 3)), lambda k: 0.1 * k / 4 if k < 4 else 0.1 * 0.1 ** ((k - 4) // 3), S.warmup(3, S.step(0.2, 4))),
    "warmup to a constant": Row(S.warmup(4, 0.1, 0.02), lambda k: 0.02 + 0.08 * min(k / 4, 1)),
    "warmup of no steps": Row(S.warmup(0, 0.1), lambda k: 0.1),
    "join": Row(
        S.join([0.3, S.linear(0.1, 0.2, 4), S.exponential(0.2, 0.5)], [3, 9]),
        lambda k: 0.3 if k < 3 else 0.1 + 0.1 * min((k - 3) / 4, 1) if k < 9 else 0.2 * 0.5 ** (k - 9),
    ),
    "piecewise": Row(S.piecewise({0: 0.1, 3: 0.05, 7: 0.001}), drops, S.piecewise({0: 0.2, 3: 0.1, 7: 0.05})),
}
law = pytest.mark.parametrize("name", ROWS)
STEPS = range(30)


def test_the_table_has_every_schedule() -> None:
    assert {name.split()[0] for name in ROWS} == set(S.__all__) - {"Schedule"}


@law
def test_rates_are_those_of_the_formula(name: str) -> None:
    schedule, formula, _ = ROWS[name]
    expected = [formula(k) for k in STEPS]
    for kind in (int, np.int64, np.asarray):
        np.testing.assert_allclose([float(schedule(kind(k))) for k in STEPS], expected, rtol=1e-12, atol=1e-17)


@law
def test_compiled_and_mapped_rates_have_the_bits_of_eager_ones(name: str) -> None:
    schedule = ROWS[name].schedule
    compiled = fd.compile(lambda k: schedule(k) * np.float64(1), max_recordings=1)
    rates = [np.float64(schedule(np.int64(k))) for k in STEPS]
    assert [compiled(np.int64(k)) for k in STEPS] == rates
    if name != "constant":
        np.testing.assert_allclose(fd.vmap(schedule)(np.arange(30)), rates, rtol=1e-14)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.other is not None])
def test_settings_are_data_so_one_recording_serves_all(name: str) -> None:
    rate = fd.compile(lambda schedule, k: schedule(k) * np.float64(1), max_recordings=1)
    for schedule in (ROWS[name].schedule, ROWS[name].other):
        for k in STEPS:
            np.testing.assert_allclose(rate(schedule, np.int64(k)), float(schedule(k)), rtol=1e-14)


@law
def test_text_is_code_and_schedules_pickle(name: str) -> None:
    schedule = ROWS[name].schedule
    for again in (eval(repr(schedule), vars(S)), pickle.loads(pickle.dumps(schedule))):
        assert repr(again) == repr(schedule)
        assert [again(k) for k in STEPS] == [schedule(k) for k in STEPS]


@law
def test_an_optimiser_takes_the_rates_in_their_order(name: str) -> None:
    opt, formula = optim.sgd(ROWS[name].schedule), ROWS[name].formula
    step = fd.compile(lambda p, s: opt.step(p, p * 0 + 1, s), max_recordings=1)
    eager = compiled = (np.zeros(2), opt.init(np.zeros(2)))
    assert optim.inspect(eager[1]) == {"step": 0, "rate": pytest.approx(formula(0), rel=1e-12)}
    for k in range(12):
        before = eager[0]
        eager, compiled = opt.step(eager[0], np.ones(2), eager[1]), step(*compiled)
        assert_trees_equal(eager, compiled, bits=True)
        np.testing.assert_allclose(before - eager[0], formula(k), rtol=1e-9, atol=1e-15)
        assert optim.inspect(eager[1]) == {"step": k + 1, "rate": pytest.approx(formula(k), rel=1e-12)}


@law
def test_a_state_on_a_gpu_meets_the_same_rates(name: str, gpu: Any) -> None:
    opt, p = optim.adam(ROWS[name].schedule), np.ones(2)
    there = fd.to_device((p, opt.init(p)), "gpu")  # all of it, also the number of steps
    closed = fd.compile(lambda p, s: opt.step(p, p, s))
    given = fd.compile(lambda opt, p, s: opt.step(p, p, s))
    here = (p, opt.init(p))
    ways = {"eager": there, "compiled": there, "an argument": there}
    for _ in range(3):
        here = opt.step(here[0], here[0], here[1])
        ways["eager"] = opt.step(ways["eager"][0], *ways["eager"])
        ways["compiled"] = closed(*ways["compiled"])
        ways["an argument"] = given(opt, *ways["an argument"])
    for found in ways.values():
        assert fd.device_of(found[0]) == "gpu:0"
        np.testing.assert_allclose(fd.to_numpy(found[0]), here[0], rtol=1e-9)


def test_cycles_begin_where_they_should_however_long_they_are() -> None:
    for first, longer in ((3, 2), (10, 2), (7, 3), (1000, 2), (5, 10)):
        schedule, begin, length = S.cosine_restarts(1.0, first, longer=longer), 0, first
        while begin < 10**7:
            assert float(schedule(begin)) == 1.0, (first, longer, begin)
            if begin - 1 > first:
                assert float(schedule(begin - 1)) < 0.9
            begin, length = begin + length, length * longer


# Other libraries


def of_torch(make: Callable[[Any, Any], Any], lr: float = 0.1, steps: int = 30) -> list[float]:
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))], lr=lr)
    scheduler, rates = make(torch.optim.lr_scheduler, optimizer), []
    for _ in range(steps):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return rates


TORCH: dict[str, tuple[Any, Callable[[Any, Any], Any], int]] = {
    "StepLR": (S.step(0.1, 4, 0.3), lambda t, o: t.StepLR(o, 4, 0.3), 30),
    "MultiStepLR": (S.piecewise({0: 0.1, 3: 0.01, 9: 0.001}), lambda t, o: t.MultiStepLR(o, [3, 9], 0.1), 30),
    "ConstantLR": (S.piecewise({0: 0.05, 5: 0.1}), lambda t, o: t.ConstantLR(o, 0.5, 5), 30),
    "LinearLR": (S.linear(0.1 / 3, 0.1, 5), lambda t, o: t.LinearLR(o), 30),
    "ExponentialLR": (S.exponential(0.1, 0.8), lambda t, o: t.ExponentialLR(o, 0.8), 30),
    "PolynomialLR": (S.polynomial(0.1, 0.0, 12, 2.0), lambda t, o: t.PolynomialLR(o, 12, 2.0), 30),
    "CosineAnnealingLR": (S.cosine(0.1, 12, 0.01), lambda t, o: t.CosineAnnealingLR(o, 12, 0.01), 13),
    "CosineAnnealingWarmRestarts": (S.cosine_restarts(0.1, 3, 0.01, 2), lambda t, o: t.CosineAnnealingWarmRestarts(o, 3, 2, 0.01), 30),
    "OneCycleLR": (S.one_cycle(0.1, 30), lambda t, o: t.OneCycleLR(o, 0.1, 30), 30),
    "SequentialLR": (
        S.join([S.linear(0.1 / 3, 0.1, 5), S.exponential(0.1, 0.9)], [5]),
        lambda t, o: t.SequentialLR(o, [t.LinearLR(o), t.ExponentialLR(o, 0.9)], [5]),
        30,
    ),
}


@pytest.mark.filterwarnings("ignore:The epoch parameter")  # PyTorch's own, within SequentialLR
@pytest.mark.parametrize("name", TORCH)
def test_rates_are_pytorchs(name: str) -> None:
    ours, make, steps = TORCH[name]
    np.testing.assert_allclose([float(ours(k)) for k in range(steps)], of_torch(make, steps=steps), rtol=1e-9, atol=1e-12)


def test_rates_are_optaxs() -> None:
    optax, jax = pytest.importorskip("optax"), pytest.importorskip("jax")
    with jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64():
        rows = {
            "exponential": (S.exponential(0.1, 0.5, 3, end=0.01), optax.exponential_decay(0.1, 3, 0.5, end_value=0.01)),
            "polynomial": (S.polynomial(0.1, 0.01, 9, 3.0), optax.polynomial_schedule(0.1, 0.01, 3.0, 9)),
            "cosine": (S.cosine(0.1, 9, 0.01), optax.cosine_decay_schedule(0.1, 9, 0.1)),
            "warmup": (S.warmup(5, S.cosine(0.1, 9)), optax.warmup_cosine_decay_schedule(0.0, 0.1, 5, 14)),
            "join": (S.join([S.linear(0, 0.1, 4), S.cosine(0.1, 9)], [4]),
                     optax.join_schedules([optax.linear_schedule(0, 0.1, 4), optax.cosine_decay_schedule(0.1, 9)], [4])),
            "piecewise": (S.piecewise({0: 0.1, 4: 0.01}), optax.piecewise_constant_schedule(0.1, {4: 0.1})),
        }  # fmt: skip
        for name, (ours, theirs) in rows.items():
            np.testing.assert_allclose([float(ours(k)) for k in STEPS], [float(theirs(k)) for k in STEPS], rtol=1e-6, err_msg=name)


# Errors


def falls_apart(step: Any) -> Any:
    return fd.numpy.where(step < 3, 0.1, np.nan)


@pytest.mark.parametrize("how", ["eager", "compiled", "in a chain", "mapped"])
def test_a_schedule_that_gives_nan_is_an_error_with_its_place(how: str) -> None:
    opt = optim.adam(falls_apart) if how != "in a chain" else optim.chain(optim.clip(1.0), optim.accumulate(optim.sgd(falls_apart), 1))
    step, p = opt.step if how in ("eager", "in a chain") else fd.compile(opt.step), np.ones(3)
    state = opt.init(p)
    for _ in range(3):
        p, state = step(p, p, state)
    if how == "mapped":
        states = fd.tree.map(lambda leaf: np.stack([leaf, leaf]), state)
        with pytest.raises(RangeError, match=r"falls_apart \(test_schedules.py:\d+\) gives NaN or an infinity as the rate of step 3; a rate is"):
            fd.vmap(lambda state: opt.step(p, p, state))(states)
        return
    with pytest.raises(RangeError, match=r"the schedule falls_apart \(test_schedules.py:\d+\) gives (nan|NaN or an infinity) as the rate of step 3"):
        step(p, p, state)


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: S.warmup(0.1, 500), RangeError, r"warmup: steps is a number of steps, got 0.1. The order is warmup\(steps, then\)"),
        (lambda: S.cosine(0.1, 0), RangeError, "cosine: steps is a number >= 1; got 0"),
        (lambda: S.cosine("0.1", 10), DTypeError, "cosine: start is a number; got '0.1'"),
        (lambda: S.cosine_restarts(0.1, 10, longer=1.5), RangeError, "cosine_restarts: longer is a whole number >= 1; got 1.5"),
        (lambda: S.warmup(10, None), DTypeError, "warmup: then is a number or a schedule"),
        (lambda: S.join([0.1, 0.2], [3, 5]), StructureError, "join: 2 schedules have 1 boundaries between them; got 2"),
        (lambda: S.join([0.1, "0.2"], [3]), DTypeError, "join: a part is a number or a schedule"),
        (lambda: S.join([0.1, 0.2, 0.3], [5, 3]), RangeError, r"boundaries are numbers of steps that grow, such as \(1000, 2000\); got \(5, 3\)"),
        (lambda: S.piecewise({10: 0.1}), StructureError, "piecewise: say the rate from each step on, and begin with step 0"),
        (lambda: S.piecewise({0: 0.1, 5: None}), DTypeError, "piecewise: the rate from step 5 on is a number; got None"),
        (lambda: S.one_cycle(0.1, 1), RangeError, "one_cycle: steps is a number >= 2; got 1"),
        (lambda: S.one_cycle(0.1, 100, 1.5), RangeError, "one_cycle: rise is a number >= 0 and <= 1; got 1.5"),
        (lambda: optim.sgd(S.cosine), DTypeError, "sgd: lr is a number or a schedule, a function of the step; got cosine"),
        (lambda: optim.sgd(lambda step: np.ones(3)).init(np.ones(2)), DTypeError, r"gives float64\[3\] for a step; a rate is a number"),
        (lambda: optim.sgd(lambda step: None).init(np.ones(2)), DTypeError, "gives NoneType for a step; a rate is a number"),
    ],
)
def test_settings_that_make_no_sense_are_named(make: Any, kind: Any, words: str) -> None:
    with pytest.raises(kind, match=words):
        make()


def test_a_schedule_of_ones_own_is_a_class_with_settings() -> None:
    class Halved(S.Schedule):
        start: float
        every: int = 10

        def __call__(self, step: Any) -> Any:
            return self.start * 0.5 ** (step // self.every)

    assert repr(optim.sgd(Halved(0.1))) == "sgd(lr=Halved(start=0.1, every=10))"
    assert Halved(0.1)(25) == 0.025
    with pytest.raises(NotImplementedError, match="Schedule needs a method __call__"):
        S.Schedule()(3)
