"""20 steps of an LSTM through the whole of time: 64 times 32 inputs, 128 hidden units, batches of 32, float32, SGD."""

import functools
from collections.abc import Callable
from multiprocessing import get_context
from typing import Any

import numpy as np

import fdezero as fd

from .measure import FLOOR, JAX, TORCH, agree, compiled_ways, interleaved, peer, rows_of
from .memory import held, most_held

TIMES, BATCH, INPUTS, HIDDEN = 64, 32, 32, 128
STEPS, RATE, REPETITIONS = 20, 0.5, 5
Weights = list[np.ndarray]  # Wx (32, 512), Wh (128, 512), b (512,): input, forget, output, candidate
Training = Callable[[], list[Any]]  # from the first weights: the losses, and the last weights


def floor_leg(start: Weights, x: np.ndarray, t: np.ndarray) -> Training:
    """By hand; the buffer of the gates becomes that of their slopes, and then of the cotangents."""
    gates = np.empty((TIMES, BATCH, 4 * HIDDEN), np.float32)
    h, c = (np.zeros((TIMES + 1, BATCH, HIDDEN), np.float32) for _ in range(2))
    squashed = np.empty((TIMES, BATCH, HIDDEN), np.float32)
    wide, (gh, gc, scratch) = np.empty((BATCH, 4 * HIDDEN), np.float32), np.empty((3, BATCH, HIDDEN), np.float32)
    sigmoids, parts = slice(0, 3 * HIDDEN), [slice(i * HIDDEN, (i + 1) * HIDDEN) for i in range(4)]
    rows = x.reshape(TIMES * BATCH, INPUTS)

    def forward(Wx: np.ndarray, Wh: np.ndarray, b: np.ndarray) -> None:
        np.matmul(x, Wx, out=gates)
        np.add(gates, b, out=gates)
        for k, z in enumerate(gates):
            np.matmul(h[k], Wh, out=wide)
            np.add(z, wide, out=z)
            s, (i, f, o, g) = z[:, sigmoids], [z[:, part] for part in parts]
            np.negative(s, out=s)
            np.exp(s, out=s)
            np.add(s, 1, out=s)
            np.reciprocal(s, out=s)
            np.tanh(g, out=g)
            np.multiply(f, c[k], out=c[k + 1])
            np.multiply(i, g, out=scratch)
            np.add(c[k + 1], scratch, out=c[k + 1])
            np.tanh(c[k + 1], out=squashed[k])
            np.multiply(o, squashed[k], out=h[k + 1])

    def backward(Wh: np.ndarray) -> None:
        """From gh, the cotangent of the last h."""
        gc.fill(0)
        for k in reversed(range(TIMES)):
            z, y = gates[k], squashed[k]
            s, (i, f, o, g) = z[:, sigmoids], [z[:, part] for part in parts]
            slope = wide[:, sigmoids]
            np.subtract(1, s, out=slope)
            np.multiply(slope, s, out=slope)
            slopes = [wide[:, part] for part in parts]
            np.multiply(y, y, out=scratch)
            np.subtract(1, scratch, out=scratch)
            np.multiply(scratch, o, out=scratch)
            np.multiply(scratch, gh, out=scratch)
            np.add(gc, scratch, out=gc)
            np.multiply(gh, y, out=o)
            np.multiply(o, slopes[2], out=o)
            np.multiply(g, g, out=slopes[3])
            np.subtract(1, slopes[3], out=slopes[3])
            np.multiply(slopes[3], i, out=slopes[3])
            np.multiply(g, gc, out=i)
            np.multiply(i, slopes[0], out=i)
            np.multiply(slopes[3], gc, out=g)
            np.copyto(scratch, f)
            np.multiply(gc, c[k], out=f)
            np.multiply(f, slopes[1], out=f)
            np.multiply(gc, scratch, out=gc)
            np.matmul(z, Wh.T, out=gh)

    def training() -> list[Any]:
        Wx, Wh, b = weights = [w.copy() for w in start]
        gradients = gWx, gWh, gb = [np.empty_like(w) for w in weights]
        slopes, losses = gates.reshape(TIMES * BATCH, 4 * HIDDEN), []
        for _ in range(STEPS):
            forward(Wx, Wh, b)
            np.subtract(h[-1], t, out=gh)
            losses.append(float(np.square(gh, out=scratch).mean()))
            np.multiply(gh, np.float32(2 / gh.size), out=gh)
            backward(Wh)
            np.matmul(rows.T, slopes, out=gWx)
            np.matmul(h[:-1].reshape(TIMES * BATCH, HIDDEN).T, slopes, out=gWh)
            np.sum(slopes, axis=0, out=gb)
            for w, g in zip(weights, gradients, strict=True):
                np.multiply(g, np.float32(RATE), out=g)
                np.subtract(w, g, out=w)
        return [losses, *weights]

    return training


