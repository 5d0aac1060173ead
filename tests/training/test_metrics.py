"""Metrics against plain NumPy and scikit-learn, their edges, and their errors."""

from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import training
from fdezero.errors import DeviceError, DTypeError, RangeError, ShapeError, StructureError

RNG = np.random.default_rng(3)
N, C = 200, 5
SCORES, LABELS = RNG.normal(size=(N, C)).astype(np.float32), RNG.integers(0, C, N)
SCORES[np.arange(N), LABELS] += 1
PREDICTIONS = SCORES.argmax(1)
WEIGHT = RNG.random(N)
P = RNG.random(N).astype(np.float32)
T = (RNG.random(N) < P).astype(int)


# Against loops and plain NumPy


def test_ten_million_float32_numbers_lose_no_digits() -> None:
    mean, small = training.Mean(), np.full(100_000, 0.1, np.float32)
    for _ in range(100):
        mean = mean.update(small)
    assert mean.count == 1e7
    assert abs(float(mean.result()) / float(np.float32(0.1)) - 1) < 1e-12
    step = fd.compile(lambda mean, x: mean.update(x, weight=1000))
    mean = training.Mean()
    for _ in range(10_000):
        mean = step(mean, np.float32(0.1))
    assert abs(float(mean.result()) / float(np.float32(0.1)) - 1) < 1e-12


def test_the_mean_of_batches_weighs_them_by_their_sizes() -> None:
    mean = training.Mean().update(2.0, weight=100).update(np.float32(5), weight=50)
    assert mean.result() == 3
    assert training.Mean().update(np.arange(6).reshape(2, 3), weight=[0, 1, 0]).result() == 2.5
    assert training.Mean().update([True, False, True, True]).result() == 0.75


def test_accuracy_is_a_loop_over_examples() -> None:
    right = [int(max(range(C), key=row.tolist().__getitem__)) == t for row, t in zip(SCORES, LABELS, strict=True)]
    for given in (SCORES, PREDICTIONS):
        assert training.Accuracy().update(given, LABELS).result() == sum(right) / N
        weighted = training.Accuracy().update(given, LABELS, weight=WEIGHT).result()
        assert weighted == pytest.approx(sum(w for w, r in zip(WEIGHT, right, strict=True) if r) / WEIGHT.sum())
    assert training.Accuracy().update(np.arange(4), np.array([0, 1, 9, 9])).result() == 0.5


@pytest.mark.parametrize("k", [1, 2, C, C + 3])
def test_top_k_is_a_loop_over_sorted_scores(k: int) -> None:
    rows = [sorted(range(C), key=lambda j: -row[j])[:k] for row in SCORES]
    expected = sum(t in row for row, t in zip(rows, LABELS, strict=True)) / N
    assert training.TopKAccuracy(k).update(SCORES, LABELS).result() == expected


def test_equal_scores_and_nan_are_no_right_predictions() -> None:
    same, labels = np.zeros((4, 4)), np.arange(4)
    assert training.Accuracy().update(same, labels).result() == 0.25
    assert [training.TopKAccuracy(k).update(same, labels).result() for k in (1, 2, 4)] == [0.25, 0.5, 1]
    lost = np.full((4, 4), np.nan)
    assert training.Accuracy().update(lost, labels).result() == 0
    assert training.TopKAccuracy(4).update(lost, labels).result() == 0
    beside = np.array([[3.0, 2, np.nan]])
    assert [training.TopKAccuracy(k).update(beside, np.array([1])).result() for k in (1, 2, 3)] == [0, 0, 1]
    assert training.Accuracy().update(beside, np.array([0])).result() == 0


