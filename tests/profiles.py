"""How many examples tests draw: Hypothesis's profiles, and what only the nightly run repeats in full."""

import os
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import hypothesis
import pytest

Case = TypeVar("Case")

# Hypothesis changes its defaults if a variable such as CI is set; these profiles are the same everywhere, without deadlines.
COMMON = {
    "parent": hypothesis.settings.get_profile("default"),
    "deadline": None,
    "suppress_health_check": [hypothesis.HealthCheck.too_slow],
    "print_blob": True,
}
hypothesis.settings.register_profile("ci", max_examples=30, derandomize=True, **COMMON)
hypothesis.settings.register_profile("dev", max_examples=10, **COMMON)
hypothesis.settings.register_profile("quick", max_examples=10, derandomize=True, **COMMON)
hypothesis.settings.register_profile("nightly", max_examples=3000, **COMMON)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci")
hypothesis.settings.load_profile(PROFILE)

NIGHTLY = PROFILE == "nightly"
nightly = pytest.mark.skipif(not NIGHTLY, reason="takes long and repeats other tests: it runs with HYPOTHESIS_PROFILE=nightly")


def first_of_each(cases: Iterable[Case], by: Callable[[Case], Any]) -> list[Case]:
    """The first case of each group by default, and all cases at night: for laws that repeat others, or that need one case of a function."""
    cases = list(cases)
    return cases if NIGHTLY else list({by(case): case for case in reversed(cases)}.values())[::-1]


def examples(part: int, nightly: int = 1) -> int:
    """The number of examples for a test that repeats others: one in `part`, at night one in `nightly`; at least three."""
    return max(3, hypothesis.settings().max_examples // (nightly if NIGHTLY else part))
