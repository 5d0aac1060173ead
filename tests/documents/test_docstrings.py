"""Every public function, class and operation has a docstring that begins with a sentence."""

import inspect
import pydoc
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero.core import Primitive
from fdezero.ops import elementwise, slopes

from ..laws.folding import all_of
from ..laws.samples import SAMPLES, Sample

MODULES = [fd, fd.numpy, fd.numpy.linalg, fd.numpy.fft, fd.special, fd.stats, fd.testing, fd.optim, fd.nn, fd.data, fd.io, fd.random,
           fd.functions, fd.tree, fd.errors]  # fmt: skip


def is_ours(member: Any) -> bool:
    """Whether the object is fdezero's own, not NumPy's or a type for annotations."""
    return not isinstance(member, ModuleType) and callable(member) and str(getattr(member, "__module__", "")).startswith("fdezero")


def public(module: ModuleType) -> dict[str, Any]:
    names = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    distributions = {name: member for name, member in vars(fd.stats).items() if hasattr(member, "logpdf") or hasattr(member, "logpmf")}
    members = {name: getattr(module, name) for name in names if is_ours(getattr(module, name))}
    return members | (distributions if module is fd.stats else {})


def documented(member: Any) -> str:
    """The docstring of a member: that of the object, not of its class."""
    text = member.__doc__ or ""
    return "" if isinstance(member, Primitive) and text == type(member).__doc__ else inspect.cleandoc(text)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_first_line_is_a_sentence(module: ModuleType) -> None:
    members = public(module)
    assert members
    wrong = {name: documented(member).partition("\n")[0] for name, member in members.items()}
    wrong = {name: line for name, line in wrong.items() if not line.endswith((".", ":"))}
    assert not wrong, f"a docstring begins with a sentence: {wrong}"


def test_public_methods_have_docstrings() -> None:
    classes = [member for module in MODULES for member in public(module).values() if inspect.isclass(member)]
    assert len(classes) > 10
    for cls in classes:
        for name, method in vars(cls).items():
            if inspect.isfunction(method) and not name.startswith("_"):
                assert method.__doc__, f"{cls.__name__}.{name}"


def test_operations_say_shapes_and_derivatives() -> None:
    used_by_rules = vars(slopes)  # users do not call these
    operations = {name: member for name, member in vars(elementwise).items() if isinstance(member, Primitive) and name not in used_by_rules}
    assert len(operations) > 70
    for name, operation in operations.items():
        assert documented(getattr(fd.numpy, name, operation)), name
    assert "x0 (...), x1 (...) -> (...)" in fd.numpy.arctan2.__doc__
    assert "derivatives for x0, x1" in fd.numpy.arctan2.__doc__
    assert "derivatives for x0, of every order" in fd.numpy.ldexp.__doc__
    assert "no derivative" in fd.numpy.floor.__doc__


@all_of("sample", SAMPLES)
def test_an_operation_has_the_signature_of_what_it_takes(sample: Sample) -> None:
    bound = inspect.signature(sample.primitive).bind(*sample.args, **sample.params)
    assert len(bound.args) == len(sample.args)
    assert set(bound.kwargs) == set(sample.params)


def test_operations_show_their_names_and_signatures() -> None:
    assert str(inspect.signature(fd.numpy.sin)) == "(x0, /)"
    assert repr(fd.numpy.arctan2) == "<elementwise arctan2(x0, x1, /)>"
    assert "<elementwise sin(x0, /)>" in pydoc.plain(pydoc.render_doc(fd.numpy.sin))
    assert "(name: str, *rules" in str(inspect.signature(type(fd.numpy.sin)))  # the class has that of its constructor
    compiled = fd.compile(fd.numpy.sin)
    compiled(np.ones(3))
    assert "def sin(x0):" in compiled.source