def by_class(weight: Any) -> tuple[Any, ...]:
    hits, predicted, labelled = np.zeros(C), np.zeros(C), np.zeros(C)
    for prediction, label, w in zip(PREDICTIONS, LABELS, weight, strict=True):
        hits[label] += w * (prediction == label)
        predicted[prediction] += w
        labelled[label] += w
    return hits, predicted, labelled


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["", "weighted"])
def test_values_of_classes_are_loops(weight: Any) -> None:
    hits, predicted, labelled = by_class(np.ones(N) if weight is None else weight)
    values = {training.Precision: hits / predicted, training.Recall: hits / labelled, training.F1: 2 * hits / (predicted + labelled)}
    for metric, value in values.items():
        got = {a: metric(C, a).update(SCORES, LABELS, weight=weight).result() for a in (None, "macro", "micro", "weighted")}
        np.testing.assert_allclose(got[None], value, 1e-12)
        assert got["macro"] == pytest.approx(value.mean())
        assert got["micro"] == pytest.approx(hits.sum() / labelled.sum())
        assert got["weighted"] == pytest.approx((value * labelled).sum() / labelled.sum())
    matrix = training.ConfusionMatrix(C).update(SCORES, LABELS, weight=weight).result()
    np.testing.assert_allclose(matrix.diagonal(), hits, 1e-12)
    np.testing.assert_allclose(matrix.sum(0), predicted, 1e-12)
    np.testing.assert_allclose(matrix.sum(1), labelled, 1e-12)


def test_several_labels_of_an_example_are_counted_class_by_class() -> None:
    predictions, labels = SCORES > 0.3, np.random.default_rng(4).random((N, C)) < 0.3
    hits, predicted, labelled = np.zeros((3, C))
    for i in range(N):
        for c in range(C):
            hits[c] += WEIGHT[i] if predictions[i, c] and labels[i, c] else 0
            predicted[c] += WEIGHT[i] if predictions[i, c] else 0
            labelled[c] += WEIGHT[i] if labels[i, c] else 0
    values = {training.Precision: hits / predicted, training.Recall: hits / labelled, training.F1: 2 * hits / (predicted + labelled)}
    for metric, value in values.items():
        got = metric(C, None, multilabel=True).update(predictions, labels, weight=WEIGHT).result()
        np.testing.assert_allclose(got, value, 1e-12)
        assert metric(C, multilabel=True).update(predictions, labels, weight=WEIGHT).result() == pytest.approx(value.mean())


def test_average_precision_is_a_loop_over_thresholds() -> None:
    binned = np.minimum(np.floor(P.astype(float) * 16), 15)
    area = recall = 0.0
    for threshold in sorted(set(binned), reverse=True):
        chosen = binned >= threshold
        now = T[chosen].sum() / T.sum()
        area += (now - recall) * T[chosen].mean()
        recall = now
    assert training.AUC(16, curve="pr").update(P, T).result() == pytest.approx(area, rel=1e-12)


def test_classes_that_do_not_occur() -> None:
    predictions, labels = np.array([0, 0, 1]), np.array([0, 2, 1])  # 1 is right, 2 is never predicted, 3 does not occur
    got = {m: m(4, None).update(predictions, labels).result() for m in (training.Precision, training.Recall, training.F1)}
    np.testing.assert_array_equal(got[training.Precision], [0.5, 1, 0, np.nan])
    np.testing.assert_array_equal(got[training.Recall], [1, 1, 0, np.nan])
    np.testing.assert_allclose(got[training.F1], [2 / 3, 1, 0, np.nan])
    assert training.Precision(4).update(predictions, labels).result() == 0.5
    np.testing.assert_array_equal(training.Recall(4, None).update(labels, predictions).result(), [0.5, 1, 0, np.nan])


def test_perplexity_of_a_guess_is_the_number_of_classes() -> None:
    assert training.Perplexity().update(np.zeros((3, 7), np.float32), np.arange(3)).result() == pytest.approx(7)
    log_p = SCORES - np.log(np.exp(SCORES.astype(float)).sum(1, keepdims=True))
    expected = np.exp(-log_p[np.arange(N), LABELS].mean())
    assert training.Perplexity().update(SCORES, LABELS).result() == pytest.approx(expected, rel=1e-6)
    assert training.Perplexity().update(SCORES.astype(np.float16), LABELS).result() == pytest.approx(expected, rel=1e-2)


def pairs(scores: Any, labels: Any, weight: Any) -> float:
    """The area under the ROC curve: how often a positive lies above a negative; half if they are equal."""
    ranked = np.sign(scores[labels == 1][:, None] - scores[labels == 0]) / 2 + 0.5
    both = weight[labels == 1][:, None] * weight[labels == 0]
    return float((ranked * both).sum() / both.sum())


