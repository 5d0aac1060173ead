"""Cases of the losses, with their formulas in plain NumPy; CTC is a sum over all alignments, one by one."""

import itertools
import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from fdezero import functions as F

from .cases import Case, cases_of

RNG = np.random.default_rng(37)
X = RNG.choice([-1.0, 1.0], (4, 3)) * RNG.uniform(0.2, 2.0, (4, 3))
Y = X + RNG.choice([-1.0, 1.0], (4, 3)) * RNG.choice([0.3, 0.6, 1.3, 2.4], (4, 3))  # differences away from the corners 0, 0.5 and 1
LABELS, TARGETS = np.array([2, 0, 1, 2]), np.array([[0, 1, 0], [1, 1, 0], [0, 0, 1], [1, 0, 1]])
P = RNG.uniform(0.1, 0.9, (4, 3))
SIGNS = 2 * TARGETS - 1
WEIGHT = np.array([0.5, 2.0, 1.5])
MASK = np.array([[True, False, True], [True, True, True], [False, False, True], [True, True, False]])
ROWS = np.array([True, False, True, True])
VECTORS = RNG.standard_normal((3, 4, 5))


def _log_softmax(x: Any, axis: int = -1) -> Any:
    return x - np.log(np.exp(x).sum(axis, keepdims=True))


def _reduced(losses: Any, reduction: str = "mean", mask: Any = None, weights: Any = None) -> Any:
    """The mean divides by the weights, or by the number, of what takes part."""
    part = np.broadcast_to(True if mask is None else mask, losses.shape)
    kept = np.where(part, losses, 0)
    total = (part if weights is None else np.where(part, weights, 0)).sum()
    return kept if reduction == "none" else kept.sum() if reduction == "sum" else kept.sum() / total


def _of_pairs(formula: Any) -> Any:
    """The reference of a loss of entries from the formula of one entry."""

    def reference(x: Any, t: Any, *more: Any, reduction: str = "mean", mask: Any = None, weight: Any = 1, **options: Any) -> Any:
        return _reduced(weight * formula(x, t, *more, **options), reduction, mask)

    return reference


def _of_labels(formula: Any, weighted_mean: bool = True) -> Any:
    """The reference of a loss of labels: a loop over examples, whose formula takes logits of one example and its label."""

    def reference(
        x: Any, labels: Any, *, axis: int = -1, weight: Any = None, ignore_index: Any = None, mask: Any = None, reduction: str = "mean", **options: Any
    ) -> Any:
        x = np.moveaxis(x, axis, -1)
        losses, weights, part = np.zeros(labels.shape), np.ones(labels.shape), np.ones(labels.shape, bool)
        for i in np.ndindex(labels.shape):
            part[i] = labels[i] != ignore_index and (mask is None or mask[i])
            if part[i]:
                weights[i] = 1 if weight is None else weight[labels[i]]
                losses[i] = formula(x[i], labels[i], weight, **options)
        return _reduced(losses, reduction, part, weights if weighted_mean else None)

    return reference


def _cross_entropy(x: Any, label: int, weight: Any, label_smoothing: float = 0.0) -> Any:
    wanted = np.full(x.size, label_smoothing / x.size)
    wanted[label] += 1 - label_smoothing
    return -(wanted * (1 if weight is None else weight) * _log_softmax(x)).sum()


def _margin(x: Any, label: int, weight: Any, p: int = 1, margin: float = 1.0) -> Any:
    others = [max(0, margin - x[label] + x[j]) ** p for j in range(x.size) if j != label]
    return sum(others) / x.size * (1 if weight is None else weight[label])


def _poisson(x: Any, t: Any, log_input: bool = True, full: bool = False, eps: float = 1e-8) -> Any:
    stirling = np.where(t > 1, t * np.log(np.maximum(t, 1)) - t + 0.5 * np.log(2 * math.pi * np.maximum(t, 1)), 0)
    return (np.exp(x) - t * x if log_input else x - t * np.log(x + eps)) + full * stirling


def _sigmoid_entropy(x: Any, t: Any, pos_weight: Any = 1) -> Any:
    p = 1 / (1 + np.exp(-x))
    return -(pos_weight * t * np.log(p) + (1 - t) * np.log(1 - p))


def _focal(x: Any, t: Any, alpha: Any = 0.25, gamma: float = 2.0) -> Any:
    q = np.where(t == 1, 1 / (1 + np.exp(-x)), 1 - 1 / (1 + np.exp(-x)))
    return -(1 if alpha is None else np.where(t == 1, alpha, 1 - alpha)) * (1 - q) ** gamma * np.log(q)


