"""The C expressions of the elementwise operations: compiled, they give NumPy's values."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from fdezero.core import Elementwise

from .samples import DIFFERENTIABLE

COMPILER = shutil.which("cc") or shutil.which("gcc")
FLOATING = {"f"}
OF_DRAWS = {f"random_{name}" for name in "gamma_by_shape beta_by_shape gamma_integral beta_integral truncated_normal".split()}
OTHERS = {"checked"}  # It raises an error.
WITHOUT = set(  # CUDA does not have these.
    "digamma zeta beta betaln rgamma gammainc gammaincc gammaincinv gammainccinv betainc betaincc betaincinv betainccinv "
    "log_gammainc log_gammaincc log_betainc log_betaincc log_beta gamma_integral beta_integral log_gamma_density log_beta_density "
    "bessel_i0e bessel_i1e iv ive jv yn yv kv kve".split()
)
CUDA_ALONE = {"erfinv", "erfcinv", "erfcx", "bessel_i0", "bessel_i1"}  # C does not have these.
ELEMENTWISE = {s.name: s for s in DIFFERENTIABLE if isinstance(s.primitive, Elementwise) and not any(map(np.iscomplexobj, s.args))}


def test_every_elementwise_operation_has_a_c_expression() -> None:
    assert {name for name, sample in ELEMENTWISE.items() if not sample.primitive.c} == WITHOUT | OF_DRAWS | OTHERS


@pytest.mark.skipif(COMPILER is None, reason="no C compiler on this machine")
def test_c_expressions_are_the_operations(tmp_path: Path) -> None:
    functions = []
    known = {name: sample for name, sample in ELEMENTWISE.items() if name not in WITHOUT | OF_DRAWS | OTHERS | CUDA_ALONE}
    for name, sample in known.items():
        arguments = ", ".join(f"double x{i}" for i in range(len(sample.args)))
        functions.append(f"double f_{name}({arguments}) {{ return {sample.primitive.expression(FLOATING)}; }}")  # type: ignore[attr-defined]
    source, library = tmp_path / "ops.c", tmp_path / "ops.so"
    source.write_text("#include <math.h>\n" + "\n".join(functions))
    subprocess.run([str(COMPILER), "-O0", "-shared", "-fPIC", "-o", str(library), str(source), "-lm"], check=True)
    compiled = ctypes.CDLL(str(library))
    for name, sample in known.items():
        function = getattr(compiled, f"f_{name}")
        function.restype = ctypes.c_double
        function.argtypes = [ctypes.c_double] * len(sample.args)
        flat = [x.ravel() for x in np.broadcast_arrays(*sample.args)]
        expected = np.ravel(sample.primitive(*sample.args, **sample.params))
        got = [function(*map(float, row)) for row in zip(*flat, strict=True)]
        np.testing.assert_allclose(got, expected, rtol=1e-12, err_msg=name)