def cell(sigmoid: Callable[[Any], Any], tanh: Callable[[Any], Any]) -> Callable[..., Any]:
    """(h, c), z -> (h, c), with z (batch, 4 hidden) all that the gates are given."""

    def step(c: Any, z: Any) -> Any:
        i, f, o = (sigmoid(z[:, k * HIDDEN : (k + 1) * HIDDEN]) for k in range(3))
        c = f * c + i * tanh(z[:, 3 * HIDDEN :])
        return o * tanh(c), c

    return step


def unrolled(step: Callable[..., Any], zeros: Any) -> Callable[..., Any]:
    """The last h, by a loop in Python."""

    def last(weights: Any, x: Any) -> Any:
        Wx, Wh, b = weights
        inputs, h, c = x @ Wx + b, zeros, zeros
        for k in range(TIMES):
            h, c = step(c, inputs[k] + h @ Wh)
        return h

    return last


def scanned(step: Callable[..., Any], zeros: Any, scan: Callable[..., Any]) -> Callable[..., Any]:
    """The last h, by a scan."""

    def last(weights: Any, x: Any) -> Any:
        Wx, Wh, b = weights

        def body(carry: Any, z: Any) -> Any:
            h, c = carry
            return step(c, z + h @ Wh), None

        return scan(body, (zeros, zeros), x @ Wx + b)[0][0]

    return last


def functional_leg(last: Callable[..., Any], value_and_grad: Any, transform: Any, start: list[Any], x: Any, t: Any) -> Training:
    """A pure training step, of fdezero or JAX."""

    def loss_of(weights: Any, x: Any, t: Any) -> Any:
        return ((last(weights, x) - t) ** 2).mean()

    def train_step(weights: Any, x: Any, t: Any) -> Any:
        loss, gradients = value_and_grad(loss_of)(weights, x, t)
        return [w - RATE * g for w, g in zip(weights, gradients, strict=True)], loss

    step = transform(train_step)

    def training() -> list[Any]:
        weights, losses = start, []
        for _ in range(STEPS):
            weights, loss = step(weights, x, t)
            losses.append(float(loss))
        return [losses, *weights]

    return training


def module_leg(transform: Any, start: Weights, x: np.ndarray, t: np.ndarray) -> Training:
    """`nn.LSTM` as one writes it: the layer, its gradient and `optim.sgd`."""
    order = in_order(0, 1, 3, 2)
    opt, inputs = fd.optim.sgd(RATE), np.ascontiguousarray(x.swapaxes(0, 1))  # time is the axis before the features
    layer = fd.nn.LSTM.init(fd.random.key(0), INPUTS, HIDDEN)
    cell = fd.nn.LSTMCell(*(w[..., order] for w in start))
    layer = fd.tree.unflatten(fd.tree.flatten(layer)[1], fd.tree.leaves(cell))

    def loss_of(layer: Any, x: Any, t: Any) -> Any:
        return ((layer(x)[0][:, -1] - t) ** 2).mean()

    def train_step(layer: Any, state: Any, x: Any, t: Any) -> Any:
        loss, gradients = fd.value_and_grad(loss_of)(layer, x, t)
        return *opt.step(layer, gradients, state), loss

    step = transform(train_step)

    def training() -> list[Any]:
        now, state, losses = layer, opt.init(layer), []
        for _ in range(STEPS):
            now, state, loss = step(now, state, inputs, t)
            losses.append(float(loss))
        return [losses, *(w[..., order] for w in fd.tree.leaves(now))]

    return training


def in_order(*gates: int) -> np.ndarray:
    """The columns of the gates in this order; PyTorch's output gate is the last."""
    return np.concatenate([np.arange(k * HIDDEN, (k + 1) * HIDDEN) for k in gates])


