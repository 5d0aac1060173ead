"""Attention on a GPU: between two products, one kernel for the weights of the keys, and one for the cotangent of the scores.

Both take raw scores q k^T. They scale them, add the bias, hide what a mask or the order hides, and know a row's sum. They write over
the scores and over the cotangent of the weights.
"""

from typing import Any

import numpy as np

from ..devices import backend_of
from . import block_kernels


def _score(named: dict[str, Any], causal: bool) -> str:
    """Statements for the score v of key k; rows count in the order of axes, so `line % T` is a query's number."""
    lines = ["A v = (A)@s * (A)scale;"]
    if "bias" in named:
        lines.append("v += (A)@bias;")
    if "mask" in named:
        lines.append("if (!@mask) v = (A)(-1.0 / 0.0);")
    if causal:
        lines.append("if (k > line % (place)rows + (place)ahead) v = (A)(-1.0 / 0.0);")
    return "\n".join(lines)


def _whole(s: Any, *others: Any) -> Any:
    """Scores in C order that may be written over, with the loop axes of all operands."""
    shape = np.broadcast_shapes(*[x.shape for x in (s, *others)])
    if s.shape == shape and s.flags.c_contiguous:
        return s
    xp = backend_of(s).module
    return xp.array(xp.broadcast_to(s, shape), order="C")


def _numbers(s: Any, causal: bool, scale: float, kept: float, **others: float) -> dict[str, float]:
    ordered = {"rows": s.shape[-2], "ahead": s.shape[-1] - s.shape[-2]} if causal else {}
    return {"scale": scale, "kept": kept, **ordered, **others}


def weights(s: Any, named: dict[str, Any], *, causal: bool, scale: float, kept: float) -> tuple[Any, Any]:
    """The weights of the keys, as dropout leaves them, and log(sum(exp(scores))): s (..., T, S) -> (..., T, S), (..., T, 1)."""
    s = _whole(s, *named.values())
    total = np.empty_like(s, shape=(*s.shape[:-1], 1))
    limits = np.finfo(s.dtype)
    score = _score(named, causal)
    weight = "@keep ? weight / (A)kept : (A)0" if "keep" in named else "weight"
    body = f"""
A most = (A)least, sum = 0;
each {{ {score} most = fmax(most, v); }}
most = greatest(most, room);
each {{ {score} sum += exp(v - most); }}
sum = fmax(total(sum, room), (A)tiny);
each {{ {score} A weight = exp(v - most) / sum; @s = {weight}; }}
if (there && ALONG == 0) *sums_ = log(sum) + most;
"""
    numbers = _numbers(s, causal, scale, kept, least=float(limits.min), tiny=float(limits.tiny))
    if s.size:
        block_kernels.launch("weights", named, {"s": s, "sums": total}, (-1,), body, numbers=numbers, in_order=True)
    return s, total


def pulled_weights(
    s: Any, d: Any, ty: Any, y: Any, total: Any, tsum: Any, named: dict[str, Any],
    *, causal: bool, scale: float, kept: float, factor: float,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """Weights as dropout leaves them, and the cotangent of scores times a factor, as it is and transposed, like the weights.

    s, d (..., T, S) -> (..., S, T), (..., T, S), (..., S, T). d is the cotangent of the weights, ty (..., T, E) that of the result
    y; total and tsum (..., T, 1) are the logarithms of the sums, and their cotangent. Products take transposed matrices that lie
    in C order, without a copy.
    """
    # The kernel finds the rows of ty and y by their first entries.
    operands = named | {"s": s, "logs": total, "tsum": tsum, "ty": ty[..., :1], "y": y[..., :1]}
    d = _whole(d, *operands.values())
    p, turned = (np.empty_like(d, shape=(*d.shape[:-2], d.shape[-1], d.shape[-2]), order="C") for _ in range(2))
    score = _score(named, causal)
    body = f"""
A along = 0, sum = *logs_;
for (place j = ALONG; there && j < (place)columns; j += WIDE) along += (A)ty_[j * (place)ty_step] * (A)y_[j * (place)y_step];
along = total(along, room) - (A)*tsum_;
each {{
{score}
A weight = exp(v - sum), g = {_dropped("(A)@d", named)};
@p = {_dropped("weight", named)};
@d = @turned = weight * (g - along) * (A)factor;
}}
"""
    steps = {f"{name}_step": x.strides[-1] // x.itemsize for name, x in (("ty", ty), ("y", y))}
    numbers = _numbers(d, causal, scale, kept, factor=factor, columns=y.shape[-1], **steps)
    if d.size:
        outs = {"d": d, "p": p.swapaxes(-1, -2), "turned": turned.swapaxes(-1, -2)}
        block_kernels.launch("pulled_weights", operands, outs, (-1,), body, numbers=numbers, in_order=True)
    return p, d, turned


def _dropped(x: str, named: dict[str, Any]) -> str:
    return f"(@keep ? {x} / (A)kept : (A)0)" if "keep" in named else f"({x})"
