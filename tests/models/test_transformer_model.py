"""The causal Transformer: what each symbol sees, the cache, generation, training on a short text."""

from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import models, optim
from fdezero.errors import KeyMissingError, RangeError, ShapeError
from fdezero.testing import assert_trees_close, assert_trees_equal

KEY = fd.random.key(1)
IDS = np.random.default_rng(1).integers(0, 11, (2, 9))


def model(**options: Any) -> models.Transformer:
    return models.Transformer.init(
        KEY, 11, size=8, heads=2, layers=2, length=16, weight_init=fd.nn.initial.normal(0.5), dtype=np.float64, **options
    )


VARIANTS: list[dict[str, Any]] = [
    {}, {"positions": "rotary", "key_heads": 1, "tied": False}, {"positions": "sinusoidal", "activation": F.relu},
]  # fmt: skip


@pytest.mark.parametrize("options", VARIANTS, ids=["learned", "rotary", "sinusoidal"])
def test_a_logit_depends_on_the_symbols_up_to_it_and_on_their_order(options: Any) -> None:
    transformer = model(**options)
    logits = transformer(IDS)
    assert logits.shape == (2, 9, 11)
    changed = IDS.copy()
    changed[:, 5] = (changed[:, 5] + 1) % 11
    assert_trees_equal(transformer(changed)[:, :5], logits[:, :5])
    assert (abs(transformer(changed) - logits).max(-1)[:, 5:] > 1e-9).all()
    swapped = IDS[:1].copy()
    swapped[:, :2] = [[3, 4]]
    assert abs(transformer(swapped)[0, -1] - transformer(swapped[:, [1, 0, *range(2, 9)]])[0, -1]).max() > 1e-9
    assert_trees_close(transformer(IDS[0]), logits[0], 1e-12)


@pytest.mark.parametrize("options", VARIANTS, ids=["learned", "rotary", "sinusoidal"])
def test_caches_give_the_logits_of_all_symbols_together(options: Any) -> None:
    transformer = model(**options)
    caches, start = transformer.empty_caches(2, length=9), 0
    for n in (4, 1, 3, 1):
        logits, caches = transformer.extend(IDS[:, start : start + n], caches)
        assert_trees_close(logits, transformer(IDS)[:, start : start + n], 1e-12)
        start += n


def test_the_most_likely_symbols_are_those_of_calls_without_a_cache() -> None:
    transformer, expected = model(), IDS
    for _ in range(5):
        expected = np.concatenate([expected, transformer(expected)[:, -1:].argmax(-1)], -1)
    assert_trees_equal(transformer.generate(IDS, 5, temperature=0), expected)
    assert_trees_equal(transformer.generate(IDS[1], 5, temperature=0), expected[1])
    assert_trees_equal(transformer.generate(IDS, 5, key=KEY, top_k=1), expected)
    assert_trees_equal(transformer.generate(IDS, 0, key=KEY), IDS)


def test_draws_are_those_of_the_distribution() -> None:
    transformer = model()
    prompt = np.tile(IDS[:1], (4000, 1))
    drawn = transformer.generate(prompt, 1, key=KEY, temperature=2.0, top_k=4)[:, -1]
    logits = transformer(IDS[:1])[0, -1] / 2
    p = np.where(logits >= np.sort(logits)[-4], np.exp(logits), 0)
    np.testing.assert_allclose(np.bincount(drawn, minlength=11) / 4000, p / p.sum(), atol=0.03)
    again = transformer.generate(IDS, 5, key=KEY)
    assert again.dtype == IDS.dtype
    assert_trees_equal(transformer.generate(IDS, 5, key=KEY), again)
    assert not np.array_equal(transformer.generate(IDS, 5, key=fd.random.key(9)), again)


def test_it_learns_a_short_text_and_says_it() -> None:
    text = "the quick brown fox jumps over the lazy dog. "
    letters = sorted(set(text))
    ids = np.array([letters.index(letter) for letter in text])
    transformer = models.Transformer.init(KEY, len(letters), size=32, heads=2, layers=1, length=len(text))
    optimiser = optim.adam(0.01)

    @fd.compile
    def step(transformer: Any, state: Any) -> Any:
        loss, gradients = fd.value_and_grad(lambda model: F.softmax_cross_entropy(model(ids[:-1]), ids[1:]))(transformer)
        updates, state = optimiser.update(gradients, state, transformer)
        return loss, optim.apply_updates(transformer, updates), state

    state = optimiser.init(transformer)
    losses = []
    for _ in range(80):
        loss, transformer, state = step(transformer, state)
        losses.append(float(loss))
    assert losses[0] > 3
    assert losses[-1] < 0.05
    said = transformer.generate(ids[:5], len(text) - 5, temperature=0)
    assert "".join(letters[i] for i in said) == text


def test_a_model_is_saved_and_loaded(tmp_path: Any) -> None:
    transformer = model(tied=False)
    fd.save(tmp_path / "model.npz", transformer)
    other = models.Transformer.init(fd.random.key(5), 11, size=8, heads=2, layers=2, length=16, tied=False, dtype=np.float64)
    assert_trees_equal(fd.load(tmp_path / "model.npz", like=other)(IDS), transformer(IDS), bits=True)


def test_dropout_is_a_function_of_the_key() -> None:
    transformer = model(dropout=0.3)
    assert_trees_equal(transformer(IDS, key=KEY), model()(IDS), bits=True)
    assert not np.array_equal(transformer(IDS, key=KEY, train=True), transformer(IDS))
    fd.debug(lambda key: transformer(IDS, key=key, train=True), keys=True)(KEY)
    with pytest.raises(KeyMissingError, match="needs a random key"):
        transformer(IDS, train=True)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: model(positions="none"), RangeError, "positions are 'learned', 'sinusoidal', 'rotary', got 'none'"),
        (lambda: models.Transformer.init(KEY, 11, size=8, heads=3), RangeError, "size 8 cannot be cut into 3 equal heads"),
        (lambda: models.Transformer.init(KEY, 11, layers=0), RangeError, "Transformer: layers must be an integer of at least 1"),
        (lambda: model()(np.zeros(17, int)), ShapeError, r"T at most its length 16, got int64\[17\]"),
        (lambda: model()(IDS + 5), RangeError, "embedding: ids lie between 5 and 15, but W has 11 rows, so ids go from 0 to 10"),
        (lambda: model().generate(IDS, 8, key=KEY), RangeError, "9 ids and 8 more must fit the length of the model, 16"),
        (lambda: model().generate(IDS[:, :0], 3, key=KEY), ShapeError, r"goes on from ids \(\.\.\., T\) with T of at least 1"),
        (lambda: model().generate(IDS, 3), KeyMissingError, "key=fd.random.key"),
        (lambda: model().generate(IDS, 3, key=KEY, temperature=-1.0), RangeError, "the temperature is at least 0, got -1.0"),
        (lambda: model().generate(IDS, 3, key=KEY, top_k=12), RangeError, "top_k is an integer from 1 to 11, got 12"),
    ],
)
def test_bad_input_is_refused(call: Any, error: Any, said: str) -> None:
    with pytest.raises(error, match=said):
        call()