@pytest.mark.parametrize("weight", [np.ones(N), WEIGHT], ids=["", "weighted"])
def test_auc_is_the_share_of_pairs_in_order_of_binned_scores(weight: Any) -> None:
    binned = np.minimum(np.floor(P.astype(float) * 32), 31)
    metric = training.AUC(32).update(P, T, weight=weight)
    assert metric.result() == pytest.approx(pairs(binned, T, weight), rel=1e-12)
    assert abs(metric.result() - pairs(P, T, weight)) <= metric.bound() + 1e-12 < 0.02
    fine = training.AUC(2**16).update(P, T, weight=weight)
    assert fine.result() == pytest.approx(pairs(P, T, weight), rel=1e-12)
    assert fine.bound() == 0
    x = np.log(P / (1 - P)) * 50
    of_logits = training.AUC(2**16, logits=True).update(x, T, weight=weight)
    assert abs(of_logits.result() - pairs(x, T, weight)) <= of_logits.bound() + 1e-12 < 1e-3


def test_auc_takes_the_ends_and_infinite_logits() -> None:
    assert training.AUC(2).update(np.array([0.0, 1.0]), np.array([0, 1])).result() == 1
    assert training.AUC(4, logits=True).update(np.array([-np.inf, np.inf, 0.0]), np.array([True, False, False])).result() == 0
    assert np.isnan(training.AUC(4).update(np.array([0.2, np.nan]), np.array([0, 1])).result())
    assert np.isnan(training.AUC(4).update(np.array([0.2, 0.3]), np.array([1, 1])).result())
    assert np.isnan(training.AUC(4, curve="pr").update(np.array([0.2, 0.3]), np.array([1, 1])).result())


def test_scikit_learn_has_the_same_numbers() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    for given in ({}, {"weight": WEIGHT}):
        theirs = {"sample_weight": given.get("weight")}
        for ours, name in ((training.Precision, "precision"), (training.Recall, "recall"), (training.F1, "f1")):
            for average in (None, "macro", "micro", "weighted"):
                value = getattr(sklearn, f"{name}_score")(LABELS, PREDICTIONS, average=average, zero_division=0, **theirs)
                np.testing.assert_allclose(ours(C, average).update(SCORES, LABELS, **given).result(), value, 1e-12)
            value = getattr(sklearn, f"{name}_score")(T, P > 0.5, **theirs)
            assert ours(2, "binary").update(P > 0.5, T, **given).result() == pytest.approx(value, rel=1e-12)
            several, labels = SCORES > 0.3, RNG.random((N, C)) < 0.3
            for average in (None, "macro", "micro", "weighted"):
                value = getattr(sklearn, f"{name}_score")(labels, several, average=average, zero_division=0, **theirs)
                got = ours(C, average, multilabel=True).update(several, labels, **given).result()
                np.testing.assert_allclose(got, value, 1e-12)
        matrix = sklearn.confusion_matrix(LABELS, PREDICTIONS, **theirs)
        np.testing.assert_allclose(training.ConfusionMatrix(C).update(SCORES, LABELS, **given).result(), matrix, 1e-12)
        auc, binned = training.AUC(2**16).update(P, T, **given), np.floor(P.astype(float) * 64)
        assert auc.result() == pytest.approx(sklearn.roc_auc_score(T, P, **theirs), rel=1e-12)
        pr = training.AUC(64, curve="pr").update(P, T, **given)
        assert pr.result() == pytest.approx(sklearn.average_precision_score(T, binned, **theirs), rel=1e-12)
        top = sklearn.top_k_accuracy_score(LABELS, SCORES, k=2, **theirs)
        assert training.TopKAccuracy(2).update(SCORES, LABELS, **given).result() == pytest.approx(top, rel=1e-12)


# Trees of metrics


def test_results_of_a_dict_are_numbers_by_name() -> None:
    metrics = {
        "loss": training.Mean().update(np.float32(0.5)), "step": 3, "heads": {"a": training.Accuracy().update(SCORES, LABELS)},
        "each": training.F1(2, None).update(np.array([0, 1]), np.array([0, 1])),
    }  # fmt: skip
    found = training.results(metrics)
    assert list(found) == ["loss", "step", "heads/a", "each"]
    assert (found["loss"], found["step"], found["heads/a"]) == (0.5, 3.0, np.mean(PREDICTIONS == LABELS))
    assert {type(found[name]) for name in ("loss", "step", "heads/a")} == {float}
    np.testing.assert_array_equal(found["each"], [1, 1])


