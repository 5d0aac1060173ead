"""Words for messages: names of values and functions, explanations of errors, and hints for names from other libraries."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .errors import DeviceError, FdezeroError, ImmutableError, ShapeError


def describe(value: Any) -> str:
    """`float32[2,3]` for an array or traced value, `int 3` for a number, the name of the type for anything else.

    The type of another library's array stands before its dtype.
    """
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        kind = type(value)
        of_others = hasattr(kind, "__array__") or hasattr(kind, "toarray")
        of_others = of_others and kind.__module__.partition(".")[0] not in ("numpy", "cupy", "fdezero")
        name = f"{kind.__name__} " if of_others else ""
        return f"{name}{value.dtype}[{','.join(map(str, value.shape))}]"
    return (
        f"{type(value).__name__} {value!r}" if isinstance(value, bool | int | float | complex) else type(value).__name__
    )


def called(function: Any) -> str:
    """The name of a function or operation; if it does not have one, the name of its type."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))


CURRENT_DEVICE = (
    "different from the current device"  # CuPy's words, in an error and, where devices reach each other, in a warning
)


def explain(name: str, args: Sequence[Any], error: Exception) -> Exception:
    """The error to raise instead of the one that an array library raised in `name(*args)`."""
    if isinstance(error, FdezeroError):
        return error
    arrays = [arg for arg in args if hasattr(arg, "shape") and hasattr(arg, "dtype")]
    placed = [(_place(a), describe(a)) for a in arrays if not isinstance(a, np.generic)]
    if len({place for place, _ in placed}) > 1 and not isinstance(error, IndexError):
        places = ", ".join(f"{what} on {place}" for place, what in placed)
        return DeviceError(
            f"{name} got arrays on different devices: {places}. Bring them together first: "
            f"fd.to_device(tree, {max(placed)[0]!r})."
        )
    if CURRENT_DEVICE in str(error):
        place = placed[0][0]
        return DeviceError(
            f"{name} got arrays on {place}, which is not CuPy's current device. Compute within "
            f"`with cupy.cuda.Device({place.removeprefix('gpu:')}): ...`."
        )
    shapes = [tuple(a.shape) for a in arrays]
    if name == "matmul" and len(shapes) == 2 and shapes[0][-1] != shapes[1][-2]:
        return misfit_of_product(*shapes)
    if isinstance(error, ValueError) and len(shapes) > 1 and (axis := clashing_axis(shapes)):
        sizes = " and ".join(str(shape[axis]) for shape in shapes if len(shape) >= -axis)
        return ShapeError(
            f"{name} cannot broadcast shapes {' and '.join(map(str, shapes))}: axis {axis} has sizes {sizes}, "
            "which must be equal or 1."
        )
    error.add_note(f"in fdezero's {name}({', '.join(map(describe, args))})")
    return error


NAMES_ELSEWHERE = {  # names of autograd, JAX, PyTorch, and of early fdezero -> what to write here
    "array": "numpy.array", "device_put": "fd.to_device", "egrad": "fd.elementwise_grad", "flatten": "fd.ravel or fd.functions.flatten",
    "holomorphic_grad": "fd.grad(f, holomorphic=True)", "jit": "fd.compile", "lax": "fd.scan, fd.cond, fd.while_loop, fd.stop_gradient",
    "optimisers": "fd.optim", "optimizers": "fd.optim",
    "make_hvp": "fd.hvp", "make_jvp": "fd.jvp", "make_vjp": "fd.vjp", "manual_seed": "fd.random.key(seed)",
    "module": "`class Layer(fd.Module)` without a decorator", "multigrad_dict": "fd.grad, which takes any tree",
    "no_grad": "fd.stop_gradient(x)", "remat": "fd.checkpoint", "tensor": "numpy.array", "tree_map": "fd.tree.map", "tree_util": "fd.tree",
}  # fmt: skip

