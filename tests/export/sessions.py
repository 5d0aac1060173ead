"""Runs ONNX models: by onnxruntime, and by ONNX's reference where onnxruntime does not have an operator for a dtype."""

from typing import Any

import numpy as np
import pytest

import fdezero as fd

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
onnxruntime.set_default_logger_severity(4)  # what it refuses comes as an exception


def run(model: Any, *inputs: Any) -> list[np.ndarray]:
    """The outputs of a model, or of the model in a file, for inputs in their order."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    given = model if isinstance(model, str) else model.SerializeToString()
    try:
        session = onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
        outputs = session.run(None, dict(zip([x.name for x in session.get_inputs()], map(np.asarray, inputs), strict=True)))
    except Exception as error:
        if "NOT_IMPLEMENTED" not in str(error):
            raise
        from onnx.reference import ReferenceEvaluator

        outputs = ReferenceEvaluator(model).run(None, dict(zip([x.name for x in model.graph.input], inputs, strict=True)))
    return list(map(np.asarray, outputs))


def assert_alike(got: Any, wanted: Any, tolerance: float = 1e-5) -> None:
    """The same shape and dtype; floating entries as close as `tolerance` times the largest entry, others equal."""
    wanted = np.asarray(wanted)
    assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
    if wanted.dtype.kind != "f":
        np.testing.assert_array_equal(got, wanted)
        return
    scale = np.abs(wanted[np.isfinite(wanted)]).max(initial=0)
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance * scale + 1e-7)


def exported(function: Any, *args: Any, inputs: Any = None, sizes: Any = (), **options: Any) -> Any:
    """The model of `function(*args)`, whose outputs are those of the function, for all sizes of the batch."""
    model = fd.export.onnx(function, *args, **options)
    onnx.checker.check_model(model, full_check=True)
    given = [arg for arg in args if not isinstance(arg, fd.tree.Module)]
    for size in (None, *sizes):
        rows = given if size is None else [np.resize(x, (size, *x.shape[1:])) for x in given]
        now = iter(rows)
        whole = [arg if isinstance(arg, fd.tree.Module) else next(now) for arg in args]
        wanted = fd.tree.leaves(function(*whole))
        for got, leaf in zip(run(model, *fd.tree.leaves(rows)), wanted, strict=True):
            assert_alike(got, leaf)
    return model
