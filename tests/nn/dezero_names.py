"""Every public name of DeZero, with its counterpart here or the reason why it has none; test_dezero.py compares values and gradients."""

# A counterpart begins with `fd.`, `F.`, `nn.`, `optim.` or `np.`, and must exist. Everything else is a reason.
COUNTERPARTS: dict[str, dict[str, str]] = {
    "core": {
        "Variable": "np.ndarray", "Parameter": "fd.Module", "Config": "no global switch: train=True is an argument",
        "using_config": "no global switch: train=True is an argument", "no_grad": "fd.stop_gradient", "test_mode": "no global switch: train=False is an argument",
        "Function": "fd.custom_vjp", "as_variable": "np.asarray", "as_array": "np.asarray", "setup_variable": "np.ndarray",
        "add": "fd.numpy.add", "sub": "fd.numpy.subtract", "rsub": "fd.numpy.subtract", "mul": "fd.numpy.multiply", "div": "fd.numpy.divide",
        "rdiv": "fd.numpy.divide", "neg": "fd.numpy.negative", "pow": "fd.numpy.power",
    },
    "functions": {
        **{name: f"fd.numpy.{name}" for name in "sin cos exp log reshape transpose expand_dims sum broadcast_to mean average matmul max min clip".split()},
        "tanh": "F.tanh", "flatten": "F.flatten", "sum_to": "broadcasting is undone by itself; in a rule of one's own, sum over the axes", "get_item": "fd.numpy.getitem",
        "linear": "F.linear", "linear_simple": "F.linear", "sigmoid": "F.sigmoid", "sigmoid_simple": "F.sigmoid", "relu": "F.relu", "softmax": "F.softmax",
        "softmax_simple": "F.softmax", "log_softmax": "F.log_softmax", "leaky_relu": "F.leaky_relu", "mean_squared_error": "F.mean_squared_error",
        "mean_squared_error_simple": "F.mean_squared_error", "softmax_cross_entropy": "F.softmax_cross_entropy", "softmax_cross_entropy_simple": "F.softmax_cross_entropy",
        "sigmoid_cross_entropy": "F.sigmoid_cross_entropy", "binary_cross_entropy": "F.binary_cross_entropy", "accuracy": "F.accuracy",
        "embed_id": "F.embedding", "dropout": "F.dropout", "batch_nrom": "F.batch_norm",
    },
    "functions_conv": {
        "conv2d": "F.conv2d", "conv2d_simple": "F.conv2d", "deconv2d": "F.conv_transpose2d", "pooling": "F.pooling", "pooling_simple": "F.pooling",
        "average_pooling": "F.average_pooling", "im2col": "F.im2col", "im2col_array": "F.im2col", "col2im": "F.col2im", "col2im_array": "F.col2im",
    },
    "layers": {
        "Layer": "fd.Module", "Linear": "nn.Linear", "Conv2d": "nn.Conv2d", "Deconv2d": "nn.ConvTranspose2d", "RNN": "nn.RNN", "LSTM": "nn.LSTM", "EmbedID": "nn.Embedding",
        "BatchNorm": "nn.BatchNorm",
    },
    "models": {
        "Model": "fd.Module", "Sequential": "nn.Sequential", "MLP": "nn.MLP", "VGG16": "fd.models.VGG16", "ResNet": "fd.models.ResNet50", "ResNet50": "fd.models.ResNet50",
        "ResNet101": "fd.models.ResNet101", "ResNet152": "fd.models.ResNet152", "SqueezeNet": "fd.models.SqueezeNet",
        "BuildingBlock": "a part of fd.models.ResNet50", "BottleneckA": "a part of fd.models.ResNet50", "BottleneckB": "a part of fd.models.ResNet50",
    },
    "datasets": {
        "get_spiral": "fd.data.spiral", "Spiral": "fd.data.spiral", "MNIST": "fd.data.mnist",
        "Dataset": "not there: a data set is a tree of whole arrays", "CIFAR10": "not there yet", "CIFAR100": "not there yet", "ImageNet": "fd.models.imagenet.labels",
        "SinCurve": "not there yet", "Shakespear": "not there yet", "load_cache_npz": "fd.load", "save_cache_npz": "fd.save",
    },
    "dataloaders": {"DataLoader": "fd.data.DataLoader", "SeqDataLoader": "not there yet"},
    "transforms": dict.fromkeys("Compose Convert Resize CenterCrop ToArray ToPIL RandomHorizontalFlip Normalize Flatten AsType ToInt".split(), "not there yet"),
    "optimizers": {
        "Optimizer": "optim.GradientTransformation", "WeightDecay": "optim.weight_decay", "ClipGrad": "optim.clip_by_global_norm", "FreezeParam": "fd.Frozen",
        "SGD": "optim.sgd", "MomentumSGD": "optim.momentum", "Adam": "optim.adam", "AdaGrad": "not there yet", "AdaDelta": "not there yet",
    },
    "utils": {
        "get_dot_graph": "fd.plot", "plot_dot_graph": "fd.plot", "gradient_check": "fd.testing.check_grads", "numerical_grad": "a part of fd.testing.check_grads",
        "array_equal": "fd.numpy.array_equal", "array_allclose": "fd.numpy.allclose", "logsumexp": "fd.numpy.logsumexp",
        "reshape_sum_backward": "derivatives come by themselves", "max_backward_shape": "derivatives come by themselves",
        "sum_to": "broadcasting is undone by itself", "show_progress": "fd.models.download shows a bar", "get_file": "fd.models.download",
        "get_conv_outsize": "F.conv_output_size", "get_deconv_outsize": "F.conv_transpose_output_size", "pair": "a number stands for each axis by itself",
    },
    "cuda": {"get_array_module": "fd.array_module", "as_numpy": "fd.to_numpy", "as_cupy": "fd.to_device"},
}  # fmt: skip