_ACTIVATIONS = {  # layers of PyTorch that are plain functions here
    "CELU": "celu", "ELU": "elu", "GELU": "gelu", "GLU": "glu", "Hardsigmoid": "hard_sigmoid", "Hardswish": "hard_swish",
    "Hardtanh": "hard_tanh",
    "LeakyReLU": "leaky_relu", "LogSigmoid": "log_sigmoid", "LogSoftmax": "log_softmax", "Mish": "mish", "ReLU": "relu", "ReLU6": "relu6",
    "SELU": "selu", "SiLU": "silu", "Sigmoid": "sigmoid", "Softmax": "softmax", "Softplus": "softplus", "Softsign": "softsign",
    "Tanh": "tanh",
}  # fmt: skip
_LOSSES = {
    "BCELoss": "binary_cross_entropy", "BCEWithLogitsLoss": "sigmoid_cross_entropy", "CTCLoss": "ctc_loss",
    "CrossEntropyLoss": "softmax_cross_entropy",
    "HuberLoss": "huber_loss", "KLDivLoss": "kl_divergence", "L1Loss": "l1_loss", "MSELoss": "mean_squared_error", "NLLLoss": "nll_loss",
    "SmoothL1Loss": "smooth_l1_loss", "TripletMarginLoss": "triplet_margin_loss",
}  # fmt: skip
NETWORKS_ELSEWHERE = {  # names of layers, activations and losses in PyTorch and DeZero -> what to write here
    **{name: f"the function fd.functions.{ours}, which stands in nn.Sequential as it is" for name, ours in _ACTIVATIONS.items()},
    **{name: f"the function fd.functions.{ours}" for name, ours in _LOSSES.items()},
    **{f"BatchNorm{n}d": "fd.nn.BatchNorm, for any number of axes" for n in (1, 2, 3)},
    **{f"InstanceNorm{n}d": "fd.nn.InstanceNorm, for any number of axes" for n in (1, 2, 3)},
    "Deconv2d": "fd.nn.ConvTranspose2d", "EmbedID": "fd.nn.Embedding", "Identity": "`lambda x: x`", "Layer": "fd.Module",
    "Model": "fd.Module",
    "Module": "fd.Module", "ModuleDict": "a dict in a field of an fd.Module", "ModuleList": "a list in a field of an fd.Module",
    "Parameter": "a field of an fd.Module that holds an array",
    "SyncBatchNorm": "fd.nn.BatchNorm with world=fd.distributed.world(), or fd.nn.sync_batch_norm(model, world)",
    "batch_nrom": "fd.functions.batch_norm",
    "binary_cross_entropy_with_logits": "fd.functions.sigmoid_cross_entropy", "cross_entropy": "fd.functions.softmax_cross_entropy",
    "deconv2d": "fd.functions.conv_transpose2d", "embed_id": "fd.functions.embedding", "hardsigmoid": "fd.functions.hard_sigmoid",
    "hardswish": "fd.functions.hard_swish", "hardtanh": "fd.functions.hard_tanh", "kl_div": "fd.functions.kl_divergence",
    "logsigmoid": "fd.functions.log_sigmoid", "mse_loss": "fd.functions.mean_squared_error",
    "scaled_dot_product_attention": "fd.functions.attention",
}  # fmt: skip

DISTRIBUTED_ELSEWHERE = {  # names of torch.distributed, mpi4py, Horovod and JAX -> what to write here
    **dict.fromkeys(
        ("init_process_group", "init", "initialize", "COMM_WORLD", "new_group"), "fd.distributed.world(), and world.split for a part"
    ),
    **dict.fromkeys(("get_rank", "rank", "process_index", "axis_index"), "world.rank"),
    **dict.fromkeys(("get_world_size", "size", "process_count", "device_count"), "world.size"),
    **dict.fromkeys(("allreduce", "Allreduce", "psum", "pmean", "pmax", "pmin", "reduce"), 'all_reduce(tree, world, "sum")'),
    **dict.fromkeys(("allgather", "Allgather", "all_gather_into_tensor"), "all_gather(tree, world)"),
    **dict.fromkeys(("psum_scatter", "reduce_scatter_tensor", "Reduce_scatter"), "reduce_scatter(tree, world)"),
    **dict.fromkeys(("ppermute", "send", "recv", "Sendrecv", "Send", "Recv"), "permute(tree, world, to)"),
    **dict.fromkeys(("bcast", "Bcast", "broadcast_parameters"), "broadcast(tree, world)"),
    **dict.fromkeys(("Barrier", "sync_global_devices"), "barrier(world)"),
    **dict.fromkeys(
        ("DistributedDataParallel", "DistributedOptimizer", "pmap"), "fd.distributed.value_and_grad or fd.distributed.mean"
    ),
    "DistributedSampler": "fd.data.DataLoader(..., shard=world.share)", "ZeroRedundancyOptimizer": "fd.optim.sharded(method, world)",
    "SyncBatchNorm": "fd.nn.BatchNorm(..., world=world)",
}  # fmt: skip

