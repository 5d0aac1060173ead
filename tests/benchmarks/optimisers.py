"""A step of an optimiser on 10 million parameters, the leaves of a small Transformer, beside torch.optim and optax."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fdezero import optim

from .measure import EAGER, Legs, agree, compiled_ways, interleaved, peer, rows_of

WIDTH, LAYERS, WORDS = 512, 2, 5000
REPETITIONS = 15
RATE, DECAY = 1e-3, 0.01
FUSED, FOREACH, OPTAX = "PyTorch, fused", "PyTorch, foreach", "optax, jit, in place"
METHODS: dict[str, tuple[optim.GradientTransformation, Callable[..., Any], Callable[[Any], Any]]] = {
    "adam": (optim.adam(RATE), lambda o, p, **how: o.Adam(p, RATE, **how), lambda o: o.adam(RATE)),
    "adamw": (
        optim.adamw(RATE, weight_decay=DECAY), lambda o, p, **how: o.AdamW(p, RATE, weight_decay=DECAY, **how),
        lambda o: o.adamw(RATE, weight_decay=DECAY),
    ),
    "momentum": (optim.momentum(RATE), lambda o, p, **how: o.SGD(p, RATE, momentum=0.9, **how), lambda o: o.sgd(RATE, momentum=0.9)),
}  # fmt: skip


def parameters() -> dict[str, np.ndarray]:
    """The weights, 29 leaves with 9.9 million numbers."""
    n = WIDTH
    layer = {"qkv": (n, 3 * n), "qkv_b": (3 * n,), "out": (n, n), "out_b": (n,), "up": (n, 4 * n), "up_b": (4 * n,), "down": (4 * n, n), "down_b": (n,)}
    layer |= {f"norm{i}_{part}": (n,) for i in (1, 2) for part in ("scale", "shift")}
    shapes = {f"{i}/{name}": shape for i in range(LAYERS) for name, shape in layer.items()}
    shapes |= {"words": (WORDS, n), "norm_scale": (n,), "norm_shift": (n,), "head": (n, 2000), "head_b": (2000,)}
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}


def leg(step: Callable[..., Any], params: Any, state: Any, grads: Any) -> Callable[[], Any]:
    """A step that goes on from where the last one ended, and returns the parameters."""
    held = [params, state]

    def run() -> Any:
        held[0], held[1] = step(held[0], grads, held[1])
        return held[0]

    return run


def legs_of(name: str) -> Legs:
    ours, torchs, optaxs = METHODS[name]
    params = parameters()
    grads = {name: 0.1 * p[::-1] for name, p in params.items()}
    grads = {name: np.ascontiguousarray(g) for name, g in grads.items()}
    legs: Legs = {}
    if torch := peer("torch"):
        for label, how in ((FUSED, {"fused": True}), (FOREACH, {"foreach": True})):
            theirs = [torch.tensor(p, requires_grad=True) for p in params.values()]
            for p, g in zip(theirs, grads.values(), strict=True):
                p.grad = torch.tensor(g)
            optimizer = torchs(torch.optim, theirs, **how)

            def run(theirs: Any = theirs, optimizer: Any = optimizer) -> Any:
                optimizer.step()
                return dict(zip(params, [p.detach().numpy() for p in theirs], strict=True))

            legs[label] = run
    if (optax := peer("optax")) and (jax := peer("jax")):
        transformation = optaxs(optax)

        def step(params: Any, grads: Any, state: Any) -> Any:
            updates, state = transformation.update(grads, state, params)
            return optax.apply_updates(params, updates), state

        run = leg(jax.jit(step, donate_argnums=(0, 2)), jax.device_put(params), transformation.init(params), jax.device_put(grads))
        legs[OPTAX] = lambda: jax.block_until_ready(run())
    for label, way in compiled_ways().items():
        legs[label] = leg(way(ours.step), params, ours.init(params), grads)
    legs[EAGER] = leg(ours.step, params, ours.init(params), grads)
    return legs


def run() -> str:
    cases = {}
    for name in METHODS:
        legs = legs_of(name)
        for _ in range(3):  # so that outputs have been handed out and come back
            agree(legs, 1e-4, 1e-5)
        cases[name] = interleaved(legs, REPETITIONS)
    return rows_of("a step, 9.9 million float32 numbers", cases, "ms")
