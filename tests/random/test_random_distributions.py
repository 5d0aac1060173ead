"""The distributions of random numbers: moments, tails, frequencies, and no correlation between streams."""

import math
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import fdezero as fd
from fdezero import random
from fdezero.testing import keys

N = 200_000


def ks_distance(sample: Any, cdf: Any) -> float:
    """sqrt(n) times the largest difference between the empirical distribution and `cdf`."""
    at = cdf(np.sort(np.asarray(sample, np.float64)))
    steps = np.arange(len(at) + 1) / len(at)
    return float(max(np.max(steps[1:] - at), np.max(at - steps[:-1])) * math.sqrt(len(at)))


ERF = np.vectorize(math.erf)
LIMIT = 2.2  # exceeded with probability 2 exp(-2 * 2.2**2) = 1.3e-4


@pytest.mark.parametrize(("dtype", "kept"), [("float16", 11), ("float32", 24), ("float64", 53)])
def test_uniform_numbers_are_multiples_below_one(dtype: str, kept: int) -> None:
    drawn = random.uniform(random.key(11), N, dtype=dtype).astype(np.float64)
    assert 0 <= drawn.min() < 1e-3
    assert 0.999 < drawn.max() <= 1 - 2.0**-kept
    assert np.array_equal(drawn * 2.0**kept, np.floor(drawn * 2.0**kept))
    assert ks_distance(drawn + 2.0 ** -(kept + 1), lambda x: x) < LIMIT + (dtype == "float16")
    assert abs(drawn.mean() - 0.5 + 2.0 ** -(kept + 1)) < 5 * math.sqrt(1 / 12 / N)


def test_uniform_numbers_between_bounds_keep_the_dtype() -> None:
    drawn = random.uniform(random.key(11), (N,), -3, 5)
    assert drawn.dtype == np.float32
    assert drawn.min() >= -3
    assert drawn.max() <= 5
    assert ks_distance(drawn, lambda x: (x + 3) / 8) < LIMIT
    assert random.uniform(random.key(1), (2, 3), np.zeros((2, 1)), np.ones(3) * 2).dtype == np.float32


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal_numbers_have_the_moments_and_tails_of_the_normal_distribution(dtype: str) -> None:
    drawn = random.normal(random.key(12), (N,), dtype).astype(np.float64)
    assert np.isfinite(drawn).all()
    for power, moment in enumerate([0, 1, 0, 3, 0, 15], start=1):
        spread = math.sqrt(math.prod(range(1, 2 * power, 2)) / N)
        assert abs((drawn**power).mean() - moment) < 5 * spread
    assert ks_distance(drawn, lambda x: (1 + ERF(x / math.sqrt(2))) / 2) < LIMIT
    for threshold in (2.0, 3.0, 4.0):
        expected = N * math.erfc(threshold / math.sqrt(2))
        assert abs((abs(drawn) > threshold).sum() - expected) < 5 * math.sqrt(expected)
    assert abs(np.corrcoef(drawn[::2], drawn[1::2])[0, 1]) < 5 / math.sqrt(N / 2)
    assert abs(np.corrcoef(drawn[::2] ** 2, drawn[1::2] ** 2)[0, 1]) < 5 / math.sqrt(N / 2)


def test_the_extremes_of_the_bits_give_finite_normal_numbers() -> None:
    from fdezero.random.draws import box_muller

    ends = np.array([0, 0, 2**64 - 1, 2**64 - 1, 0, 2**63, 2**64 - 1, 0], np.uint64)
    drawn = box_muller(ends, shape=(8,), dtype=np.dtype(np.float64))
    assert np.isfinite(drawn).all()
    assert abs(drawn).max() == pytest.approx(math.sqrt(-2 * math.log(2.0**-53)))
    assert drawn[6] == 0


def test_streams_of_split_keys_are_not_correlated() -> None:
    parent = random.key(13)
    streams = [parent, *random.split(parent, 3), random.fold_in(parent, 0), random.fold_in(parent, 1), random.key(14)]
    table = np.corrcoef([random.normal(key, 20_000, "float64") for key in streams])
    assert abs(table - np.eye(len(streams))).max() < 5 / math.sqrt(20_000)
    bits = np.array([random.bits(key, 2000) for key in streams])
    for i in range(len(streams)):
        for j in range(i):
            same = np.unpackbits((~(bits[i] ^ bits[j])).view(np.uint8)).mean()
            assert abs(same - 0.5) < 5 * math.sqrt(0.25 / (64 * 2000))


@pytest.mark.parametrize("p", [0.0, 1e-4, 0.25, 0.5, 0.9, 1.0])
def test_bernoulli_draws_hit_their_probability_and_its_ends_exactly(p: float) -> None:
    drawn = random.bernoulli(random.key(15), p, (N,))
    assert drawn.dtype == bool
    assert abs(drawn.mean() - p) <= 5 * math.sqrt(p * (1 - p) / N)
    assert random.bernoulli(random.key(15), np.full(N, p)).tolist() == drawn.tolist()


def test_more_probable_draws_contain_less_probable_ones() -> None:
    key, p = random.key(16), np.linspace(0, 1, 6)[:, None]
    drawn = random.bernoulli(key, p, (6, 1)), [random.bernoulli(key, q, (500,)) for q in np.linspace(0, 1, 6)]
    assert drawn[0].shape == (6, 1)
    assert all((less <= more).all() for less, more in zip(drawn[1], drawn[1][1:], strict=False))


