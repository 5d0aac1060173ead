"""`odeint`: ordinary differential equations. The derivatives are those of the solution, not of the solver's steps.

It shows how a library function states its own rule: the solver is plain (`scan`, `while_loop`), the rule is a `custom_vjp`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .. import numpy as fnp
from .. import tree as trees
from ..compiler import closure_converted
from ..control.scan import scan
from ..control.while_loop import while_loop
from ..errors import DTypeError, ShapeError
from ..messages import describe
from ..transforms import custom_vjp, ravel, vjp
from ..values import dtype_of, limits, shape_of

Field = Callable[[Any, Any, Any], Any]  # (y (n,), t, parameters) -> dy/dt (n,)

# Dormand and Prince, J. Comput. Appl. Math. 6 (1980) 19: nodes, stages, and the last stage's weights minus those of order 4.
NODES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1)
STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
ERROR = (71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
MOST_STEPS = 100_000  # from one time to the next


def odeint(function: Callable[..., Any], y0: Any, ts: Any, *args: Any, rtol: float = 1e-6, atol: float = 1e-9) -> Any:
    """The solution of dy/dt = function(y, t, *args) with y(ts[0]) = y0: a tree like y0, each leaf with the axis of `ts` (n,) in front.

    y0 is a tree of floating arrays, and `args` are any trees. The times rise or fall. Adaptive steps of order 5(4) keep the error of
    each step below atol + rtol |y|. The derivatives with respect to y0, ts, args and the function's closure come from the adjoint
    equation, solved back in time with the same tolerances; memory does not grow with the number of steps. The solution is NaN
    where no step is small enough. Source: Chen, Rubanova, Bettencourt, Duvenaud, NeurIPS 2018, appendix B.

    Raises ShapeError or DTypeError if the function does not return a tree like y0, or if ts does not have exactly one axis.
    """
    y, unravel = ravel(y0)
    if y.dtype.kind == "V":
        raise DTypeError(
            f"odeint: y0 is {describe(y)}, too coarse for estimates of errors. Write y0.astype('float32')."
        )
    ts = fnp.asarray(ts)
    if ts.ndim != 1 or ts.shape[0] < 2:
        raise ShapeError(
            f"odeint: ts is {describe(ts)}; pass the times as one axis: first the time of y0, then at least one more."
        )
    if not y.shape[0]:
        raise DTypeError("odeint: y0 has no floating numbers that could change.")
    real = limits(y.dtype).dtype
    ts = ts if ts.dtype == real else ts.astype(real)  # because a float64 time would widen a float32 state
    pure, captured = closure_converted(lambda y, t, args: function(y, t, *args), y0, ts[0], args)

    def field(y: Any, t: Any, parameters: Any) -> Any:
        captured, args = parameters
        return ravel(pure(captured, unravel(y), t, args))[0]

    slope = pure(captured, y0, ts[0], args)
    if trees.flatten(slope)[1] != trees.flatten(y0)[1]:
        raise trees.structure_error(y0, slope, "odeint: y0", "the result of the function")
    for (path, x), dx in zip(trees.flatten_with_path(y0), trees.leaves(slope), strict=True):
        if (shape_of(x), dtype_of(x)) != (shape_of(dx), dtype_of(dx)):
            where = f" at {path!r}" if path else ""
            raise ShapeError(
                f"odeint: the function returns {describe(dx)}{where}, but y0 is {describe(x)}: shapes and dtypes must agree."
            )
    ys = _integrate(field, rtol, atol, y, ts, (captured, args))
    rows = [unravel(ys[i]) for i in range(ts.shape[0])]
    return trees.map(lambda *leaves: fnp.stack(leaves), *rows)


@partial(custom_vjp, nondiff_argnums=(0, 1, 2))
def _integrate(field: Field, rtol: float, atol: float, y: Any, ts: Any, parameters: Any) -> Any:
    """The solution (times, n) from y (n,)."""

    def between(carry: Any, times: Any) -> Any:
        y, size = carry
        t, end = times
        y, size = _advance(field, rtol, atol, y, size, t, end, parameters)
        return (y, size), y

    size = _first_size(field, rtol, atol, y, ts, parameters)
    _, ys = scan(between, (y, size), (ts[:-1], ts[1:]))
    return fnp.concatenate([y[None], ys])


def _first_size(field: Field, rtol: float, atol: float, y: Any, ts: Any, parameters: Any) -> Any:
    """The size of the first step, from the slope at the start and the slope after a short step of Euler's.

    The second slope is needed where the first one is 0. Source: Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I,
    section II.4.
    """
    span = ts[-1] - ts[0]
    scale, slope = atol + rtol * abs(y), field(y, ts[0], parameters)
    of_y, of_slope = _norm(y, scale), _norm(slope, scale)
    short = fnp.minimum(abs(span), 1) * 1e-6
    known = (of_y >= 1e-5) & (of_slope >= 1e-5)
    trial = fnp.where(known, 0.01 * of_y / fnp.where(known, of_slope, 1), short)
    trial = fnp.minimum(trial, abs(span))
    h = fnp.copysign(fnp.where(trial > 0, trial, 1), span).astype(ts.dtype)
    bend = _norm(field(y + h * slope, ts[0] + h, parameters) - slope, scale) / abs(h)
    most = fnp.maximum(of_slope, bend)
    size = fnp.where(most > 1e-15, (0.01 / fnp.where(most > 1e-15, most, 1)) ** 0.2, trial)
    size = fnp.minimum(100 * trial, size)
    return fnp.where(size > 0, size, fnp.where(trial > 0, trial, 1)).astype(
        ts.dtype
    )  # a trial may leave the field's domain: NaN


def _advance(
    field: Field, rtol: float, atol: float, y: Any, size: Any, t: Any, end: Any, parameters: Any
) -> tuple[Any, Any]:
    """y at `end` from y at t, by steps that begin with `size`; also the step size to continue with."""

    def unfinished(carry: Any) -> Any:
        _, slope, t, size, count = carry
        moves = (size > 0) & (t + size != t)  # not if the size is NaN
        return (t != end) & moves & (count < MOST_STEPS) & fnp.all(fnp.isfinite(slope))

    def step(carry: Any) -> Any:
        y, slope, t, size, count = carry
        left = end - t
        last = size >= abs(left)
        h = fnp.where(last, left, fnp.copysign(size, left))
        slopes, new = [slope], y
        for node, weights in zip(NODES, STAGES, strict=True):
            new = y + h * sum(w * k for w, k in zip(weights, slopes, strict=True) if w)
            slopes.append(field(new, t + node * h, parameters))
        error = h * sum(w * k for w, k in zip(ERROR, slopes, strict=True) if w)
        error = _norm(error, atol + rtol * fnp.maximum(abs(y), abs(new)))
        good = error <= 1
        factor = fnp.clip(0.9 * fnp.maximum(error, 1e-8) ** -0.2, 0.2, 5.0)
        factor = fnp.where(fnp.isnan(error), 0.2, factor)
        # If the end cuts a step short, the size before it stays the better guess.
        following = fnp.where(good & last, fnp.maximum(size, abs(h) * factor), abs(h) * factor)
        moved = fnp.where(last, end, t + h)
        return (
            fnp.where(good, new, y),
            fnp.where(good, slopes[-1], slope),
            fnp.where(good, moved, t),
            following.astype(t.dtype),
            count + 1,
        )

    y, _, reached, size, _ = while_loop(unfinished, step, (y, field(y, t, parameters), t, size, 0 * t))
    return fnp.where(reached == end, y, np.nan), size


def _norm(x: Any, scale: Any) -> Any:
    return fnp.sqrt(fnp.mean(abs(x / scale) ** 2))


def _inner(x: Any, y: Any) -> Any:
    return fnp.real(fnp.conj(x) * y).sum()


def _forward(field: Field, rtol: float, atol: float, y: Any, ts: Any, parameters: Any) -> Any:
    ys = _integrate(field, rtol, atol, y, ts, parameters)
    return ys, (ys, ts, parameters)


def _backward(field: Field, rtol: float, atol: float, residuals: Any, cotangents: Any) -> Any:
    """Solve da/dt = -a df/dy back in time, and dg/dt = -a df/dp for the parameters. At each of the times, its cotangent is added to a."""
    ys, ts, parameters = residuals
    a, g = fnp.zeros_like(ys[0]), fnp.zeros_like(ravel(parameters)[0])
    _, parts = ravel((ys[0], a, g))

    def adjoint(state: Any, t: Any, parameters: Any) -> Any:
        y, a, _ = parts(state)
        slope, pullback = vjp(lambda y, parameters: field(y, t, parameters), y, parameters)
        of_y, of_parameters = pullback(a)
        return ravel((slope, -of_y, -ravel(of_parameters)[0]))[0]

    def back(carry: Any, row: Any) -> Any:
        a, g = carry
        y, cotangent, t, before = row
        state = ravel((y, a + cotangent, g))[0]
        _, a, g = parts(_integrate(adjoint, rtol, atol, state, fnp.stack([t, before]), parameters)[1])
        return (a, g), _inner(cotangent, field(y, t, parameters))

    (a, g), of_times = scan(back, (a, g), (ys[1:], cotangents[1:], ts[1:], ts[:-1]), reverse=True)
    of_start = -_inner(a, field(ys[0], ts[0], parameters))
    of_ts = fnp.concatenate([of_start.reshape(1), of_times])
    return a + cotangents[0], of_ts, ravel(parameters)[1](g)


_integrate.defvjp(_forward, _backward)
