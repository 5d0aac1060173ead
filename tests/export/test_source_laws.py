"""Every operation of the registry is exported as source, with the bits of the compiled function, and without this library."""

from typing import Any

import numpy as np
import pytest

import fdezero as fd

from ..laws.samples import SAMPLES, Sample
from .running import assert_same_bits, run

PARTS = 4


def _together(samples: list[Sample]) -> tuple[Any, list[Any]]:
    """One function of the arrays of all samples, because operations share what a file says of them."""
    places = [(k, i) for k, sample in enumerate(samples) for i, arg in enumerate(sample.args) if isinstance(arg, np.ndarray)]

    def every_one(*arrays: Any) -> Any:
        args = [list(sample.args) for sample in samples]
        for (k, i), array in zip(places, arrays, strict=True):
            args[k][i] = array
        return tuple([sample.primitive(*given, **sample.params) for sample, given in zip(samples, args, strict=True)])

    return every_one, [samples[k].args[i] for k, i in places]


@pytest.mark.parametrize("part", range(PARTS))
def test_every_operation_has_the_bits_of_compiled_code(part: int) -> None:
    samples = SAMPLES[part::PARTS]
    function, arrays = _together(samples)
    compiled = fd.compile(function)
    compiled(*arrays)
    got = run(fd.export.source(function, *arrays), "every_one")(*arrays)
    for sample, x, y in zip(samples, got, compiled(*arrays), strict=True):
        assert_same_bits(x, y, str(sample))