def _divergence(q: Any, t: Any, axis: int = -1, log_target: bool = False, mask: Any = None, reduction: str = "mean") -> Any:
    p = np.exp(t) if log_target else t
    return _reduced((p * (np.log(p) - q)).sum(axis), reduction, mask)


def _cosine(a: Any, b: Any, axis: int = -1) -> Any:
    return (a * b).sum(axis) / np.sqrt((a**2).sum(axis) * (b**2).sum(axis))


def _triplet(anchor: Any, near: Any, far: Any, margin: float = 1.0, p: float = 2, swap: bool = False, mask: Any = None, reduction: str = "mean") -> Any:
    distance = lambda a, b: (abs(a - b + 1e-6) ** p).sum(-1) ** (1 / p)
    d = np.minimum(distance(anchor, far), distance(near, far)) if swap else distance(anchor, far)
    return _reduced(np.maximum(0, distance(anchor, near) - d + margin), reduction, mask)


def collapsed(path: Any, blank: int) -> list[int]:
    """The labels that an alignment stands for: repetitions are merged, then blanks dropped."""
    return [label for label, _ in itertools.groupby(path) if label != blank]


def ctc(logits: Any, labels: Any, input_lengths: Any = None, label_lengths: Any = None, blank: int = 0, reduction: str = "mean", **others: Any) -> Any:
    """CTC by enumeration: the probabilities of all paths whose labels are the wanted ones."""
    losses = np.zeros(len(logits))
    counts = np.full(len(logits), labels.shape[1]) if label_lengths is None else label_lengths
    for n, x in enumerate(logits):
        logs = _log_softmax(x[: len(x) if input_lengths is None else input_lengths[n]])
        wanted, total = labels[n, : counts[n]].tolist(), 0.0
        for path in itertools.product(range(x.shape[1]), repeat=len(logs)):
            if collapsed(path, blank) == wanted:
                total += np.exp(sum(logs[t, c] for t, c in enumerate(path)))
        losses[n] = math.inf if total == 0 else -np.log(total)
    return losses if reduction == "none" else losses.sum() if reduction == "sum" else (losses / np.maximum(counts, 1)).mean()


FORMULAS = SimpleNamespace(
    mean_squared_error=_of_pairs(lambda x, t: (x - t) ** 2),
    l1_loss=_of_pairs(lambda x, t: abs(x - t)),
    huber_loss=_of_pairs(lambda x, t, delta=1.0: np.where(abs(x - t) <= delta, (x - t) ** 2 / 2, delta * (abs(x - t) - delta / 2))),
    smooth_l1_loss=_of_pairs(lambda x, t, beta=1.0: np.where(abs(x - t) <= beta, (x - t) ** 2 / 2 / max(beta, 1e-9), abs(x - t) - beta / 2)),
    hinge_loss=_of_pairs(lambda x, t: np.maximum(0, 1 - t * x)),
    poisson_nll_loss=_of_pairs(_poisson),
    gaussian_nll_loss=_of_pairs(lambda x, t, v, full=False: 0.5 * (np.log(v) + (x - t) ** 2 / v) + full * 0.5 * np.log(2 * math.pi)),
    softmax_cross_entropy=_of_labels(_cross_entropy),
    nll_loss=_of_labels(lambda x, label, weight: -x[label] * (1 if weight is None else weight[label])),
    multi_margin_loss=_of_labels(_margin, weighted_mean=False),
    sigmoid_cross_entropy=_of_pairs(_sigmoid_entropy),
    binary_cross_entropy=_of_pairs(lambda p, t: -(t * np.log(p) + (1 - t) * np.log(1 - p))),
    sigmoid_focal_loss=_of_pairs(_focal),
    kl_divergence=_divergence,
    cosine_similarity=_cosine,
    cosine_embedding_loss=lambda a, b, t, margin=0.0, mask=None, reduction="mean": _reduced(
        np.where(t == 1, 1 - _cosine(a, b), np.maximum(0, _cosine(a, b) - margin)), reduction, mask
    ),
    triplet_margin_loss=_triplet,
    ctc_loss=ctc,
)
case = cases_of("functions", F, FORMULAS)

IMAGES, LABELS_OF_IMAGES = RNG.standard_normal((2, 3, 2, 2)), RNG.integers(0, 3, (2, 2, 2))
IGNORED = np.array([2, -100, 1, 2])
Q = np.log(P / P.sum(-1, keepdims=True))
T = P[::-1] / P[::-1].sum(-1, keepdims=True)
LOGITS, WORDS = RNG.standard_normal((3, 4, 3)), np.array([[1, 2], [2, 2], [1, 1]])
IN, OUT = np.array([4, 3, 3]), np.array([2, 1, 0])