def test_what_does_not_add_up_is_named() -> None:
    mean, accuracy = training.Mean(), training.Accuracy()
    with pytest.raises(StructureError, match=r"Mean\(\) and Accuracy\(\) are different metrics"):
        mean.merge(accuracy)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(StructureError, match=r"TopKAccuracy\(k=5\) and TopKAccuracy\(k=3\)"):
        training.TopKAccuracy(5).merge(training.TopKAccuracy(3))
    with pytest.raises(StructureError, match=r"'b' is in one of them alone"):
        training.merge({"a": mean, "b": mean}, {"a": mean})
    with pytest.raises(StructureError, match="two metrics have the name 'heads/a'"):
        training.results({"heads": {"a": 1.0}, "heads/a": 2.0})
    with pytest.raises(StructureError, match=r"merge: heads/a is float 0.5, not a metric.*Mean\(\)\.update"):
        training.merge({"heads": {"a": 0.5}}, {"heads": {"a": 0.5}})
    for pair in ([{"a": mean}, {"a": 0.5}], [{"a": 0.5}, {"a": mean}], [{"a": {"b": mean}}, {"a": 0.5}], [{"a": 0.5}, {"a": {"b": mean}}]):
        with pytest.raises(StructureError, match=r"merge: a is float 0.5, not a metric"):
            training.merge(*pair)
    with pytest.raises(StructureError, match=r"merge: a is Mean, not a metric|merge: a is dict, not a metric"):
        training.merge({"a": mean}, {"a": {"b": mean}})
    with pytest.raises(StructureError, match=r'a dict by name, such as \{"loss": loss\}; got float 0.5'):
        training.results(0.5)
    with pytest.raises(StructureError, match="float64\\[\\] and float64\\[3\\]; shapes must agree"):
        mean.merge(training.Mean(total=np.zeros(3), count=np.zeros(3)))
    with pytest.raises(NotImplementedError, match="write `def update"):
        training.Metric().update()
    with pytest.raises(NotImplementedError, match="write `def result"):
        training.Metric().result()


# Errors, eagerly and compiled


WRONG: list[tuple[Any, tuple[Any, ...], dict[str, Any], type[Exception], str]] = [
    (training.Accuracy(), (SCORES, np.where(np.arange(N) == 7, 5, LABELS)), {}, RangeError, r"Accuracy: labels lie between 0 and 5, but there are 5 classes.*is 5, at index \(7,\)"),
    (training.ConfusionMatrix(4), (np.array([0, 1]), np.array([0, 4])), {}, RangeError, r"ConfusionMatrix: labels lie between 0 and 4.*at index \(1,\)"),
    (training.Recall(4), (np.array([0, 4]), np.array([0, 1])), {}, RangeError, r"Recall: predicted classes are 0 to 3, got 4 at index \(1,\)"),
    (training.F1(4), (SCORES, LABELS), {}, ShapeError, r"F1 of 4 classes got scores of 5 classes"),
    (training.Accuracy(), (SCORES, LABELS.astype(float)), {}, DTypeError, r"integer labels, got float64\[200\]. Use labels.astype\(int\)"),
    (training.Accuracy(), (PREDICTIONS, LABELS.astype(float)), {}, DTypeError, r"Use labels.astype\(int\)"),
    (training.Accuracy(), (SCORES, np.eye(C)[LABELS]), {}, DTypeError, r"Use labels.argmax\(axis=-1\)"),
    (training.Accuracy(), (PREDICTIONS, np.eye(C, dtype=int)[LABELS]), {}, ShapeError, r"For one-hot labels"),
    (training.Accuracy(), (LABELS, SCORES), {}, DTypeError, r"the scores come first, then the labels; got int64\[200\], then float32\[200,5\]"),
    (training.Accuracy(), (SCORES, LABELS[:, None]), {}, ShapeError, r"Use labels.reshape\(\(200,\)\)"),
    (training.Accuracy(), (SCORES, LABELS[:-1]), {}, ShapeError, r"got float32\[200,5\] and int64\[199\]"),
    (training.Accuracy(), (P, T), {}, DTypeError, r"predicted classes are integers, got float32\[200\].*use p > 0.5"),
    (training.TopKAccuracy(2), (PREDICTIONS, LABELS), {}, ShapeError, r"takes scores \(..., classes\)"),
    (training.Accuracy(), (SCORES, LABELS), {"mask": np.ones(N)}, DTypeError, "a mask is boolean"),
    (training.Accuracy(), (SCORES, LABELS), {"mask": np.ones(3, bool)}, ShapeError, r"shape of the examples, \(200,\)"),
    (training.Mean(), (P,), {"weight": np.ones(3)}, ShapeError, r"the weights float64\[3\] must have the shape of the examples, \(200,\)"),
    (training.Mean(), (P,), {"weight": np.ones(N, complex)}, DTypeError, "weights are real numbers"),
    (training.Mean(), (P + 1j,), {}, DTypeError, "the numbers are real"),
    (training.AUC(), (P * 3, T), {}, RangeError, r"probabilities lie between 0 and 1, got .* at index .*AUC\(logits=True\)"),
    (training.AUC(), (P, T * 2), {}, RangeError, r"labels are 0 or 1, got 2 at index .*use t == k"),
    (training.AUC(), (np.stack([1 - P, P], 1), T), {}, ShapeError, r"scores\[..., 1\]"),
    (training.AUC(), (T, T), {}, DTypeError, "floating scores"),
    (training.Precision(C, multilabel=True), (SCORES, SCORES > 0), {}, DTypeError, "pass p > 0.5"),
    (training.Precision(3, multilabel=True), (SCORES > 0, SCORES > 0), {}, ShapeError, r"\(..., 3\), got bool\[200,5\]"),
]  # fmt: skip


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("case", WRONG, ids=[f"{type(case[0]).__name__} {i}" for i, case in enumerate(WRONG)])
def test_wrong_examples_are_errors_with_their_place(case: Any, compiled: bool) -> None:
    metric, given, options, kind, message = case
    update = fd.compile(lambda metric, *given, **options: metric.update(*given, **options)) if compiled else type(metric).update
    with pytest.raises(kind, match=message):
        update(metric, *given, **options)


