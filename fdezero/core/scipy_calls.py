"""A traced value that meets a function of SciPy: which function it is, and what to write in its place."""

import sys
from types import FrameType

from ..errors import TraceError
from ..messages import describe

HINTS = {  # a public module of SciPy -> what to write here
    "scipy": "fd.special, fd.numpy.linalg, fd.numpy.fft, fd.signal and fd.stats have many of its functions under the same names.",
    "scipy.fft": "fd.numpy.fft has these functions under the same names, with derivatives.",
    "scipy.integrate": "fd.odeint solves differential equations, and fd.numpy.trapezoid sums up samples.",
    "scipy.linalg": "fd.numpy.linalg has most of these functions under the same names, with derivatives.",
    "scipy.optimize": "The derivative of a solution does not go through the solver: fd.custom_root hands your solver plain numbers.",
    "scipy.signal": "fd.signal has convolutions, and fd.scan writes a filter as a loop.",
    "scipy.sparse": "Write A.toarray() @ x. For a large matrix, the pullback of the product A @ x is the product A.T @ t.",
    "scipy.special": "fd.special has these functions under the same names, with derivatives.",
    "scipy.stats": "fd.stats has log-densities with derivatives.",
}

BETWEEN = ("fdezero", "numpy", "scipy", "functools")  # whose frames may lie between the user's call and here


def called() -> tuple[str, str]:
    """The module of SciPy that the user's code called, such as "scipy.linalg", and the function, such as "scipy.linalg.solve".

    Both are "" if it was not SciPy. SciPy wraps some functions without a trace of their names: they are "a function of scipy.linalg".
    """
    frame: FrameType | None = sys._getframe(1)
    found, function = "", ""
    while frame is not None and (module := frame.f_globals.get("__name__", "")).partition(".")[0] in BETWEEN:
        public = module.partition("._")[0]
        name = frame.f_code.co_qualname.removesuffix(".__init__").removesuffix(".__call__")
        has_name = public != "scipy" and not any(part.startswith(("_", "<")) for part in name.split("."))
        # The outermost function with a name. SciPy's own tools wrap functions of all modules, so they count if there is nothing else.
        if (public.startswith("scipy.") and (public != found or has_name)) or (public == "scipy" and not found):
            found, function = public, f"{public}.{name}" if has_name else f"a function of {public}"
        frame = frame.f_back
    return found, function


def refuse_in_scipy(value: object, by: str) -> None:
    """Raise TraceError if SciPy asks for a number or an array of the value that `by` traces."""
    module, function = called()
    if module:
        hint = HINTS.get(".".join(module.split(".")[:2]), "")
        raise TraceError(
            f"{function} cannot compute with a value {describe(value)} traced by {by}: SciPy takes plain numbers, which carry no "
            f"derivative. {hint}{' Or state' if hint else 'State'} the derivative yourself: fd.custom_vjp, fd.custom_jvp."
        )