_METHODS = {  # classes of DeZero, PyTorch and Keras that are optimisers here
    "AdaDelta": "adadelta", "AdaGrad": "adagrad", "Adadelta": "adadelta", "Adafactor": "adafactor", "Adagrad": "adagrad", "Adam": "adam",
    "AdamW": "adamw", "Adamax": "adamax", "LBFGS": "lbfgs", "Lion": "lion", "MomentumSGD": "momentum", "NAdam": "nadam", "Nadam": "nadam",
    "RAdam": "radam",
    "RMSprop": "rmsprop", "SGD": "sgd",
}  # fmt: skip
_SCHEDULES = {
    "CosineAnnealingLR": "cosine", "CosineAnnealingWarmRestarts": "cosine_restarts", "CosineDecay": "cosine",
    "ExponentialDecay": "exponential",
    "ExponentialLR": "exponential", "MultiStepLR": "piecewise", "OneCycleLR": "one_cycle", "PiecewiseConstantDecay": "piecewise",
    "PolynomialDecay": "polynomial", "SequentialLR": "join", "StepLR": "step", "cosine_decay_schedule": "cosine",
    "exponential_decay": "exponential", "join_schedules": "join", "linear_schedule": "linear", "piecewise_constant_schedule": "piecewise",
    "polynomial_schedule": "polynomial", "warmup_cosine_decay_schedule": "warmup",
}  # fmt: skip
OPTIMISERS_ELSEWHERE = {  # names of optimisers, hooks and schedules in DeZero, PyTorch, Keras and optax -> what to write here
    **{name: f"fd.optim.{ours}" for name, ours in _METHODS.items()},
    **{name: f"fd.optim.schedules.{ours}" for name, ours in _SCHEDULES.items()},
    "AveragedModel": "fd.optim.swa or fd.optim.ema", "ClipGrad": "fd.optim.chain(fd.optim.clip_by_global_norm(max_norm), method)",
    "FreezeParam": "fd.optim.freeze(method, pattern) or fd.nn.freeze(model, pattern)", "LambdaLR": "any function of the step as lr",
    "MultiSteps": "fd.optim.accumulate", "Optimizer": "fd.optim.GradientTransformation",
    "ReduceLROnPlateau": "fd.optim.reduce_on_plateau",
    "ZeroRedundancyOptimizer": "fd.optim.sharded(method, world)", "WeightDecay": "fd.optim.chain(fd.optim.weight_decay(rate), method)",
    "adaptive_grad_clip": "fd.optim.adaptive_clip", "add_decayed_weights": "fd.optim.weight_decay",
    "apply_if_finite": "fd.optim.skip_nonfinite",
    "centralize": "fd.optim.centralise", "clip_by_block_norm": "fd.optim.clip_by_norm",
    "inject_hyperparams": "the optimiser as an argument of the compiled step, because its rates are leaves of a tree",
    "lr_scheduler": "fd.optim.schedules", "masked": "fd.optim.by_path", "multi_transform": "fd.optim.by_path",
    "partition": "fd.optim.by_path",
    "scale_by_adam": "fd.optim.moments", "scale_by_learning_rate": "fd.optim.descend",
    "scale_by_schedule": "fd.optim.descend", "set_to_zero": "fd.optim.freeze", "swa_utils": "fd.optim.swa or fd.optim.ema",
    "trace": "fd.optim.velocity",
}  # fmt: skip

ATTRIBUTES_ELSEWHERE = {  # what other libraries' arrays have -> what to write here
    "at": "For x.at[index].set(y) write fd.at(x)[index].set(y)",
    "backward": "For loss.backward() write fd.grad(f)(x), which returns the gradients",
    "grad": "Gradients are returned: fd.grad(f)(x)",
    "detach": "For x.detach() write fd.stop_gradient(x)",
    "numpy": "It is an array already. To see its number under grad, write fd.stop_gradient(x)",
    "data": "To see its number under grad, write fd.stop_gradient(x)",
    "view": "For x.view(shape) write x.reshape(shape)",
    "cpu": 'For x.cpu() write fd.to_device(x, "cpu"), outside the transform',
    "unsqueeze": "For x.unsqueeze(axis) write fd.numpy.expand_dims(x, axis)",
}


