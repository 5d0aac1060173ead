"""The examples from science against what is known without them: dense Gaussians, closed forms, differential equations."""

import math
from typing import Any

import numpy as np

import fdezero as fd
from fdezero.examples import gaussian_process, hmc, kalman, neural_ode, pinn
from fdezero.testing import check_grads

STEPS = 7


def normal_log_density(y: np.ndarray, mean: Any, covariance: np.ndarray) -> float:
    """From the definition, with no factor in common with the examples."""
    off = y - mean
    return -0.5 * (off @ np.linalg.inv(covariance) @ off + math.log(np.linalg.det(2 * math.pi * covariance)))


def track(log_noise: dict[str, Any]) -> tuple[kalman.Model, np.ndarray, np.ndarray]:
    """A model, all its states as one Gaussian: covariance (T 4, T 4); and measurements (T, 2)."""
    model = kalman.model_of(log_noise)
    covariance = np.zeros((STEPS, 4, STEPS, 4))
    now = 100.0 * np.eye(4)
    for i in range(STEPS):
        now = model.A @ now @ model.A.T + model.Q
        covariance[i, :, i] = now
        for j in range(i + 1, STEPS):
            covariance[j, :, i] = np.linalg.matrix_power(model.A, j - i) @ now
            covariance[i, :, j] = covariance[j, :, i].T
    _, y = kalman.simulate(model, STEPS, fd.random.key(3))
    return model, covariance.reshape(STEPS * 4, STEPS * 4), y


def test_the_kalman_filter_conditions_one_gaussian_of_all_measurements() -> None:
    model, states, y = track({"speed": -0.7, "sensor": 0.4})
    to_y = np.kron(np.eye(STEPS), model.C)
    seen = to_y @ states @ to_y.T + np.kron(np.eye(STEPS), model.R)
    log_likelihood, (foreseen, corrected) = kalman.kalman_filter(model, y)
    np.testing.assert_allclose(log_likelihood, normal_log_density(y.ravel(), 0.0, seen), rtol=1e-10)
    for known in range(STEPS):  # the state after `known` measurements
        gain = states @ to_y.T[:, : 2 * known] @ np.linalg.inv(seen[: 2 * known, : 2 * known])
        mean = (gain @ y.ravel()[: 2 * known]).reshape(STEPS, 4)
        left = (states - gain @ to_y[: 2 * known] @ states).reshape(STEPS, 4, STEPS, 4)
        np.testing.assert_allclose(foreseen[0][known], mean[known], atol=1e-9)
        np.testing.assert_allclose(foreseen[1][known], left[known, :, known], atol=1e-9)
        if known:
            np.testing.assert_allclose(corrected[0][known - 1], mean[known - 1], atol=1e-9)
            np.testing.assert_allclose(corrected[1][known - 1], left[known - 1, :, known - 1], atol=1e-9)
    everything = (states @ to_y.T @ np.linalg.solve(seen, y.ravel())).reshape(STEPS, 4)
    np.testing.assert_allclose(kalman.smooth(model, foreseen, corrected), everything, atol=1e-9)


def test_the_gradient_of_the_filter_is_that_of_its_likelihood() -> None:
    log_noise = {"speed": -0.7, "sensor": 0.4}
    _, _, y = track(log_noise)
    check_grads(lambda log_noise: kalman.kalman_filter(kalman.model_of(log_noise), y)[0], (log_noise,), order=1)


def test_the_exact_posterior_is_what_hmc_samples() -> None:
    powers, y = hmc.draw_data(fd.random.key(5))
    exact = hmc.exact_posterior(powers, y)
    unit = exact["covariance"] * (exact["shape"] - 1) / exact["scale"]  # the covariance of w is noise**2 times this
    apart = []
    for w, log_noise in [([0.4, -1.0, 2.0], -0.9), ([1.0, 0.0, 0.0], 0.3), ([0.5, -2.0, 3.0], -0.2)]:
        variance = math.exp(2 * log_noise)
        density = normal_log_density(np.array(w), exact["mean"][:3], variance * unit)
        density += -(exact["shape"] + 1) * math.log(variance) - exact["scale"] / variance
        density += 2 * log_noise  # noise**2 changes by 2 noise**2 for a change of its logarithm
        apart.append(hmc.log_posterior({"w": np.array(w), "log_noise": log_noise}, powers, y) - density)
    np.testing.assert_allclose(apart, apart[0], rtol=1e-12)


