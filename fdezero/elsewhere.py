"""Names that people know from other libraries, and what to write here: for modules, modules' objects, optimisers and arrays."""

import difflib
import importlib.util
from collections.abc import Mapping

import numpy as np

_MODE = "the argument train=True of the call: there is no global switch"
_ARRAY = "a NumPy array: values have no wrapper here"
_NOTHING = "nothing: because outside a gradient nothing is recorded. Inside one use fd.stop_gradient(x)"
_PLACE = 'fd.to_device(tree, "gpu"), and fd.gpu_available() to ask'
_PRECISION = "arrays of the precision that you want: results keep the dtype of the arguments"
_PARALLEL = "fd.distributed.value_and_grad, which splits a step over processes"
NAMES_ELSEWHERE = {  # names of autograd, DeZero, JAX, PyTorch, TensorFlow, and of early fdezero -> what to write here
    **dict.fromkeys(("Config", "eval_mode", "set_grad_enabled", "test_mode", "train_mode", "using_config"), _MODE),
    **dict.fromkeys(("Tensor", "Variable", "as_tensor", "as_variable", "constant", "from_numpy", "tensor"), _ARRAY),
    **dict.fromkeys(("cuda", "device", "devices", "device_count", "device_put", "is_available", "set_default_device"), _PLACE),
    **dict.fromkeys(("enable_grad", "inference_mode", "no_grad"), _NOTHING), **dict.fromkeys(("pjit", "pmap", "shard_map"), _PARALLEL),
    **dict.fromkeys(("Generator", "PRNGKey", "default_rng", "manual_seed", "seed", "set_seed"), "fd.random.key(seed)"),
    **dict.fromkeys("Add Mul Neg Sub Div Pow mul neg sub rsub div rdiv".split(), "the operator: operators work on arrays"),
    **dict.fromkeys(("reshape_sum_backward", "max_backward_shape"), "nothing: because these are parts of DeZero's own rules"),
    **dict.fromkeys(("cache_dir", "get_file"), "fd.data and fd.models.download, which keep what they load in one folder"),
    **dict.fromkeys(("get_conv_outsize", "get_deconv_outsize"), "fd.nn.summary(model, x), which shows every shape"),
    **dict.fromkeys(("Dataset", "dataloaders", "datasets"), "fd.data"), "SeqDataLoader": "fd.data.SequenceLoader",
    "array_allclose": "numpy.allclose", "functions_conv": "fd.functions", "get_array_module": "fd.array_module",
    "gpu_enable": "fd.gpu_available()", "is_simple_core": "nothing: because there is one core",
    "pair": "nothing: because an int stands for both axes",
    "Function": "fd.custom_jvp or fd.custom_vjp", "GradientTape": "fd.grad(f)(x)", "Layer": "fd.Module", "Model": "fd.Module",
    "Parameter": "a field of an fd.Module that holds an array", "as_array": "numpy.asarray", "as_numpy": "fd.to_numpy",
    "as_cupy": 'fd.to_device(x, "gpu")', "autograd": "fd.grad, fd.vjp, fd.jvp",
    "backward": "fd.grad(f)(x), which returns the gradients", "cat": "numpy.concatenate", "clamp": "numpy.clip",
    "block_until_ready": "nothing: because results are there when a call returns", "config": _PRECISION, "dtypes": _PRECISION,
    "egrad": "fd.elementwise_grad", "enable_backprop": _NOTHING, "flatten": "fd.ravel or fd.functions.flatten",
    "functional": "fd.functions", "gradient": "fd.grad", "gradient_check": "fd.testing.check_grads",
    "hessian_vector_product": "fd.hvp", "holomorphic_grad": "fd.grad(f, holomorphic=True)", "jit": "fd.compile",
    "lax": "fd.scan, fd.cond, fd.while_loop, fd.stop_gradient", "make_jaxpr": "fd.trace(f)(*args)",
    "map": "fd.vmap, or fd.tree.map for a tree",
    "make_hvp": "fd.hvp", "make_jvp": "fd.jvp", "make_vjp": "fd.vjp", "module": "`class Layer(fd.Module)` without a decorator",
    "multigrad_dict": "fd.grad, which takes any tree", "numerical_grad": "fd.testing.check_grads",
    "optimisers": "fd.optim", "optimizers": "fd.optim", "plot_dot_graph": "fd.plot(f)(*args)", "get_dot_graph": "fd.plot(f)(*args)",
    "remat": "fd.checkpoint", "set_default_dtype": _PRECISION, "setup_variable": "nothing: because operators work on arrays",
    "shape_as_tensor": "x.shape", "show_progress": "fd.training.progress",
    "sum_to": "nothing: because gradients undo broadcasting by themselves",
    "tree_map": "fd.tree.map",
    "tree_structure": "fd.tree.flatten(tree)[1]", "tree_util": "fd.tree", "utils": "fd.tree, fd.plot and fd.testing", "xla": "fd.compile",
    **{f"tree_{name}": f"fd.tree.{name}" for name in ("flatten", "leaves", "paths", "unflatten")},
    "value_and_gradient": "fd.value_and_grad", "zeros_initializer": "fd.nn.initial.constant(0.0)",
}  # fmt: skip

