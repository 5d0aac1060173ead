"""What the examples with sequences and higher derivatives claim beyond their figures, against loops and formulas."""

import math
import re

import numpy as np
import pytest

import fdezero as fd
from fdezero.examples import characters, maml, newton, rosenbrock, sine_rnn, tanh, transformer
from fdezero.testing import check_grads


def test_characters_are_drawn_one_after_the_other() -> None:
    model = characters.Writer.init(fd.random.key(0), 7, 5)
    keys = fd.random.split(fd.random.key(1), 6)
    seen, expected = [2, 0], []
    for key in keys:  # the whole text is read again for each character
        scores, _ = model(np.array(seen), model.lstm.initial_state())
        expected.append(int(fd.random.categorical(key, scores[-1] / 0.5)))
        seen.append(expected[-1])
    assert characters.write(model, np.array([2, 0]), keys, 0.5).tolist() == expected


def test_the_state_goes_on_into_the_next_piece_and_the_gradient_does_not() -> None:
    model, ids = characters.Writer.init(fd.random.key(0), 7, 5), np.arange(12) % 7
    state = model.lstm.initial_state()
    whole, last = characters.loss_fn(model, state, ids[:10], ids[1:11])
    first, state = characters.loss_fn(model, state, ids[:5], ids[1:6])
    second, state = characters.loss_fn(model, state, ids[5:10], ids[6:11])
    np.testing.assert_allclose((first + second) / 2, whole, rtol=1e-6)
    np.testing.assert_allclose(state[1], last[1], rtol=1e-5)
    gradient = fd.grad(lambda state: characters.loss_fn(model, state, ids[:5], ids[1:6])[0])(state)
    assert not any(map(np.any, fd.tree.leaves(gradient)))


def test_a_model_that_knows_nothing_needs_the_bits_of_the_vocabulary() -> None:
    ids = np.arange(5100) % 8
    zeros = fd.tree.map(np.zeros_like, characters.Writer.init(fd.random.key(0), 8, 3))
    assert characters.bits(zeros, ids) == pytest.approx(3, rel=1e-6)
    model = transformer.models.Transformer.init(fd.random.key(0), 8, size=4, heads=1, layers=1, length=6, positions="rotary")
    assert transformer.bits(fd.tree.map(np.zeros_like, model), ids[:100], 6) == pytest.approx(3, rel=1e-6)


@pytest.mark.parametrize("length", [6, 7])
def test_each_character_is_measured_once_after_half_a_window(length: int) -> None:
    model = transformer.models.Transformer.init(fd.random.key(1), 8, size=4, heads=1, layers=1, length=length, positions="rotary")
    model = fd.tree.map(lambda a: 20 * a, model)  # sharp scores, so that a wrong place shows
    ids = np.array(fd.random.randint(fd.random.key(2), (length + 9,), 0, 8))
    half, costs = length // 2, []
    for start in range(0, len(ids) - length, length - half):
        scores = fd.functions.log_softmax(model(ids[start : start + length]))
        costs += [-scores[i, ids[start + i + 1]] for i in range(half, length)]
    assert transformer.bits(model, ids, length) == pytest.approx(np.mean(costs) / math.log(2), rel=1e-5)


def test_a_text_is_longer_than_the_window(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformer, "train", lambda model, *_: model)  # how well it writes does not matter here
    monkeypatch.setattr(transformer, "bits", lambda *_: 0.0)
    transformer.main(["--quick", "--prompt", "HAMLET.\\n", "--count", "33"])
    written = re.search(r"\n\n(HAMLET\.\n.*)\n\nbits", capsys.readouterr().out, re.DOTALL)
    assert written
    assert len(written[1]) == len("HAMLET.\n") + 33


def test_there_are_no_more_characters_to_train_on_than_the_text_has(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        characters.parse(["--characters", "1090001"])
    assert "1090001 is not a whole number, 5000 or more and below 1090001" in capsys.readouterr().err


@pytest.mark.parametrize("example", [characters, transformer])
def test_a_prompt_is_checked_before_the_training(example: object, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(fd.errors.RangeError, match=r"the vocabulary does not have '%', character 2 of the text"):
        example.main(["--quick", "--prompt", "HI%"])  # type: ignore[attr-defined]  # both are examples
    assert "step" not in capsys.readouterr().out


def test_a_network_runs_on_as_a_loop_does() -> None:
    model = sine_rnn.RNN.init(fd.random.key(0), 5)
    x = np.array(sine_rnn.noisy_sines(fd.random.key(1), 1))[:4, 0]
    state, expected = np.zeros(5, np.float32), []
    for value in x:
        state = np.tanh(value @ model.of_x.W + model.of_x.b + state @ model.of_state.W)
    y = state @ model.output.W + model.output.b
    for _ in range(3):
        state = np.tanh(y @ model.of_x.W + model.of_x.b + state @ model.of_state.W)
        y = state @ model.output.W + model.output.b
        expected.append(y)
    found = sine_rnn.run_on(model, x, np.zeros(5, np.float32), np.zeros(3))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_the_meta_loss_has_the_right_gradient_and_goes_over_tasks() -> None:
    key = fd.random.key(0)
    model = fd.nn.MLP.init(key, (1, 3, 1), activation=fd.functions.tanh)
    model, tasks = fd.tree.map(lambda a: a.astype(np.float64), (model, maml.draw_tasks(key, 2)))
    x, y, other_x, other_y = tasks
    each = [maml.loss_fn(maml.adapt(model, x[i], y[i], 0.1, 2), other_x[i], other_y[i]) for i in range(2)]
    assert maml.loss_after(model, tasks, 0.1, 2) == pytest.approx(np.mean(each), rel=1e-12)
    check_grads(lambda model: maml.loss_after(model, tasks, 0.1), (model,), order=1)


def test_methods_multiply_the_digits_by_their_order_and_one() -> None:
    for order in (1, 2, 3):
        step = newton.householder(newton.f, order)
        errors = [abs(step(1.0 + distance) - 1.0) for distance in (0.04, 0.02)]
        assert math.log2(errors[0] / errors[1]) == pytest.approx(order + 1, abs=0.25)
    slope = fd.grad(newton.f)
    assert newton.householder(newton.f, 1)(2.0) == pytest.approx(2.0 - slope(2.0) / fd.grad(slope)(2.0), rel=1e-14)


def test_gradient_descent_reaches_the_point_of_the_book() -> None:
    opt = rosenbrock.optim.sgd(0.001)
    points = rosenbrock.walk(rosenbrock.descent(opt), opt.init(rosenbrock.START), 1000)
    np.testing.assert_allclose(points[1000], [0.6837118569138317, 0.4659526837427042], rtol=1e-9)


def test_the_graph_of_the_second_derivative_is_that_of_the_page() -> None:
    assert tanh.operations(tanh.derivative(np.tanh, 2)) == (7, 4)
    assert tanh.exact(np.array([0.3]), 2) == pytest.approx(-2 * math.tanh(0.3) * (1 - math.tanh(0.3) ** 2), rel=1e-14)