_PARAMETERS = "The parameters are the module itself, a tree: fd.tree.flatten_to_dict(model) lists them"
_MODE = "Training is an argument of the call: model(x, key=key, train=True)"
_GRADIENTS = "Gradients are returned, not kept: grads = fd.grad(loss)(model)"
MODULES_ELSEWHERE = {  # what models of PyTorch and DeZero have -> what to write here
    "append": "A Sequential grows by model + [layer]", "bias": "The bias is b",
    "eval": _MODE, "forward": "Call the model: model(x)", "load_state_dict": "Write fd.load(path, like=model)",
    "load_weights": "Write fd.load(path, like=model)", "parameters": _PARAMETERS, "params": _PARAMETERS,
    "named_parameters": _PARAMETERS, "requires_grad_": "Write nn.freeze(model) or nn.thaw(model)",
    "reset_state": "A state is a value: hand None to the first call, and what each call returns to the next",
    "running_mean": "The statistic is mean",
    "running_var": "The statistic is variance", "save_weights": "Write fd.save(path, model)", "state_dict": _PARAMETERS,
    "to": "Write fd.to_device(model, device), or model = fd.tree.map(lambda x: x.astype(dtype), model)",
    "weight": "The weights are W",
    "zero_grad": _GRADIENTS,
}  # fmt: skip

_PURE = "An optimiser keeps nothing: model, state = opt.step(model, grads, state)"
_RATES = "A rate is a field: make another optimiser, opt.replace(lr=...), or give a schedule as lr"
TRANSFORMATIONS_ELSEWHERE = {  # what optimisers of DeZero and PyTorch have -> what to write here
    "add_hook": "Hooks are transformations before the method: fd.optim.chain(hook, opt)",
    "add_param_group": 'Groups have optimisers of their own: fd.optim.by_path({"head/*": opt, ...: other})',
    "apply_gradients": "Write model, state = opt.step(model, grads, state)", "hooks": "Hooks are parts: opt.parts",
    "learning_rate": _RATES, "minimize": "Write loss, grads = fd.value_and_grad(loss_fn)(model), then opt.step(model, grads, state)",
    "param_groups": _RATES, "setup": "Write state = opt.init(model)", "target": _PURE,
    "load_state_dict": "Write fd.load(path, like=opt.init(model))", "state_dict": "The state is a tree of its own: state = opt.init(model)",
    "update_one": _PURE, "zero_grad": _GRADIENTS, "cleargrads": _GRADIENTS,
}  # fmt: skip


def unknown_name(module: str, name: str, elsewhere: Mapping[str, str] = NAMES_ELSEWHERE) -> str:
    """The message for a name that `module` does not have. It names the equivalent of another library's name."""
    return f"module {module!r} has no attribute {name!r}" + (f": use {elsewhere[name]}" if name in elsewhere else "")


def unknown_attribute(name: str) -> str:
    """A hint for an attribute that arrays do not have here, but may have in another library."""
    return ATTRIBUTES_ELSEWHERE.get(name, "It has the methods of an array; more functions are in fd.numpy")


def misfit_of_product(first: tuple[int, ...], second: tuple[int, ...]) -> ShapeError:
    """The error for a matrix product of arrays with these shapes."""
    which = "second-to-last axis" if len(second) > 1 else "only axis"
    return ShapeError(
        f"matmul cannot multiply shapes {first} and {second}: the last axis of the first ({first[-1]}) "
        f"must equal the {which} of the second ({second[-2:][0]})."
    )


def _place(array: Any) -> str:
    return "cpu" if isinstance(array, np.ndarray) else f"gpu:{getattr(array.device, 'id', array.device)}"


def clashing_axis(shapes: Sequence[tuple[int, ...]]) -> int:
    """The last axis, counted from the end, along which `shapes` do not broadcast, or 0 if they do."""
    for axis in range(-1, -1 - max(map(len, shapes)), -1):
        if len({shape[axis] for shape in shapes if len(shape) >= -axis} - {1}) > 1:
            return axis
    return 0


def refuse_keywords(name: str, keywords: Iterable[str]) -> None:
    """Raise TypeError if there are any: an operation takes arrays alone, unlike NumPy's ufunc of its name."""
    if named := ", ".join(f"{keyword}=" for keyword in sorted(keywords)):
        raise TypeError(
            f"{name} takes no {named}. For a dtype write x.astype(dtype); for a choice of entries, fd.numpy.where(condition, y, x)."
        )


def refuse_out(out: Any) -> None:
    """Raise ImmutableError unless `out`, NumPy's argument for an array to write into, is None."""
    if out is not None:
        raise ImmutableError(
            f"out= asks to write the result into {describe(out)}, but arrays are immutable here. Write y = f(x) instead."
        )