@given(keys(), st.floats(0, 1))
def test_keep_masks_have_the_probability_they_name(key: Any, keep: float) -> None:
    mask, kept = random.keep_mask(key, keep, (4096,))
    assert mask.dtype == bool
    assert kept * 65536 == round(kept * 65536)
    assert abs(kept - keep) <= (0.5 if round(keep * 65536) else 1) / 65536
    assert (kept > 0) == (keep > 0)
    assert mask.tolist() == (random.bits(key, 4096, "uint16") < kept * 65536).tolist()
    other, same = random.keep_mask(key, np.array(keep), (4096,))
    assert (other.tolist(), float(same)) == (mask.tolist(), kept)


def test_keep_masks_of_all_and_of_nothing() -> None:
    key = random.key(17)
    for keep in (1, 1.0, np.float32(1), np.array(1.0)):
        assert random.keep_mask(key, keep, N)[0].all()
    for keep in (0, 0.0, np.float32(0), np.array(0.0)):
        assert not random.keep_mask(key, keep, N)[0].any()
    x = np.ones(N)
    mask, kept = random.keep_mask(key, 0.3, N)
    assert abs((x * mask / kept).mean() - 1) < 5 * math.sqrt(0.7 / 0.3 / N)


@given(keys(), st.data(), st.sampled_from(["int8", "uint8", "int32", "uint32", "int64", "uint64"]))
def test_integers_are_the_high_words_of_products(key: Any, data: st.DataObject, dtype: str) -> None:
    ends = np.iinfo(dtype)
    low = data.draw(st.integers(int(ends.min), int(ends.max)))
    high = data.draw(st.integers(low + 1, int(ends.max) + 1))
    drawn = random.randint(key, (5,), low, high, dtype)
    assert drawn.dtype == dtype
    assert drawn.tolist() == [low + (int(word) * (high - low) >> 64) for word in random.bits(key, 5)]
    assert int(random.randint(key, (), low, high, dtype)) == drawn[0]


def test_integers_are_equally_likely() -> None:
    counts = np.bincount(random.randint(random.key(18), (N,), -3, 4) + 3, minlength=7)
    assert counts.sum() == N
    assert ((counts - N / 7) ** 2 / (N / 7)).sum() < 30  # chi squared with 6 degrees of freedom: beyond 30 once in 25,000
    whole = random.randint(random.key(18), (N,), -(2**63), 2**63)
    assert abs(whole.astype(np.float64).mean() / 2**63) < 5 / math.sqrt(3 * N)


@given(keys(), st.integers(0, 30))
def test_permutations_are_permutations(key: Any, n: int) -> None:
    order = random.permutation(key, n)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(n))
    assert order.tolist() == np.argsort(random.bits(key, n), kind="stable").tolist()
    x = np.arange(3 * n).reshape(n, 3)
    assert random.permutation(key, x).tolist() == x[order].tolist() or n == 0


def test_every_order_is_equally_likely() -> None:
    orders = fd.vmap(lambda key: random.permutation(key, 3))(random.split(random.key(19), 6000))
    counts = np.unique(orders @ np.array([9, 3, 1]), return_counts=True)[1]
    assert len(counts) == 6
    assert ((counts - 1000) ** 2 / 1000).sum() < 28


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize("p", [None, [0.0, 1.0, 3.0, 0.0, 4.0]])
def test_choices_follow_their_weights(replace: bool, p: Any) -> None:
    first = fd.vmap(lambda key: random.choice(key, 5, (2,), replace, p))(random.split(random.key(20), 20_000))
    weights = np.ones(5) / 5 if p is None else np.array(p) / sum(p)
    counts = np.bincount(first[:, 0], minlength=5)
    assert (counts[weights == 0] == 0).all()
    assert (abs(counts / 20_000 - weights) <= 5 * np.sqrt(weights * (1 - weights) / 20_000)).all()
    assert replace == bool((first[:, 0] == first[:, 1]).any())
    if not replace:
        given_first = weights[:, None] * np.where(np.eye(5), 0, weights) / (1 - weights)[:, None]
        second = np.bincount(first[:, 1], minlength=5) / 20_000
        assert (abs(second - given_first.sum(0)) <= 5 * np.sqrt(0.25 / 20_000)).all()


def test_choices_from_arrays_take_rows() -> None:
    rows = np.arange(10.0).reshape(5, 2)
    key = random.key(21)
    assert random.choice(key, rows, (3, 4)).shape == (3, 4, 2)
    assert random.choice(key, rows).tolist() == rows[random.choice(key, 5)].tolist()
    assert fd.grad(lambda x: (random.choice(key, x, (7,)) ** 2).sum() / 2)(rows).sum() == random.choice(key, rows, (7,)).sum()




@pytest.mark.parametrize("axis", [0, 1, -1, -2, -3])
def test_an_axis_is_permuted_or_drawn_from_as_numpy_takes_it(axis: int) -> None:
    key, x = random.key(19), np.arange(24).reshape(2, 4, 3)
    order = random.permutation(key, x.shape[axis])
    assert np.array_equal(random.permutation(key, x, axis), np.take(x, order, axis))
    for options in ({}, {"p": np.arange(1, x.shape[axis] + 1)}):
        for shape in ((), (5,), (2, 2)):
            drawn = random.choice(key, x.shape[axis], shape, **options)
            assert np.array_equal(random.choice(key, x, shape, axis=axis, **options), np.take(x, drawn, axis))
    few = random.choice(key, x.shape[axis], (2,), replace=False)
    assert np.array_equal(random.choice(key, x, 2, replace=False, axis=axis), np.take(x, few, axis))
    with pytest.raises(np.exceptions.AxisError):
        random.permutation(key, x, 3)
