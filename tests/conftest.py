"""Settings for all tests: one BLAS thread, hypothesis profiles, and the skip of GPU tests where there is no GPU."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hypothesis
import pytest

import fdezero as fd

from .devices.strict_cupy import gpu, strict_cupy, written  # noqa: F401, fixtures

# Hypothesis has other defaults where a variable such as CI is set; these profiles are the same everywhere. No time is judged.
COMMON = {
    "parent": hypothesis.settings.get_profile("default"),
    "deadline": None,
    "suppress_health_check": [hypothesis.HealthCheck.too_slow],
    "print_blob": True,
}
hypothesis.settings.register_profile("ci", max_examples=60, derandomize=True, **COMMON)
hypothesis.settings.register_profile("dev", max_examples=10, **COMMON)
hypothesis.settings.register_profile("quick", max_examples=10, derandomize=True, **COMMON)
hypothesis.settings.register_profile("nightly", max_examples=3000, **COMMON)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not fd.gpu_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no GPU: these tests compare the CPU with a CUDA device"))
