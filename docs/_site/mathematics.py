"""Formulas as MathML, which browsers draw themselves: no script, nothing to load from elsewhere."""

from typing import Any


def formula(tex: str, *, block: bool) -> str:
    """MathML for TeX."""
    from docutils.utils.math.latex2mathml import tex2mathml

    return str(tex2mathml(tex, as_block=block))


def visit_inline(writer: Any, node: Any) -> None:
    from docutils import nodes

    writer.body.append(formula(node.astext(), block=False))
    raise nodes.SkipNode


def visit_block(writer: Any, node: Any) -> None:
    from docutils import nodes

    writer.body.append(f'<div class="formula">{formula(node.astext(), block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.config.html_math_renderer = "mathml"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
