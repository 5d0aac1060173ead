"""Losses: reductions, masks, weights, nothing to average, extreme numbers, errors, PyTorch; laws/functions_losses.py has their formulas."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import numpy as fnp
from fdezero.errors import DTypeError, RangeError, ShapeError
from fdezero.functions import classification, ctc, distances, losses
from fdezero.testing import assert_trees_close, assert_trees_equal

from ..laws.functions_losses import (
    IMAGES,
    LABELS,
    LABELS_OF_IMAGES,
    LOGITS,
    MASK,
    ROWS,
    SIGNS,
    TARGETS,
    VECTORS,
    WEIGHT,
    WORDS,
    P,
    Q,
    T,
    X,
    Y,
)

# Every loss as a function of its predictions and options, with one value for each of the four examples
BY_ENTRY: dict[str, tuple[Callable[..., Any], np.ndarray]] = {
    "mean_squared_error": (lambda x, **o: F.mean_squared_error(x, Y, **o), X), "l1_loss": (lambda x, **o: F.l1_loss(x, Y, **o), X),
    "huber_loss": (lambda x, **o: F.huber_loss(x, Y, **o), X), "smooth_l1_loss": (lambda x, **o: F.smooth_l1_loss(x, Y, **o), X),
    "hinge_loss": (lambda x, **o: F.hinge_loss(x, SIGNS, **o), X), "poisson_nll_loss": (lambda x, **o: F.poisson_nll_loss(x, TARGETS, **o), X),
    "gaussian_nll_loss": (lambda x, **o: F.gaussian_nll_loss(x, Y, P, **o), X),
    "sigmoid_cross_entropy": (lambda x, **o: F.sigmoid_cross_entropy(x, P, **o), X),
    "binary_cross_entropy": (lambda x, **o: F.binary_cross_entropy(x, TARGETS, **o), P),
    "sigmoid_focal_loss": (lambda x, **o: F.sigmoid_focal_loss(x, TARGETS, **o), X),
}  # fmt: skip
BY_ROW: dict[str, tuple[Callable[..., Any], np.ndarray]] = {
    "softmax_cross_entropy": (lambda x, **o: F.softmax_cross_entropy(x, LABELS, **o), X), "nll_loss": (lambda x, **o: F.nll_loss(x, LABELS, **o), Q),
    "label_smoothing": (lambda x, **o: F.softmax_cross_entropy(x, LABELS, label_smoothing=0.2, **o), X),
    "multi_margin_loss": (lambda x, **o: F.multi_margin_loss(x, LABELS, **o), X), "kl_divergence": (lambda x, **o: F.kl_divergence(x, T, **o), Q),
    "cosine_embedding_loss": (lambda x, **o: F.cosine_embedding_loss(x, VECTORS[1], SIGNS[:, 0], **o), VECTORS[0]),
    "triplet_margin_loss": (lambda x, **o: F.triplet_margin_loss(x, VECTORS[1], VECTORS[2], **o), VECTORS[0]),
    "ctc_loss": (lambda x, **o: F.ctc_loss(x, np.ones((4, 1), int), **o), np.concatenate([LOGITS, LOGITS[:1]])),
}  # fmt: skip
EVERY = {**{name: (*row, MASK) for name, row in BY_ENTRY.items()}, **{name: (*row, ROWS) for name, row in BY_ROW.items()}}
PUBLIC = {*losses.__all__, *classification.__all__, *distances.__all__, *ctc.__all__}


def test_every_loss_stands_in_the_table() -> None:
    assert {name for name in EVERY if name != "label_smoothing"} == PUBLIC - {"accuracy", "cosine_similarity"}


@pytest.mark.parametrize("name", EVERY)
def test_reductions_and_masks_fit_together(name: str) -> None:
    loss, x, mask = EVERY[name]
    each = loss(x, reduction="none")
    assert each.shape == mask.shape
    assert_trees_close(loss(x), each.mean(), 1e-14)
    assert_trees_close(loss(x, reduction="sum"), each.sum(), 1e-14)
    assert_trees_close(loss(x, mask=mask, reduction="none"), np.where(mask, each, 0), 1e-14)
    assert_trees_close(loss(x, mask=mask), each[mask].mean(), 1e-14)
    assert_trees_close(loss(x, mask=mask, reduction="sum"), each[mask].sum(), 1e-14)
    assert_trees_equal(fd.compile(loss)(x, mask=mask), loss(x, mask=mask), bits=True)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("lost", [np.nan, np.inf, -np.inf])
def test_what_is_masked_out_reaches_neither_the_loss_nor_a_gradient(name: str, lost: float) -> None:
    loss, x, mask = EVERY[name]
    out = ~mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim)) & np.ones(x.shape, bool)
    spoilt = np.where(out, lost, x)
    for function in (lambda x: loss(x, mask=mask), lambda x: fnp.sum(fd.grad(lambda x: loss(x, mask=mask))(x) * np.cos(x.shape[0]))):
        value, gradient = fd.value_and_grad(function)(spoilt)
        expected_value, expected = fd.value_and_grad(function)(x)
        assert_trees_close((value, gradient), (expected_value, expected), 1e-13)
        assert not gradient[out].any()


@pytest.mark.parametrize("name", EVERY)
def test_the_mean_of_nothing_is_0_and_so_is_its_gradient(name: str) -> None:
    loss, x, mask = EVERY[name]
    for nothing in (np.zeros_like(mask), np.zeros((1,) * mask.ndim, bool)):
        value, gradient = fd.value_and_grad(lambda x, m=nothing: loss(x, mask=m))(np.full_like(x, np.nan))
        assert value == 0
        assert not gradient.any()


EMPTY: dict[str, Callable[[Any], Any]] = {
    "softmax_cross_entropy": lambda **o: F.softmax_cross_entropy(X[:0], LABELS[:0], **o), "nll_loss": lambda **o: F.nll_loss(X[:0], LABELS[:0], **o),
    "weighted": lambda **o: F.softmax_cross_entropy(X[:0], LABELS[:0], weight=WEIGHT, **o), "mean_squared_error": lambda **o: F.mean_squared_error(X[:0], Y[:0], **o),
    "smooth": lambda **o: F.softmax_cross_entropy(X[:0], LABELS[:0], label_smoothing=0.1, **o), "l1_loss": lambda **o: F.l1_loss(X[:0], Y[:0], **o),
    "kl_divergence": lambda **o: F.kl_divergence(Q[:0], T[:0], **o), "sigmoid_cross_entropy": lambda **o: F.sigmoid_cross_entropy(X[:0], Y[:0], **o),
    "ctc_loss": lambda **o: F.ctc_loss(LOGITS[:0], WORDS[:0], **o), "triplet_margin_loss": lambda **o: F.triplet_margin_loss(*VECTORS[:, :0], **o),
    "cosine_embedding_loss": lambda **o: F.cosine_embedding_loss(*VECTORS[:2, :0], SIGNS[:0, 0], **o),
}  # fmt: skip


@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_batch_has_loss_0(name: str) -> None:
    assert EMPTY[name]() == 0
    assert EMPTY[name](reduction="sum") == 0
    assert EMPTY[name](reduction="none").size == 0


def test_the_mean_with_weights_divides_by_the_weights_of_the_labels() -> None:
    rows = F.softmax_cross_entropy(X, LABELS, reduction="none")
    assert_trees_close(F.softmax_cross_entropy(X, LABELS, weight=WEIGHT), (rows * WEIGHT[LABELS]).sum() / WEIGHT[LABELS].sum(), 1e-14)
    assert_trees_close(F.softmax_cross_entropy(X, LABELS, weight=2 * WEIGHT), F.softmax_cross_entropy(X, LABELS, weight=WEIGHT), 1e-14)
    assert F.softmax_cross_entropy(X, LABELS, weight=np.zeros(3)) == 0  # nothing has weight: 0, not 0 / 0
    margins = F.multi_margin_loss(X, LABELS, reduction="none")
    assert_trees_close(F.multi_margin_loss(X, LABELS, weight=WEIGHT), (margins * WEIGHT[LABELS]).mean(), 1e-14)


def test_an_ignored_label_may_lie_anywhere_and_joins_the_mask() -> None:
    part = np.array([True, True, False, True])
    for index in (-100, 255, 1):
        labels = np.where(ROWS, LABELS, index)
        kept = labels != index
        for loss in (F.softmax_cross_entropy, F.nll_loss, F.multi_margin_loss):
            expected = loss(X[kept], labels[kept])
            assert_trees_close(loss(X, labels, ignore_index=index), expected, 1e-14)
            assert_trees_close(fd.compile(loss)(X, labels, ignore_index=index), expected, 1e-14)
            assert_trees_close(loss(X, labels, ignore_index=index, mask=part), loss(X[kept & part], labels[kept & part]), 1e-14)
    assert_trees_close(F.softmax_cross_entropy(X, np.array([2, 255, 1, 2], np.uint8), ignore_index=255), F.softmax_cross_entropy(X[[0, 2, 3]], LABELS[[0, 2, 3]]), 1e-14)
    with pytest.raises(RangeError, match=r"between -100 and 2, but there are 3 classes. The first wrong one is -100, at index \(1,\)"):
        F.softmax_cross_entropy(X, np.array([2, -100, 1, 2]), ignore_index=-1)


def test_logits_of_images_have_their_classes_on_axis_1() -> None:
    last = np.moveaxis(IMAGES, 1, -1)
    for axis in (1, -3):
        assert_trees_equal(F.softmax_cross_entropy(IMAGES, LABELS_OF_IMAGES, axis=axis), F.softmax_cross_entropy(last, LABELS_OF_IMAGES))
    with pytest.raises(RangeError, match=r"The first wrong one is 7, at index \(1, 0, 1\)"):
        F.softmax_cross_entropy(IMAGES, fd.at(LABELS_OF_IMAGES)[1, 0, 1].set(7), axis=1)


def test_smoothing_mixes_with_the_uniform_distribution() -> None:
    uniform = F.kl_divergence(F.log_softmax(X), np.full((4, 3), 1 / 3)) + np.log(3)
    for a in (0.0, 0.1, 1.0):
        assert_trees_close(F.softmax_cross_entropy(X, LABELS, label_smoothing=a), (1 - a) * F.softmax_cross_entropy(X, LABELS) + a * uniform, 1e-14)


# Extreme numbers


def finite(function: Callable[[Any], Any], x: np.ndarray) -> tuple[Any, Any]:
    """The value and gradient, which are finite, as are second derivatives."""
    value, gradient = fd.value_and_grad(function)(x)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    assert np.isfinite(fd.grad(lambda x: fnp.sum(fd.grad(function)(x) * np.cos(np.arange(x.size)).reshape(x.shape).astype(x.dtype)))(x)).all()
    return value, gradient


def test_sure_logits_have_the_margin_as_loss() -> None:
    x = np.array([[1e4, -1e4, 0], [-1e4, 1e4, 0]], np.float32)
    right, wrong = np.array([0, 1]), np.array([1, 0])
    assert finite(lambda x: F.softmax_cross_entropy(x, right, weight=WEIGHT), x)[0] == 0
    assert finite(lambda x: F.softmax_cross_entropy(x, wrong, weight=WEIGHT), x)[0] == 2e4
    np.testing.assert_allclose(finite(lambda x: F.softmax_cross_entropy(x, wrong, label_smoothing=0.3), x)[0], 0.7 * 2e4 + 0.1 * 3e4, rtol=1e-6)
    assert finite(lambda x: F.multi_margin_loss(x, wrong), x)[0] == pytest.approx((20001 + 10001) / 3)
    hot = np.eye(3)[wrong]
    assert finite(lambda x: F.sigmoid_cross_entropy(x, hot, pos_weight=2.0), x)[0] == pytest.approx((3e4 * 2 + 2 * np.log(2)) / 6)
    value, gradient = finite(lambda x: F.sigmoid_focal_loss(x, hot, alpha=None), x)
    assert value == pytest.approx((4e4 + 2 * np.log(2) / 4) / 6)
    assert_trees_equal(np.sign(gradient), np.array([[1, -1, 1], [-1, 1, 1]], np.float32))
    assert finite(lambda x: F.sigmoid_focal_loss(x, np.eye(3)[right], gamma=0.5), x)[0] < 0.2
    assert finite(lambda x: F.huber_loss(x, -x * 0), x)[0] == pytest.approx((4e4 - 2) / 6)
    assert finite(lambda x: F.hinge_loss(x, 2 * hot - 1), x)[0] == pytest.approx((4 * 10001 + 2) / 6)
    assert finite(lambda x: F.ctc_loss(x[None], np.array([[2]])), x)[0] == pytest.approx(1e4)
    assert F.huber_loss(np.array([3e38], np.float32), np.array([-1e20], np.float32)) == np.float32(3e38)  # its square is infinite
    masked = np.array([[0.0, -np.inf, 1.0]])  # a class that cannot be
    assert finite(lambda x: F.softmax_cross_entropy(x, np.array([0])), masked)[0] == pytest.approx(np.log(1 + np.e))
    assert np.isfinite(F.softmax_cross_entropy(masked, np.array([0]), weight=np.array([1.0, 0, 1]), label_smoothing=0.1))
    assert F.softmax_cross_entropy(masked, np.array([1])) == np.inf


def test_probabilities_0_and_1() -> None:
    value, gradient = fd.value_and_grad(F.binary_cross_entropy)(np.array([0.0, 1.0]), np.array([0, 1]), weight=np.array([2.0, 3.0]))
    assert value == 0
    assert np.isfinite(gradient).all()
    q = np.array([[0.0, -np.inf, -np.inf]])  # sure, and right
    assert_trees_equal(fd.value_and_grad(F.kl_divergence)(q, np.array([[1.0, 0.0, 0.0]])), (np.float64(0), np.array([[-1.0, 0, 0]])))
    assert F.kl_divergence(q, np.array([[0.5, 0.5, 0.0]])) == np.inf
    assert F.kl_divergence(q, np.array([[0.0, -np.inf, -np.inf]]), log_target=True) == 0
    assert fd.grad(F.kl_divergence, 1)(np.log(T), T)[0] == pytest.approx(0.25)  # (log t + 1 - log t) / 4 distributions
    assert_trees_equal(fd.value_and_grad(F.nll_loss)(q, np.array([0])), (np.float64(0), np.array([[-1.0, 0, 0]])))


def test_a_variance_below_eps_counts_as_eps_and_can_grow() -> None:
    by_variance = fd.value_and_grad(lambda v: F.gaussian_nll_loss(np.array([1.0]), np.array([3.0]), v))
    value, gradient = by_variance(np.array([0.0]))
    assert value == pytest.approx(0.5 * (np.log(1e-6) + 4e6))
    assert gradient[0] == pytest.approx(0.5 * (1e6 - 4e12))
    assert by_variance(np.array([1e-6]))[1][0] == pytest.approx(gradient[0])
    with pytest.raises(RangeError, match=r"a variance must not be negative, got -0.5 at index \(0,\)"):
        by_variance(np.array([-0.5]))


def test_cosines_of_large_tiny_and_zero_vectors() -> None:
    a, b = np.array([3.0, -1.0, 2.0]), np.array([1.0, 2.0, 0.5])
    exact = a @ b / np.sqrt((a @ a) * (b @ b))
    slope = (b / np.sqrt(b @ b) - exact * a / np.sqrt(a @ a)) / np.sqrt(a @ a)
    for size in (1e-30, 1e-10, 1.0, 1e20, 1e37):
        x = (size * a).astype(np.float32)
        value, gradient = fd.value_and_grad(lambda x: F.cosine_similarity(x, b.astype(np.float32), eps=1e-36))(x)
        np.testing.assert_allclose(value, exact, rtol=1e-6)
        np.testing.assert_allclose(gradient * np.float32(size), slope, rtol=1e-4, atol=1e-6)
    zero = fd.value_and_grad(F.cosine_similarity)(np.zeros(3), b)
    assert_trees_close(zero, (np.float64(0), b / np.sqrt(b @ b) / 1e-8), 1e-14)
    assert F.cosine_similarity(1e-12 * a, b) == pytest.approx(exact * np.sqrt(a @ a) * 1e-12 / 1e-8)  # shorter than eps
    linear = lambda a, b: np.sum(a * b) / (1e-8 * np.sqrt(np.sum(b * b)))  # what the cosine is below eps
    for argnums in (0, 1):
        mixed = [fd.jacobian(fd.grad(f, argnums=argnums), argnums=(0, 1))(np.zeros(3), b) for f in (F.cosine_similarity, linear)]
        assert_trees_close(*mixed, 1e-12)
    np.testing.assert_allclose(fd.hessian(F.cosine_similarity)(a, b), fd.jacobian(lambda a: fd.grad(F.cosine_similarity)(a, b))(a))


# Kinks and shapes


def test_corners() -> None:
    one = np.array([1.0])
    assert fd.grad(F.l1_loss)(one, one) == 0
    assert fd.grad(F.hinge_loss)(one, one) == 0
    assert fd.grad(lambda x: F.multi_margin_loss(x, np.array([0])))(np.array([[1.0, 0.0]])).any() == 0
    assert fd.grad(F.huber_loss)(one + 1, one) == 1
    assert fd.grad(F.smooth_l1_loss)(one, one) == 0
    assert fd.grad(F.cosine_embedding_loss)(np.eye(2)[:1], np.eye(2)[1:], -np.ones(1)).any() == 0


ERRORS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    *((lambda f=f: f(np.ones((3, 1)), np.ones(3)), ShapeError, rf"{f.__name__}: predictions float64\[3,1\] and targets float64\[3\] must have the same shape")
      for f in (F.l1_loss, F.huber_loss, F.smooth_l1_loss, F.hinge_loss, F.poisson_nll_loss, F.sigmoid_focal_loss, F.kl_divergence)),
    (lambda: F.l1_loss(X, Y, mask=MASK * 1.0), DTypeError, r"l1_loss: a mask is boolean, true where an entry takes part; got float64\[4,3\]. Use mask != 0"),
    (lambda: F.l1_loss(X, Y, mask=MASK[:2]), ShapeError, r"the mask bool\[2,3\] must have the shape of the losses, \(4, 3\), or broadcast to it"),
    (lambda: F.l1_loss(X, Y, mask=MASK[None]), ShapeError, r"the mask bool\[1,4,3\]"),
    (lambda: F.softmax_cross_entropy(X, LABELS, mask=MASK), ShapeError, r"the mask bool\[4,3\] must have the shape of the losses, \(4,\)"),
    (lambda: F.nll_loss(X, LABELS, reduction="average"), RangeError, r'nll_loss: reduction is "mean", "sum" or "none", got \'average\''),
    (lambda: F.ctc_loss(LOGITS, WORDS, reduction=None), RangeError, r'ctc_loss: reduction is "mean", "sum" or "none", got None'),
    (lambda: F.softmax_cross_entropy(X, LABELS, weight=np.ones(4)), ShapeError, r"weight has a number for each class, shape \(3,\); got float64\[4\]. .* reduction='none' and multiply"),
    (lambda: F.softmax_cross_entropy(X, LABELS, label_smoothing=1.5), RangeError, "label_smoothing lies between 0 and 1, got 1.5"),
    (lambda: F.softmax_cross_entropy(1.0, 0), ShapeError, r"logits have an axis of classes, got float64\[\]"),
    (lambda: F.nll_loss(X, np.array([2, 0, 3, 1])), RangeError, r"nll_loss: labels lie between 0 and 3, but there are 3 classes. The first wrong one is 3, at index \(2,\)"),
    (lambda: F.sigmoid_cross_entropy(X, P, pos_weight=np.ones(2)), ShapeError, r"sigmoid_cross_entropy: pos_weight float64\[2\] must broadcast to the shape of the losses, \(4, 3\)"),
    (lambda: F.binary_cross_entropy(P, TARGETS, weight=np.ones((2, 4, 3))), ShapeError, r"weight float64\[2,4,3\] must broadcast"),
    (lambda: F.gaussian_nll_loss(X, Y, P[:2]), ShapeError, r"the variance float64\[2,3\] must broadcast"),
    (lambda: F.huber_loss(X, Y, delta=0), RangeError, "delta must be positive, got 0. For delta = 0 use l1_loss"),
    (lambda: F.smooth_l1_loss(X, Y, beta=-1.0), RangeError, r"beta must not be negative, got -1.0"),
    (lambda: F.hinge_loss(X, TARGETS), RangeError, r"hinge_loss: targets are -1 or 1, got 0.0 at index \(0, 0\). For 0 and 1 use 2 \* targets - 1"),
    (lambda: fd.grad(F.hinge_loss)(X, TARGETS), RangeError, r"targets are -1 or 1, got 0.0 at index \(0, 0\)"),
    (lambda: fd.compile(F.hinge_loss)(X, TARGETS), RangeError, r"targets are -1 or 1, got 0.0 at index \(0, 0\)"),
    (lambda: F.multi_margin_loss(X, LABELS, p=3), RangeError, "p is 1 or 2, got 3"),
    (lambda: F.sigmoid_focal_loss(X, TARGETS, gamma=-1), RangeError, "gamma must not be negative, got -1"),
    (lambda: F.kl_divergence(0.5, 0.5), ShapeError, "an axis of classes"),
    (lambda: F.cosine_similarity(X, X[:, :2]), ShapeError, r"float64\[4,3\] and float64\[4,2\] must have equal lengths along axis -1"),
    (lambda: F.cosine_embedding_loss(X, X, SIGNS), ShapeError, r"vectors float64\[4,3\] need targets of shape \(4,\), got int64\[4,3\]"),
    (lambda: F.cosine_embedding_loss(X, X, TARGETS[:, 0]), RangeError, r"targets are -1 or 1, got 0 at index \(0,\)"),
    (lambda: F.triplet_margin_loss(X, X, X[:2]), ShapeError, r"vectors \(..., n\) of one shape are needed, got anchor float64\[4,3\], positive float64\[4,3\], negative float64\[2,3\]"),
    (lambda: F.triplet_margin_loss(X, X, X, margin=0), RangeError, "margin must be positive, got 0"),
    (lambda: F.ctc_loss(LOGITS, WORDS * 1.0), DTypeError, r"ctc_loss takes integer labels, got float64\[3,2\]"),
    (lambda: F.ctc_loss(LOGITS[0], WORDS), ShapeError, r"logits \(..., T, classes\) and labels \(..., S\), got float64\[4,3\] and int64\[3,2\]"),
    (lambda: F.ctc_loss(LOGITS, WORDS + 1), RangeError, r"ctc_loss: labels are classes from 0 to 2, got 3 at index \(0, 1\)"),
    (lambda: F.ctc_loss(LOGITS, WORDS - 1), RangeError, r"got 0 at index \(0, 0\), which is the blank. Give blank= another class than the labels have"),
    (lambda: F.ctc_loss(LOGITS, WORDS, blank=3), RangeError, "blank is a class from 0 to 2, got 3"),
    (lambda: F.ctc_loss(LOGITS, WORDS, np.array([4, 5, 4])), RangeError, r"ctc_loss: input_lengths lie between 0 and 4, got 5 at index \(1,\)"),
    (lambda: F.ctc_loss(LOGITS, WORDS, None, np.array([2, 1, -1])), RangeError, r"label_lengths lie between 0 and 2, got -1 at index \(2,\)"),
    (lambda: fd.compile(F.ctc_loss)(LOGITS, WORDS, np.array([4, 5, 4])), RangeError, r"got 5 at index \(1,\)"),
    (lambda: F.ctc_loss(LOGITS, WORDS, np.array([4.0, 4, 4])), DTypeError, r"input_lengths are integers, got float64\[3\]. Use input_lengths.astype\(int\)"),
    (lambda: F.ctc_loss(LOGITS, WORDS, np.array([4, 4])), ShapeError, r"input_lengths need the shape \(3,\) of the batch, got int64\[2\]"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "text"), ERRORS)
def test_errors(call: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


def test_the_mask_saves_from_checks() -> None:
    assert F.hinge_loss(X, np.where(MASK, SIGNS, 0), mask=MASK) == F.hinge_loss(X, SIGNS, mask=MASK)
    assert F.softmax_cross_entropy(X, np.where(ROWS, LABELS, 99), mask=ROWS) == F.softmax_cross_entropy(X, LABELS, mask=ROWS)
    assert F.gaussian_nll_loss(X, Y, np.where(MASK, P, -1), mask=MASK) == F.gaussian_nll_loss(X, Y, P, mask=MASK)


@pytest.mark.parametrize("name", EVERY)
def test_the_loss_has_the_dtype_of_the_predictions(name: str) -> None:
    loss, x, mask = EVERY[name]  # targets and weights of float64
    for dtype in (np.float32, np.float16):
        assert {loss(x.astype(dtype), reduction=r, mask=m).dtype for r in ("mean", "sum", "none") for m in (None, mask)} <= {np.dtype(dtype)}
        assert fd.grad(loss)(x.astype(dtype)).dtype == dtype
    assert F.softmax_cross_entropy(X.astype(np.float16), LABELS, weight=WEIGHT).dtype == np.float16


# PyTorch


TORCHS: dict[str, tuple[Callable[[Any], Any], Callable[[Any, Any, Any], Any], np.ndarray]] = {
    "mse": (lambda x: F.mean_squared_error(x, Y), lambda f, x, t: f.mse_loss(x, t(Y)), X),
    "l1": (lambda x: F.l1_loss(x, Y), lambda f, x, t: f.l1_loss(x, t(Y)), X),
    "huber": (lambda x: F.huber_loss(x, Y, delta=0.7), lambda f, x, t: f.huber_loss(x, t(Y), delta=0.7), X),
    "smooth l1": (lambda x: F.smooth_l1_loss(x, Y), lambda f, x, t: f.smooth_l1_loss(x, t(Y)), X),
    "smooth l1, beta": (lambda x: F.smooth_l1_loss(x, Y, beta=0.4, reduction="sum"), lambda f, x, t: f.smooth_l1_loss(x, t(Y), beta=0.4, reduction="sum"), X),
    "poisson": (lambda x: F.poisson_nll_loss(x, 3 * P, full=True), lambda f, x, t: f.poisson_nll_loss(x, t(3 * P), full=True), X),
    "poisson of rates": (lambda x: F.poisson_nll_loss(x, TARGETS, log_input=False), lambda f, x, t: f.poisson_nll_loss(x, t(TARGETS), log_input=False), P),
    "gaussian": (lambda x: F.gaussian_nll_loss(x, Y, P, full=True), lambda f, x, t: f.gaussian_nll_loss(x, t(Y), t(P), full=True), X),
    "gaussian by variance": (lambda v: F.gaussian_nll_loss(X, Y, v), lambda f, v, t: f.gaussian_nll_loss(t(X), t(Y), v), np.abs(P - 0.5).round(1)),
    "cross entropy": (lambda x: F.softmax_cross_entropy(x, LABELS), lambda f, x, t: f.cross_entropy(x, t(LABELS)), X),
    "weights": (lambda x: F.softmax_cross_entropy(x, LABELS, weight=WEIGHT), lambda f, x, t: f.cross_entropy(x, t(LABELS), t(WEIGHT)), X),
    "smoothing": (lambda x: F.softmax_cross_entropy(x, LABELS, label_smoothing=0.2), lambda f, x, t: f.cross_entropy(x, t(LABELS), label_smoothing=0.2), X),
    "all options": (lambda x: F.softmax_cross_entropy(x, LABELS, weight=WEIGHT, label_smoothing=0.2, ignore_index=2),
                    lambda f, x, t: f.cross_entropy(x, t(LABELS), t(WEIGHT), label_smoothing=0.2, ignore_index=2), X),
    "of images": (lambda x: F.softmax_cross_entropy(x, LABELS_OF_IMAGES, axis=1, weight=WEIGHT, ignore_index=0),
                  lambda f, x, t: f.cross_entropy(x, t(LABELS_OF_IMAGES), t(WEIGHT), ignore_index=0), IMAGES),
    "none": (lambda x: F.softmax_cross_entropy(x, LABELS, weight=WEIGHT, reduction="none"), lambda f, x, t: f.cross_entropy(x, t(LABELS), t(WEIGHT), reduction="none"), X),
    "sum": (lambda x: F.softmax_cross_entropy(x, LABELS, weight=WEIGHT, label_smoothing=0.1, reduction="sum"),
            lambda f, x, t: f.cross_entropy(x, t(LABELS), t(WEIGHT), label_smoothing=0.1, reduction="sum"), X),
    "nll": (lambda x: F.nll_loss(x, LABELS, weight=WEIGHT, ignore_index=1), lambda f, x, t: f.nll_loss(x, t(LABELS), t(WEIGHT), ignore_index=1), Q),
    "multi margin": (lambda x: F.multi_margin_loss(x, LABELS, p=2, weight=WEIGHT), lambda f, x, t: f.multi_margin_loss(x, t(LABELS), p=2, weight=t(WEIGHT)), X),
    "sigmoid": (lambda x: F.sigmoid_cross_entropy(x, P, weight=WEIGHT, pos_weight=2 * WEIGHT),
                lambda f, x, t: f.binary_cross_entropy_with_logits(x, t(P), t(WEIGHT), pos_weight=t(2 * WEIGHT)), X),
    "binary": (lambda p: F.binary_cross_entropy(p, T, weight=WEIGHT), lambda f, p, t: f.binary_cross_entropy(p, t(T), t(WEIGHT)), P),
    "kl": (lambda q: F.kl_divergence(q, T), lambda f, q, t: f.kl_div(q, t(T), reduction="batchmean"), Q),
    "kl of logs": (lambda q: F.kl_divergence(q, np.log(T), log_target=True, reduction="sum"), lambda f, q, t: f.kl_div(q, t(np.log(T)), reduction="sum", log_target=True), Q),
    "cosine": (lambda x: F.cosine_similarity(x, VECTORS[1]), lambda f, x, t: f.cosine_similarity(x, t(VECTORS[1]), dim=-1), VECTORS[0]),
    "cosine embedding": (lambda x: F.cosine_embedding_loss(x, VECTORS[1], SIGNS[:, 0], margin=0.1),
                         lambda f, x, t: f.cosine_embedding_loss(x, t(VECTORS[1]), t(SIGNS[:, 0]), margin=0.1), VECTORS[0]),
    "triplet": (lambda x: F.triplet_margin_loss(x, VECTORS[1], VECTORS[2], swap=True), lambda f, x, t: f.triplet_margin_loss(x, t(VECTORS[1]), t(VECTORS[2]), swap=True), VECTORS[0]),
    "ctc": (lambda x: F.ctc_loss(x, WORDS, np.array([4, 3, 4]), np.array([2, 1, 2])),
            lambda f, x, t: f.ctc_loss(f.log_softmax(x, -1).transpose(0, 1), t(WORDS), t(np.array([4, 3, 4])), t(np.array([2, 1, 2]))), LOGITS),
    "ctc, sum": (lambda x: F.ctc_loss(x, WORDS - 1, blank=2, reduction="sum", zero_infinity=True),
                 lambda f, x, t: f.ctc_loss(f.log_softmax(x, -1).transpose(0, 1), t(WORDS - 1), t(np.array([4, 4, 4])), t(np.array([2, 2, 2])), blank=2, reduction="sum", zero_infinity=True), LOGITS),
}  # fmt: skip


@pytest.mark.parametrize("name", TORCHS)
def test_values_and_gradients_are_those_of_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs, x = TORCHS[name]

    def tensor(array: np.ndarray) -> Any:
        return torch.tensor(array if array.dtype.kind == "f" or array is not TARGETS else array.astype(float))

    leaf = torch.tensor(x, requires_grad=True)
    y = theirs(torch.nn.functional, leaf, tensor)
    weights = np.cos(np.arange(y.numel())).reshape(y.shape)
    (y * torch.tensor(weights)).sum().backward()
    value, pullback = fd.vjp(ours, x)
    np.testing.assert_allclose(value, y.detach().numpy(), rtol=1e-10)
    np.testing.assert_allclose(pullback(weights.astype(value.dtype)[()])[0], leaf.grad.numpy(), rtol=1e-8, atol=1e-12)
