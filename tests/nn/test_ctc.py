"""The loss `ctc_loss`: probabilities that add up to 1, lengths, labels without an alignment, long sequences."""

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero.testing import assert_trees_close, assert_trees_equal

from ..laws.functions_losses import LOGITS, WORDS


def test_the_probabilities_of_all_sequences_of_labels_add_up_to_1() -> None:
    logits = np.random.default_rng(5).standard_normal((4, 3)) * 3
    total = 0.0
    for count in range(5):
        every = np.array(list(np.ndindex((2,) * count)), int).reshape(2**count, count) + 1
        total += np.exp(-F.ctc_loss(np.broadcast_to(logits, (len(every), 4, 3)), every, reduction="none")).sum()
    assert total == pytest.approx(1, abs=1e-12)


def test_ctc_of_logarithms_of_probabilities_is_that_of_logits_and_one_sequence_needs_no_batch() -> None:
    assert_trees_close(F.ctc_loss(F.log_softmax(LOGITS), WORDS), F.ctc_loss(LOGITS, WORDS), 1e-14)
    each = F.ctc_loss(LOGITS, WORDS, reduction="none")
    assert_trees_close([F.ctc_loss(x, w, reduction="sum") for x, w in zip(LOGITS, WORDS, strict=True)], list(each), 1e-14)
    assert_trees_close(fd.vmap(lambda x, w: F.ctc_loss(x, w, reduction="sum"))(LOGITS, WORDS), each, 1e-14)


def test_ctc_ignores_what_lies_beyond_the_lengths() -> None:
    lengths, counts = np.array([4, 2, 3]), np.array([2, 1, 0])
    spoilt = LOGITS.copy()
    spoilt[1, 2:], spoilt[2, 3:] = np.nan, np.inf
    labels = np.array([[1, 2], [2, -7], [99, 0]])
    value, gradient = fd.value_and_grad(F.ctc_loss)(spoilt, labels, lengths, counts)
    assert_trees_close(value, F.ctc_loss(LOGITS, WORDS * 0 + [[1, 2], [2, 1], [1, 1]], lengths, counts), 1e-14)
    assert np.isfinite(gradient).all()
    assert not gradient[1, 2:].any()
    assert not gradient[2, 3:].any()


def test_ctc_without_an_alignment_is_infinite_with_gradient_0() -> None:
    twice = np.array([[1, 1], [1, 2], [2, 2]])  # equal neighbours need a blank between them
    lengths = np.array([2, 2, 3])
    losses, pullback = fd.vjp(lambda x: F.ctc_loss(x, twice, lengths, reduction="none"), LOGITS)
    assert list(np.isinf(losses)) == [True, False, False]
    gradient = pullback(np.ones(3))[0]
    assert not gradient[0].any()
    assert np.isfinite(gradient).all()
    assert F.ctc_loss(LOGITS, twice, lengths) == np.inf
    finite_mean = F.ctc_loss(LOGITS, twice, lengths, zero_infinity=True)
    assert_trees_close(finite_mean, losses[1:].sum() / 2 / 3, 1e-14)
    assert_trees_close(F.ctc_loss(LOGITS, twice, lengths, mask=np.array([False, True, True])), losses[1:].mean() / 2, 1e-14)
    for steps, count, expected in ((0, 0, 0.0), (0, 1, np.inf), (1, 0, -F.log_softmax(LOGITS)[0, 0, 0])):
        assert F.ctc_loss(LOGITS[:1, :steps], WORDS[:1, :count]) == pytest.approx(expected)


def test_ctc_of_long_sequences_keeps_the_digits_of_float32() -> None:
    rng = np.random.default_rng(2)
    logits, labels = 5 * rng.standard_normal((2, 200, 12)), rng.integers(1, 12, (2, 50))
    exact, slope = fd.value_and_grad(F.ctc_loss)(logits, labels)
    value, gradient = fd.value_and_grad(F.ctc_loss)(logits.astype(np.float32), labels)
    np.testing.assert_allclose(value, exact, rtol=1e-6)
    np.testing.assert_allclose(gradient, slope, atol=2e-5 * abs(slope).max())
    compiled = fd.compile(fd.value_and_grad(F.ctc_loss))
    for _ in range(2):
        assert_trees_equal(compiled(logits, labels), (exact, slope), bits=True)
