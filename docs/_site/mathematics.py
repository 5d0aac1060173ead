"""Formulas as MathML, which browsers draw themselves: no script, nothing to load from elsewhere."""

import html
import re
from typing import Any


def formula(tex: str, *, block: bool) -> str:
    r"""MathML for TeX. Raises ValueError for what docutils does not know; sizes without a side, such as \big, are left ones."""
    from docutils.utils.math import MathError
    from docutils.utils.math.latex2mathml import tex2mathml

    try:
        return str(tex2mathml(re.sub(r"\\(big|Big|bigg|Bigg)(?![a-zA-Z])", r"\\\1l", tex), as_block=block))
    except MathError as error:
        raise ValueError(str(error)) from error


def write(writer: Any, node: Any, *, block: bool) -> None:
    """Write a formula. One that is not understood is shown as TeX, with a warning that names the page."""
    from docutils import nodes
    from sphinx.util import logging

    try:
        text = formula(node.astext(), block=block)
    except ValueError as error:
        logging.getLogger(__name__).warning("a formula is not understood: %s", error, location=node)
        text = f"<code>{html.escape(node.astext())}</code>"
    writer.body.append(f'<div class="formula">{text}</div>' if block else text)
    raise nodes.SkipNode


def visit_inline(writer: Any, node: Any) -> None:
    write(writer, node, block=False)


def visit_block(writer: Any, node: Any) -> None:
    write(writer, node, block=True)


def setup(app: Any) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.config.html_math_renderer = "mathml"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