PAIRS: list[Case] = [
    *(case(name, X, Y, d=(0, 1), reduction=reduction, mask=mask)
      for name in ("mean_squared_error", "l1_loss", "huber_loss", "smooth_l1_loss")
      for reduction, mask in (("mean", None), ("sum", None), ("none", MASK), ("mean", MASK))),
    case("huber_loss", X, Y, d=(0, 1), delta=0.5), case("smooth_l1_loss", X, Y, d=(0, 1), beta=0.5), case("smooth_l1_loss", X, Y, beta=0),
    case("mean_squared_error", X, Y, mask=ROWS[:, None]), case("hinge_loss", X, SIGNS), case("hinge_loss", X, SIGNS, mask=MASK),
    case("poisson_nll_loss", X, TARGETS), case("poisson_nll_loss", X, 3 * P, d=(0, 1), full=True),
    case("poisson_nll_loss", P, TARGETS, log_input=False, mask=MASK),
    case("gaussian_nll_loss", X, Y, P, d=(0, 1, 2)), case("gaussian_nll_loss", X, Y, P[:, :1].copy(), d=(0, 2), full=True, reduction="sum"),
]  # fmt: skip
CLASSES: list[Case] = [
    case("softmax_cross_entropy", X, LABELS, weight=WEIGHT), case("softmax_cross_entropy", X, LABELS, label_smoothing=0.1),
    case("softmax_cross_entropy", X, LABELS, label_smoothing=0.3, weight=WEIGHT, mask=ROWS), case("softmax_cross_entropy", X, LABELS, mask=ROWS),
    case("softmax_cross_entropy", X, IGNORED, ignore_index=-100), case("softmax_cross_entropy", X, IGNORED, ignore_index=-100, mask=ROWS, weight=WEIGHT),
    case("softmax_cross_entropy", IMAGES, LABELS_OF_IMAGES, axis=1, weight=WEIGHT), case("softmax_cross_entropy", X, LABELS, reduction="none", weight=WEIGHT),
    case("softmax_cross_entropy", X, LABELS, reduction="sum"),
    case("nll_loss", Q, LABELS), case("nll_loss", Q, IGNORED, ignore_index=-100, weight=WEIGHT), case("nll_loss", IMAGES, LABELS_OF_IMAGES, axis=1, reduction="none"),
    case("multi_margin_loss", X, LABELS), case("multi_margin_loss", X, LABELS, p=2, margin=0.7, weight=WEIGHT), case("multi_margin_loss", X, IGNORED, ignore_index=-100),
    case("sigmoid_cross_entropy", X, P, weight=WEIGHT, pos_weight=WEIGHT[::-1].copy()), case("sigmoid_cross_entropy", X, TARGETS, reduction="none", mask=MASK),
    case("sigmoid_cross_entropy", X, P, d=(0, 1), pos_weight=3.0, reduction="sum"),
    case("binary_cross_entropy", P, TARGETS, weight=WEIGHT, mask=MASK), case("binary_cross_entropy", P, TARGETS, reduction="none"),
    case("sigmoid_focal_loss", X, TARGETS), case("sigmoid_focal_loss", X, TARGETS, alpha=None, gamma=1.5, mask=MASK), case("sigmoid_focal_loss", X, TARGETS, gamma=0.0, reduction="none"),
    case("kl_divergence", Q, T, d=(0, 1)), case("kl_divergence", Q, np.log(T), d=(0, 1), log_target=True, mask=ROWS), case("kl_divergence", Q.T.copy(), T.T.copy(), axis=0, reduction="none"),
]  # fmt: skip
OF_VECTORS: list[Case] = [
    case("cosine_similarity", VECTORS[0], VECTORS[1], d=(0, 1)), case("cosine_similarity", VECTORS[0], VECTORS[1][:1], d=(0, 1)), case("cosine_similarity", VECTORS, VECTORS[::-1].copy(), axis=1),
    case("cosine_embedding_loss", VECTORS[0], VECTORS[1], SIGNS[:, 0], d=(0, 1)), case("cosine_embedding_loss", VECTORS[0], VECTORS[1], SIGNS[:, 0], margin=0.2, mask=ROWS, reduction="sum"),
    case("triplet_margin_loss", *VECTORS, d=(0, 1, 2)), case("triplet_margin_loss", *VECTORS, margin=2.0, p=3.0, swap=True, mask=ROWS),
]  # fmt: skip
OF_SEQUENCES: list[Case] = [
    case("ctc_loss", LOGITS[:2, :3], WORDS[:2]), case("ctc_loss", LOGITS, WORDS, IN, OUT, reduction="sum"),
    case("ctc_loss", LOGITS, WORDS - 1, IN, OUT, blank=2, reduction="none"),
]  # fmt: skip
CASES = PAIRS + CLASSES + OF_VECTORS + OF_SEQUENCES
