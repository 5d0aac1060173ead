"""The peak memory of training steps: what a fresh process needs beyond what it holds before the first step."""

from collections.abc import Callable
from multiprocessing import get_context
from typing import Any

from . import steps, steps_torch
from .measure import EAGER, TORCH, compiled_ways, peer, table
from .memory import forget_peak, held, most_held

STEPS = 5


def _ours(name: str, transform: Callable[..., Any]) -> Callable[[], Any]:
    step = steps.TRAINING[name]()
    function, state, data = transform(step.function), step.state, step.data
    del step  # so that nothing holds the first parameters when new ones are there

    def training() -> None:
        nonlocal state
        *moved, _ = function(*state, *data)
        state = tuple(moved)

    return training


def _grown(name: str, way: str) -> float | None:
    """The MB that a process needs at most for some steps, beyond what it holds before them; None if PyTorch is missing."""
    if way == TORCH:
        if (torch := peer("torch")) is None:
            return None
        training = steps_torch.LEGS[name](torch)
    else:
        training = _ours(name, {**compiled_ways(), EAGER: lambda step: step}[way])
    forget_peak()
    before = held()
    for _ in range(STEPS):
        training()
    return most_held() - before


def run() -> str:
    lines = []
    ways = [*compiled_ways(), EAGER, TORCH]
    for name in steps.TRAINING:
        line = [name]
        for way in ways:
            with get_context("spawn").Pool(1) as pool:
                grown = pool.apply(_grown, (name, way))
            line.append("" if grown is None else f"{grown:.0f}")
        lines.append(line)
    return table([f"MB for {STEPS} training steps", *ways], lines)