def test_a_compiled_metric_checks_labels_in_every_call() -> None:
    update = fd.compile(lambda metric, *given: metric.update(*given))
    metric = update(training.ConfusionMatrix(C), SCORES, LABELS)
    for wrong in (C, -1):
        with pytest.raises(RangeError, match=f"is {wrong}, at index \\(3,\\)"):
            update(metric, SCORES, np.where(np.arange(N) == 3, wrong, LABELS))


def test_sums_on_two_devices_are_named(gpu: Any) -> None:
    here = training.F1(C).update(SCORES, LABELS)
    there = training.F1(C).update(*fd.to_device((SCORES, LABELS), "gpu"))
    for one, other in ((here, there), (there, here)):
        with pytest.raises(DeviceError, match=r"the sums float64\[5\] and float64\[5\] are on different devices.*fd.to_device\(metric, 'gpu'\)"):
            one.merge(other)


def test_on_a_gpu_labels_of_no_class_make_the_result_nan(strict_cupy: Any) -> None:
    wrong = np.where(np.arange(N) == 3, C, LABELS)
    for metric in (training.ConfusionMatrix(C), training.F1(C), training.Recall(C, "micro")):
        assert np.isnan(fd.to_numpy(metric.update(*fd.to_device((SCORES, wrong), "gpu")).result())).any()
    auc = training.AUC().update(*fd.to_device((np.where(np.arange(N) == 3, 1.5, P), T), "gpu"))
    assert np.isnan(fd.to_numpy(auc.result()))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: training.TopKAccuracy(0), "k is a whole number, 1 or more, got 0"),
        (lambda: training.TopKAccuracy(True), "k is a whole number"),
        (lambda: training.ConfusionMatrix(0), "number of classes is a whole number"),
        (lambda: training.F1(2.5), "number of classes is a whole number"),  # type: ignore[arg-type]  # on purpose
        (lambda: training.F1(3, "mean"), "average is one of 'macro', .* got 'mean'"),
        (lambda: training.Recall(3, "binary"), r'Recall\(2, "binary"\)'),
        (lambda: training.AUC(1), "number of bins"),
        (lambda: training.AUC(curve="ROC"), 'curve is "roc" or "pr"'),
    ],
)  # fmt: skip
def test_wrong_options_are_refused_when_a_metric_is_made(make: Any, message: str) -> None:
    with pytest.raises(RangeError, match=message):
        make()