RANDOM_ELSEWHERE = {  # names of NumPy, JAX, PyTorch and Python -> what to write here
    **dict.fromkeys(
        ("Generator", "PRNGKey", "RandomState", "SeedSequence", "default_rng", "manual_seed", "seed", "set_seed"), "fd.random.key(seed)"
    ),
    **dict.fromkeys(("rand", "random", "random_sample", "sample", "ranf"), "fd.random.uniform(key, shape)"),
    **dict.fromkeys(("gauss", "randn", "standard_normal"), "fd.random.normal(key, shape)"),
    **dict.fromkeys(("integers", "random_integers", "randrange"), "fd.random.randint(key, shape, low, high)"),
    **dict.fromkeys(("get_state", "set_state", "getstate", "setstate"), "the key, which is the whole state"),
    "ball": "fd.random.normal and fd.random.uniform", "bytes": "fd.random.bits", "clone": "the key itself: a key is a value",
    "dropout": "fd.functions.dropout(x, rate, key=key, train=True)", "key_data": "the key itself, a uint64 array",
    "randperm": "fd.random.permutation(key, n)", "shuffle": "fd.random.permutation(key, x), which returns a new array",
    "spawn": "fd.random.split(key, n)",
    "standard_cauchy": "fd.random.cauchy", "standard_exponential": "fd.random.exponential", "standard_gamma": "fd.random.gamma",
    "standard_t": "fd.random.t", "wrap_key_data": "the key itself, a uint64 array",
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
_OPERATIONS = {  # classes of DeZero that are NumPy's functions here
    "BroadcastTo": "broadcast_to", "Clip": "clip", "Cos": "cos", "Exp": "exp", "Log": "log", "MatMul": "matmul", "Max": "max", "Min": "min",
    "Reshape": "reshape", "Sin": "sin", "Sum": "sum", "Transpose": "transpose",
}  # fmt: skip
NETWORKS_ELSEWHERE = {  # names of layers, activations and losses in PyTorch and DeZero -> what to write here
    **{name: f"the function fd.functions.{ours}, which stands in nn.Sequential as it is" for name, ours in _ACTIVATIONS.items()},
    **{name: f"the function fd.functions.{ours}" for name, ours in _LOSSES.items()},
    **{f"BatchNorm{n}d": "fd.nn.BatchNorm, for any number of axes" for n in (1, 2, 3)},
    **{f"InstanceNorm{n}d": "fd.nn.InstanceNorm, for any number of axes" for n in (1, 2, 3)},
    "Dense": "fd.nn.Linear",
    **{f"{name}{n}D": f"fd.nn.{ours}{n}d" for n in (1, 2, 3) for name, ours in (("MaxPooling", "MaxPool"), ("AveragePooling", "AvgPool"))},
    **{f"Conv{n}DTranspose": f"fd.nn.ConvTranspose{n}d" for n in (1, 2, 3)},
    **dict.fromkeys(("conv2d_simple", "Conv2DGradW"), "fd.functions.conv2d"),
    **dict.fromkeys(("Pooling2DGrad", "Pooling2DWithIndexes", "max_pool"), "fd.functions.max_pool2d"),
    **dict.fromkeys(("AveragePooling", "avg_pool"), "fd.functions.avg_pool2d"),
    **{f"{name}_simple": f"fd.functions.{name}" for name in ("linear", "sigmoid", "softmax", "softmax_cross_entropy")},
    "pooling_simple": "fd.functions.max_pool2d",
    **{name: f"numpy.{numpys}, which has derivatives" for name, numpys in _OPERATIONS.items()},
    **dict.fromkeys(("BottleneckA", "BottleneckB", "BuildingBlock"), "fd.nn.Residual"),
    "SumTo": "nothing: because gradients undo broadcasting",
    **dict.fromkeys(("GetItem", "GetItemGrad"), "x[index]"), "cuda": _PLACE, "im2col_array": "fd.functions.im2col",
    "col2im_array": "fd.functions.col2im", "Im2col": "fd.functions.im2col", "Col2im": "fd.functions.col2im",
    "Pooling": "fd.functions.max_pool2d", "MeanSquaredError": "fd.functions.mean_squared_error",
    "SoftmaxCrossEntropy": "fd.functions.softmax_cross_entropy",
    "mean_squared_error_simple": "fd.functions.mean_squared_error", "Embed": "fd.nn.Embedding",
    "MultiheadAttention": "fd.nn.MultiHeadAttention",
    "get_item": "x[index]", "Conv": "fd.nn.Conv1d, Conv2d or Conv3d",
    "binary_crossentropy": "fd.functions.binary_cross_entropy",
    "VGG16": "fd.models.VGG16", "Variable": _ARRAY, "functional": "fd.functions", "initializers": "fd.nn.initial",
    "utils": "fd.optim for clipping, fd.tree for parameters", "dense": "fd.functions.linear",
    "DataParallel": _PARALLEL, "expand": "numpy.broadcast_to", "sum_to": "nothing: because gradients undo broadcasting by themselves",
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
    "cuda": _PLACE, "optimizers": "fd.optim", "update": "the method opt.update, or opt.step",
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
    **dict.fromkeys(("unchain", "unchain_backward"), "To end the derivative here, write fd.stop_gradient(x)"),
    **dict.fromkeys(("creator", "generation", "set_creator"), "fd.trace(f)(x) shows the program of a function"),
    "cleargrad": "Nothing has to be cleared: gradients are returned, fd.grad(f)(x)",
    "matmaul": "For a product write x @ w",
    "name": "Values do not have names: fd.plot(f)(x) shows those of the arguments",
    "to_cpu": 'For x.to_cpu() write fd.to_device(x, "cpu"), outside the transform',
    "to_gpu": 'For x.to_gpu() write fd.to_device(x, "gpu"), outside the transform',
    "view": "For x.view(shape) write x.reshape(shape)",
    "cpu": 'For x.cpu() write fd.to_device(x, "cpu"), outside the transform',
    "assign": "Arrays are immutable here: compute a new one",
    "clone": "For x.clone() write x.copy()",
    "contiguous": "It is contiguous where that matters; leave the call out",
    "cuda": 'For x.cuda() write fd.to_device(x, "gpu"), outside the transform',
    "double": "For x.double() write x.astype(np.float64)",
    "float": "For x.float() write x.astype(np.float32)",
    "long": "For x.long() write x.astype(np.int64)",
    "permute": "For x.permute(axes) write x.transpose(axes)",
    "requires_grad": "Nothing is marked: fd.grad(f, argnums) says what is differentiated",
    "requires_grad_": "Nothing is marked: fd.grad(f, argnums) says what is differentiated",
    "softmax": "For x.softmax(axis) write fd.functions.softmax(x, axis)",
    "to": "For x.to(dtype) write x.astype(dtype)",
    "unsqueeze": "For x.unsqueeze(axis) write fd.numpy.expand_dims(x, axis)",
}


_PARAMETERS = "The parameters are the module itself, a tree: fd.tree.flatten_to_dict(model) lists them"
_TRAINING = "Training is an argument of the call: model(x, key=key, train=True)"
_GRADIENTS = "Gradients are returned, not kept: grads = fd.grad(loss)(model)"
MODULES_ELSEWHERE = {  # what models of PyTorch and DeZero have -> what to write here
    **dict.fromkeys(("cpu", "to_cpu"), 'Write model = fd.to_device(model, "cpu")'),
    **dict.fromkeys(("cuda", "to_gpu"), 'Write model = fd.to_device(model, "gpu")'),
    **dict.fromkeys(("cleargrads", "cleargrad", "zero_grads"), _GRADIENTS),
    **dict.fromkeys(("inputs", "outputs"), "nn.capture(model, x, paths=...) also returns what its layers return"),
    **dict.fromkeys(("children", "modules", "named_modules"), "Layers are fields: fd.tree.paths(model) lists the arrays"),
    **dict.fromkeys(("fit", "compile"), "Write fd.training.fit(step, state, loader), with a step of your own"),
    **dict.fromkeys(("summary", "count_params"), "Write fd.nn.summary(model, x)"), "plot": "Write fd.plot(model)(x)",
    **dict.fromkeys(("half", "float", "double"), "Write fd.tree.map(lambda x: x.astype(dtype), model)"),
    "apply": "Write fd.tree.map(f, model) for its arrays, model(x) for its result", "buffers": "Statistics are fields: nn.statistic()",
    "get_weights": _PARAMETERS, "save": "Write fd.save(path, model)", "load": "Write fd.load(path, like=model)",
    "weights": _PARAMETERS, "trainable_variables": _PARAMETERS, "predict": "Call the model: model(x)",
    "register_buffer": "Declare a field: name: np.ndarray = nn.statistic()", "register_parameter": "Declare a field: name: np.ndarray",
    "append": "A Sequential grows by model + [layer]", "bias": "The bias is b",
    "eval": _TRAINING, "train": _TRAINING, "forward": "Call the model: model(x)", "load_state_dict": "Write fd.load(path, like=model)",
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
    "apply_updates": "Write fd.optim.apply_updates(model, updates), or opt.step for both",
    "compute_gradients": _GRADIENTS, "update_one": _PURE, "zero_grad": _GRADIENTS, "cleargrads": _GRADIENTS,
}  # fmt: skip

_FACES = (  # where a name is looked for that another module of fdezero has
    "functions", "nn", "optim", "random", "data", "tree", "training", "testing", "optim.schedules", "data.transforms",
    "io", "distributed", "models", "special", "stats", "signal", "numpy.linalg", "numpy.fft",
)  # fmt: skip


def unknown_name(module: str, name: str, elsewhere: Mapping[str, str] = NAMES_ELSEWHERE) -> str:
    """The message for a name that `module` does not have: what to write for another library's name, or a name that is close."""
    message = f"module {module!r} has no attribute {name!r}"
    if name in elsewhere:
        hint = elsewhere[name]
        nothing, why = hint.startswith("nothing: "), hint.removeprefix("nothing: ")
        return f"{message}: leave it out, {why}" if nothing else f"{message}: use {hint}"
    if name.startswith("_") or importlib.util.find_spec(
        f"{module}.{name}"
    ):  # Python and its tools ask, and imports of a part
        return message
    return message + (_in_another_module(name) or _close(module, name))


def _in_another_module(name: str) -> str:
    root = __package__
    for path in ("", *_FACES):
        face = importlib.import_module(f"{root}.{path}" if path else root)
        if name in getattr(face, "__all__", ()):
            return f": use fd.{path}.{name}" if path else f": use fd.{name}"
    numpys = name in importlib.import_module(f"{root}.numpy").__all__ and hasattr(np, name)
    return f": use numpy.{name}, or its other name fd.numpy.{name}" if numpys else ""


def _close(module: str, name: str) -> str:
    names = {known.lower().replace("_", ""): known for known in getattr(importlib.import_module(module), "__all__", ())}
    close = difflib.get_close_matches(name.lower().replace("_", ""), names, 1, cutoff=0.8)
    return f": did you mean {names[close[0]]}?" if close else ""


def unknown_attribute(name: str) -> str:
    """A hint for an attribute that arrays do not have here, but may have in another library."""
    return ATTRIBUTES_ELSEWHERE.get(name, "It has the methods of an array; more functions are in fd.numpy")
