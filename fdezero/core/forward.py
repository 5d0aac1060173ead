"""Forward mode: every value carries its tangent."""

from typing import Any

from .cotangents import match
from .owners import not_shared
from .tracer import Level, Tracer


class ForwardTracer(Tracer):
    """A value and its tangent, which has the same shape and dtype."""

    __slots__ = ("tangent",)

    def __init__(self, level: Level, value: Any, tangent: Any) -> None:
        self.level = level
        self.value = value
        self.tangent = tangent


class Forward(Level):
    """The level of forward mode."""

    __slots__ = ()

    def process(self, primitive: Any, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        values, tangents, any_active = [], [], False
        for position, arg in enumerate(args):
            is_traced = arg.__class__ is ForwardTracer and arg.level is self
            values.append(arg.value if is_traced else arg)
            is_active = is_traced and primitive.differentiates(position)
            tangents.append(arg.tangent if is_active else None)
            any_active = any_active or is_active
        y = primitive(*values, **params)
        if not any_active:
            return not_shared(y, values)
        rule = y.rule(primitive) if isinstance(y, Tracer) else primitive
        tangent = rule.push(y, values, tangents, params)
        return ForwardTracer(self, y, match(tangent, y))

    def process_region(self, region: Any, leaves: tuple[Any, ...]) -> tuple[Any, ...]:
        tangents = [match(leaf.tangent, leaf.value) if self.owns(leaf) else None for leaf in leaves]
        outputs, moved = region.push(list(map(self.below, leaves)), tangents)
        return tuple(
            [y if t is None else ForwardTracer(self, y, match(t, y)) for y, t in zip(outputs, moved, strict=True)]
        )