def torch_legs(torch: Any, start: Weights, x: np.ndarray, t: np.ndarray) -> dict[str, Training]:
    x_torch, t_torch, zeros = torch.tensor(x), torch.tensor(t), torch.zeros((BATCH, HIDDEN))
    order = in_order(0, 1, 3, 2)

    def fitted(parameters: list[Any], last: Callable[[], Any]) -> list[float]:
        optimizer, losses = torch.optim.SGD(parameters, RATE), []
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(last(), t_torch)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    def by_hand() -> list[Any]:
        weights, last = [torch.tensor(w, requires_grad=True) for w in start], unrolled(cell(torch.sigmoid, torch.tanh), zeros)
        losses = fitted(weights, lambda: last(weights, x_torch))
        return [losses, *(w.detach() for w in weights)]

    def by_module() -> list[Any]:
        lstm, (Wx, Wh, b) = torch.nn.LSTM(INPUTS, HIDDEN), [torch.tensor(w[..., order].T) for w in start]
        values = {"weight_ih_l0": Wx, "weight_hh_l0": Wh, "bias_ih_l0": b, "bias_hh_l0": torch.zeros_like(b)}
        lstm.load_state_dict(values)
        trained = [lstm.weight_ih_l0, lstm.weight_hh_l0, lstm.bias_ih_l0]  # its second bias stays 0: with two it would learn twice as fast
        losses = fitted(trained, lambda: lstm(x_torch)[0][-1])
        return [losses, *(w.detach().numpy().T[..., order] for w in trained)]

    return {"PyTorch, nn.LSTM": by_module, f"{TORCH}, the cell by hand": by_hand}


def data() -> tuple[Weights, np.ndarray, np.ndarray]:
    """Initial weights, inputs and targets."""
    rng = np.random.default_rng(0)
    shapes = [(INPUTS, 4 * HIDDEN), (HIDDEN, 4 * HIDDEN), (4 * HIDDEN,)]
    start = [(0.1 * rng.standard_normal(shape)).astype(np.float32) for shape in shapes]
    x = rng.standard_normal((TIMES, BATCH, INPUTS), np.float32)
    return start, x, rng.uniform(-1, 1, (BATCH, HIDDEN)).astype(np.float32)


def makers(start: Weights, x: np.ndarray, t: np.ndarray) -> dict[str, Callable[[], Training]]:
    """What makes each leg, by its name."""
    zeros, step = np.zeros((BATCH, HIDDEN), np.float32), cell(fd.functions.sigmoid, fd.functions.tanh)
    made: dict[str, Callable[[], Training]] = {FLOOR: lambda: floor_leg(start, x, t)}
    for form, last in (("unrolled", unrolled(step, zeros)), ("fd.scan", scanned(step, zeros, fd.scan))):
        for name, way in compiled_ways().items():
            made[f"{name}, {form}"] = functools.partial(functional_leg, last, fd.value_and_grad, way, start, x, t)
    for name, way in compiled_ways().items():
        made[f"{name}, nn.LSTM"] = functools.partial(module_leg, way, start, x, t)
    plain = lambda f: f
    made["fdezero, eager, unrolled"] = lambda: functional_leg(unrolled(step, zeros), fd.value_and_grad, plain, start, x, t)
    if (jax := peer("jax")) is not None:
        last = scanned(cell(jax.nn.sigmoid, jax.numpy.tanh), jax.numpy.asarray(zeros), jax.lax.scan)
        made[f"{JAX}, lax.scan"] = lambda: functional_leg(last, jax.value_and_grad, jax.jit, *jax.device_put((start, x, t)))
    if (torch := peer("torch")) is not None:
        for name in torch_legs(torch, start, x, t):
            made[name] = lambda name=name: torch_legs(torch, start, x, t)[name]  # type: ignore[misc]  # a default binds the name now
    return made


def _grown(name: str, given: tuple[Any, ...]) -> float:
    """The MB that a process needs at most for a training, beyond what it holds before."""
    training = makers(*given)[name]()
    before = held()
    training()
    return most_held() - before


def run() -> str:
    given = data()
    legs = {name: make() for name, make in makers(*given).items()}
    agree(legs, rtol=1e-4, atol=1e-6)
    times = interleaved(legs, REPETITIONS)
    grown = {}
    for name in legs:
        with get_context("spawn").Pool(1) as pool:
            grown[name] = f"{pool.apply(_grown, (name, given)):.0f}"
    return rows_of(f"{STEPS} steps", {"": times}, extra={"peak memory, MB": grown})
