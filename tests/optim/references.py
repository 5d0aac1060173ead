"""Methods of optimisation as loops in plain NumPy, written from their papers, each for one array of float64.

Every function takes `gradient(p, t)`, the gradient at step t = 1, 2, ..., the first array, the number of steps, and the settings.
"""

from collections.abc import Callable

import numpy as np

Array = np.ndarray
Gradient = Callable[[Array, int], Array]


def sgd(gradient: Gradient, p: Array, steps: int, lr: float) -> Array:
    for t in range(1, steps + 1):
        p = p - lr * gradient(p, t)
    return p


def sign_sgd(gradient: Gradient, p: Array, steps: int, lr: float) -> Array:
    for t in range(1, steps + 1):
        p = p - lr * np.sign(gradient(p, t))
    return p


def momentum(gradient: Gradient, p: Array, steps: int, lr: float, decay: float = 0.9, nesterov: bool = False) -> Array:
    v = np.zeros_like(p)
    for t in range(1, steps + 1):
        g = gradient(p, t)
        v = decay * v + g
        p = p - lr * (g + decay * v if nesterov else v)
    return p


def adagrad(gradient: Gradient, p: Array, steps: int, lr: float, eps: float = 1e-8, initial: float = 0.0) -> Array:
    h = np.full_like(p, initial)
    for t in range(1, steps + 1):
        g = gradient(p, t)
        h = h + g**2
        p = p - lr * g / (np.sqrt(h) + eps)
    return p


def adadelta(gradient: Gradient, p: Array, steps: int, lr: float, decay: float = 0.95, eps: float = 1e-6) -> Array:
    of_g, of_x = np.zeros_like(p), np.zeros_like(p)
    for t in range(1, steps + 1):
        g = gradient(p, t)
        of_g = decay * of_g + (1 - decay) * g**2
        x = np.sqrt(of_x + eps) / np.sqrt(of_g + eps) * g
        of_x = decay * of_x + (1 - decay) * x**2
        p = p - lr * x
    return p


def rmsprop(
    gradient: Gradient, p: Array, steps: int, lr: float, decay: float = 0.99, eps: float = 1e-8, momentum: float = 0.0, centred: bool = False
) -> Array:
    n, mean, v = np.zeros_like(p), np.zeros_like(p), np.zeros_like(p)
    for t in range(1, steps + 1):
        g = gradient(p, t)
        n, mean = decay * n + (1 - decay) * g**2, decay * mean + (1 - decay) * g
        v = momentum * v + g / (np.sqrt(n - mean**2 if centred else n) + eps)
        p = p - lr * v
    return p


def adam(
    gradient: Gradient, p: Array, steps: int, lr: float, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.0,
    amsgrad: bool = False, trusted: bool = False,
) -> Array:  # fmt: skip
    """Adam; AdamW with `weight_decay`; LAMB if the step is `trusted`."""
    m, v, greatest = np.zeros_like(p), np.zeros_like(p), np.zeros_like(p)
    for t in range(1, steps + 1):
        g = gradient(p, t)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        greatest = np.maximum(greatest, v)
        step = m / (1 - b1**t) / (np.sqrt((greatest if amsgrad else v) / (1 - b2**t)) + eps) + weight_decay * p
        p = p - lr * (step * np.linalg.norm(p) / np.linalg.norm(step) if trusted else step)
    return p


def adamax(gradient: Gradient, p: Array, steps: int, lr: float, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Array:
    m, u = np.zeros_like(p), np.zeros_like(p)
    for t in range(1, steps + 1):
        g = gradient(p, t)
        m, u = b1 * m + (1 - b1) * g, np.maximum(b2 * u, abs(g) + eps)
        p = p - lr / (1 - b1**t) * m / u
    return p


def nadam(
    gradient: Gradient, p: Array, steps: int, lr: float, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, momentum_decay: float = 4e-3
) -> Array:
    m, v, product = np.zeros_like(p), np.zeros_like(p), 1.0
    momentum_of = lambda t: b1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))
    for t in range(1, steps + 1):
        g = gradient(p, t)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        now, later = momentum_of(t), momentum_of(t + 1)
        product *= now
        ahead = later * m / (1 - product * later) + (1 - now) * g / (1 - product)
        p = p - lr * ahead / (np.sqrt(v / (1 - b2**t)) + eps)
    return p


def radam(gradient: Gradient, p: Array, steps: int, lr: float, b1: float = 0.9, b2: float = 0.999, eps: float = 0.0) -> Array:
    m, v = np.zeros_like(p), np.zeros_like(p)
    last = 2 / (1 - b2) - 1
    for t in range(1, steps + 1):
        g = gradient(p, t)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        step = m / (1 - b1**t)
        length = last - 2 * t * b2**t / (1 - b2**t)
        if length > 5:
            r = np.sqrt((length - 4) * (length - 2) * last / ((last - 4) * (last - 2) * length))
            step = step * r * np.sqrt(1 - b2**t) / (np.sqrt(v) + eps)
        p = p - lr * step
    return p


def lion(gradient: Gradient, p: Array, steps: int, lr: float, b1: float = 0.9, b2: float = 0.99, weight_decay: float = 0.0) -> Array:
    m = np.zeros_like(p)
    for t in range(1, steps + 1):
        g = gradient(p, t)
        p = p - lr * (np.sign(b1 * m + (1 - b1) * g) + weight_decay * p)
        m = b2 * m + (1 - b2) * g
    return p


def lars(
    gradient: Gradient, p: Array, steps: int, lr: float, decay: float = 0.9, weight_decay: float = 0.0, coefficient: float = 1e-3, nesterov: bool = False
) -> Array:
    v = np.zeros_like(p)
    for t in range(1, steps + 1):
        g = gradient(p, t) + weight_decay * p
        g = g * coefficient * np.linalg.norm(p) / np.linalg.norm(g)
        v = decay * v + lr * g
        p = p - (lr * g + decay * v if nesterov else v)
    return p


def adafactor(
    gradient: Gradient, p: Array, steps: int, lr: float, power: float = 0.8, clip: float = 1.0, least: float = 1e-3, weight_decay: float = 0.0
) -> Array:
    rms = lambda x: np.sqrt(np.mean(x**2))
    v, rows, columns = np.zeros_like(p), np.zeros(p.shape[:-1]), np.zeros((*p.shape[:-2], *p.shape[-1:]))
    for t in range(1, steps + 1):
        g = gradient(p, t)
        new = float(t) ** -power
        v = (1 - new) * v + new * g**2
        if p.ndim > 1:
            rows = (1 - new) * rows + new * (g**2).mean(-1)
            columns = (1 - new) * columns + new * (g**2).mean(-2)
            v_hat = rows[..., :, None] * columns[..., None, :] / rows.mean(-1)[..., None, None]
        else:
            v_hat = v
        u = g / np.sqrt(v_hat)
        p = p - lr * (max(least, rms(p)) * u / max(1.0, rms(u) / clip) + weight_decay * p)
    return p