def test_hmc_keeps_a_density_that_it_has_reached() -> None:
    scale = np.array([1.0, 0.3])
    starts = scale * fd.random.normal(fd.random.key(0), (400, 2), dtype=np.float64)
    move = lambda q, key: hmc.transition(lambda q: -0.5 * ((q / scale) ** 2).sum(), q, key, 0.45, 3)
    ends, chances = fd.vmap(move)(starts, fd.random.split(fd.random.key(1), 400))
    assert 0.5 < chances.mean() < 0.95  # so the steps are long, and rejections matter
    np.testing.assert_allclose(ends.std(0), scale, rtol=0.1)
    np.testing.assert_allclose(ends.mean(0) / scale, 0, atol=0.15)


def test_a_gaussian_process_conditions_one_gaussian_of_all_values() -> None:
    t, new = np.array([0.0, 0.3, 0.5, 1.4, 2.0]), np.array([0.1, 2.5])
    y = np.array([0.2, -0.4, 1.0, 0.3, -0.6])
    kernel = gaussian_process.Kernel(noise=math.log(0.4))

    def covariance(s: np.ndarray, t: np.ndarray) -> np.ndarray:
        trend = lambda d: 3.0**2 * math.exp(-(d**2) / (2 * 3.0**2))
        season = lambda d: math.exp(-2 * math.sin(math.pi * d) ** 2)
        return np.array([[trend(a - b) + season(a - b) for b in t] for a in s])

    seen = covariance(t, t) + 0.4**2 * np.eye(5)
    np.testing.assert_allclose(gaussian_process.log_likelihood(kernel, t, y), normal_log_density(y, 0.0, seen))
    mean, std = gaussian_process.forecast(kernel, t, y, new)
    cross = covariance(new, t) @ np.linalg.inv(seen)
    np.testing.assert_allclose(mean, cross @ y)
    np.testing.assert_allclose(std**2, np.diag(covariance(new, new) - cross @ covariance(t, new)))
    check_grads(lambda kernel: gaussian_process.log_likelihood(kernel, t, y), (kernel,), order=1)


def test_the_exact_solution_solves_burgers_equation() -> None:
    t, x, step = np.array([0.1, 0.3, 0.5, 0.9]), np.array([-0.6, 0.1, 0.35, -0.2]), 1e-4
    u = pinn.exact(t, x)
    u_t = (pinn.exact(t + step, x) - pinn.exact(t - step, x)) / (2 * step)
    left, right = pinn.exact(t, x - step), pinn.exact(t, x + step)
    terms = np.stack([u_t, u * (right - left) / (2 * step), -pinn.VISCOSITY * (right - 2 * u + left) / step**2])
    np.testing.assert_allclose(terms.sum(0), 0, atol=1e-5 * abs(terms).max())
    x = np.linspace(-1, 1, 9)
    np.testing.assert_allclose(pinn.exact(np.full(9, 1e-6), x), -np.sin(np.pi * x), atol=1e-4)
    np.testing.assert_allclose(pinn.exact(np.ones(2), np.array([-1.0, 1.0])), 0, atol=1e-12)


def test_the_residual_is_that_of_burgers_equation() -> None:
    """In place of a network, a polynomial whose derivatives are known."""
    model = lambda point: np.stack([point[0] ** 2 * point[1]])
    t, x = 0.3, 0.4
    u = t**3 * (x - x**3) - math.sin(math.pi * x)
    u_x = t**3 * (1 - 3 * x**2) - math.pi * math.cos(math.pi * x)
    u_xx = -6 * t**3 * x + math.pi**2 * math.sin(math.pi * x)
    expected = 3 * t**2 * (x - x**3) + u * u_x - pinn.VISCOSITY * u_xx
    np.testing.assert_allclose(pinn.residual(model, np.float64(t), np.float64(x)), expected, rtol=1e-12)


def test_a_neural_ode_of_the_true_field_foresees_what_was_measured() -> None:
    y = neural_ode.measure(3, fd.random.key(0))
    piece = neural_ode.pieces(y, 5, 4, fd.random.key(1))
    assert piece.shape == (5, 5, 2)
    rows = [any(np.array_equal(piece[:, i], y[s : s + 5, j]) for s in range(len(y) - 4) for j in range(3)) for i in range(5)]
    assert all(rows)
    ts = np.arange(5, dtype=np.float32) * np.float32(neural_ode.EVERY)
    truth = lambda y: np.stack([y[..., 1], -5 * np.sin(y[..., 0]) - np.float32(0.2) * y[..., 1]], axis=-1)
    assert neural_ode.loss_fn(truth, piece, ts) < (3 * neural_ode.NOISE) ** 2
    assert neural_ode.loss_fn(lambda y: 0.7 * truth(y), piece, ts) > (3 * neural_ode.NOISE) ** 2
