"""Mutants that change no result: (file, its line, the changed line) -> the reason. They are not drawn again."""

ACCEPTED: dict[tuple[str, str, str], str] = {
    (
        "fdezero/core/cotangents.py",
        'return tangent if dtype is None or getattr(tangent, "dtype", dtype) == dtype else cast(tangent, dtype)',
        "return tangent if ((dtype is None)) else cast(tangent, dtype)",
    ): "cast leaves a tangent of that dtype as it is; the condition saves the call",
    (
        "fdezero/core/kinds.py",
        "level.alive = False",
        "level.alive = True",
    ): "no value of this tape is left when it returns; a dead level only names a leak",
    (
        "fdezero/core/lines.py",
        "frame = sys._getframe(1)",
        "frame = sys._getframe(2)",
    ): "user_frame is called from the library alone, so the first frame above is the library's as well",
    (
        "fdezero/ops/elementwise.py",
        "masked = type(y) is int and y == 0 and condition.dtype == bool and isinstance(x, np.ndarray | np.generic) and x.dtype == out.dtype",
        "masked = ((type(y) is int) and (y == 0) and (isinstance(x, np.ndarray | np.generic)) and (x.dtype == out.dtype))",
    ): "numpy.where makes every condition boolean before the operation sees it",
    (
        "fdezero/ops/elementwise.py",
        "return np.where(constant, 0, exponent * x ** np.where(constant, 1, exponent - 1))",
        "return np.where(0, constant, exponent * x ** np.where(constant, 1, exponent - 1))",
    ): "the exponent is 0 there, so the product and its first derivatives are 0 as well",
    (
        "fdezero/ops/linalg/determinants.py",
        'cofactor = nonlinear("cofactor", _cofactor, _cofactor_tangent, core=2)',
        'cofactor = nonlinear("cofactor", _cofactor, _cofactor_tangent)',
    ): "core lines up the loop axes of several arguments, and this operation has one",
    (
        "fdezero/ops/linalg/factors.py",
        'eig = nonlinear("eig", _eig, _eig_tangent, core=2)',
        'eig = nonlinear("eig", _eig, _eig_tangent)',
    ): "core lines up the loop axes of several arguments, and this operation has one",
    (
        "fdezero/ops/linalg/factors.py",
        'svd: Nonlinear = nonlinear("svd", _svd, _svd_tangent, core=2)',
        'svd: Nonlinear = nonlinear("svd", _svd, _svd_tangent, core=1)',
    ): "core lines up the loop axes of several arguments, and this operation has one",
    (
        "fdezero/ops/linalg/matrices.py",
        "return np.where(small, 0, 1 / np.where(small, 1, x))",
        "return np.where(small, 0, 1 / np.where(small, 2, x))",
    ): "the entries with this divisor are replaced by 0",
    (
        "fdezero/transforms/custom.py",
        "at = [zeros_like(leaves[i]) for i in active]",
        "at = [(leaves[i]) for i in active]",
    ): "a tangent rule is linear, so its transpose is the same at every point",
}
