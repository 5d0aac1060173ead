"""Mistakes with convolutions: each is an error that says what does not fit, and how to mend it."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fdezero as fd
from fdezero import functions as F
from fdezero import nn
from fdezero.errors import RangeError, ShapeError

X, W = np.ones((8, 3, 32, 32), np.float32), np.ones((16, 3, 3, 3), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.conv2d(X[:, :2], W), ShapeError, "conv2d: x float32[8,2,32,32] has 2 channels, but W float32[16,3,3,3] takes 3. The axis of channels stands before those in space."),
        (lambda: F.conv2d(X.transpose(0, 2, 3, 1), W), ShapeError, "For images with their channels last write x.transpose(0, 3, 1, 2)."),
        (lambda: F.conv2d(X[0].transpose(1, 2, 0), W), ShapeError, "write x.transpose(2, 0, 1)."),
        (lambda: F.conv2d(X[0, 0], W), ShapeError, "conv2d expects x of shape (N, C, H, W), got float32[32,32]"),
        (lambda: F.conv2d(X, W[0]), ShapeError, "expects a kernel W of shape (out, in / groups, *kernel_size) with 4 axes, none of them empty, got float32[3,3,3]"),
        (lambda: F.conv2d(X, W, np.ones(3)), ShapeError, "conv2d expects a bias of shape (16,), got float64[3] for W float32[16,3,3,3]"),
        (lambda: F.conv2d(X[:, :, :2, :2], W), ShapeError, "conv2d: the kernel of size (3, 3) covers (3, 3) entries, but the input has only (2, 2) in space: float32[8,3,2,2]. Use a smaller kernel, or more padding"),
        (lambda: F.conv2d(X[:, :, :4], W, padding=(0, 1), dilation=3), ShapeError, "the kernel of size (3, 3) with dilation (3, 3) covers (7, 7) entries, but the input has only (4, 34) in space with padding ((0, 0), (1, 1))"),
        (lambda: F.conv2d(X, W, groups=2), ShapeError, "conv2d: 2 groups must divide the channels of x and those of the result, got 3 for x float32[8,3,32,32] and 16"),
        (lambda: F.conv2d(X, W[:, :2], groups=1), ShapeError, "x float32[8,3,32,32] has 3 channels, but W float32[16,2,3,3] takes 2"),
        (lambda: F.conv2d(X, W, stride=0), RangeError, "conv2d: stride must be an integer of at least 1, got int 0"),
        (lambda: F.conv2d(X, W, stride=1.0), RangeError, "stride must be an integer of at least 1, got float 1.0"),
        (lambda: F.conv2d(X, W, stride=(1, 2, 3)), RangeError, "stride must be a number, or one number for each of 2 axes, got (1, 2, 3)"),
        (lambda: F.conv2d(X, W, padding="full"), RangeError, 'padding must be a number, numbers or pairs of numbers for the axes, or "valid" or "same", got \'full\''),
        (lambda: F.conv2d(X, W, padding=-1), RangeError, "padding must be an integer of at least 0, got int -1"),
        (lambda: F.conv2d(X, W, padding=((1, 2, 3), 0)), RangeError, "the padding of an axis is a number or a pair (before, after)"),
        (lambda: F.conv1d(X[0, :, 0], W[:, :, 0], padding=(1, 2)), RangeError, "Write ((1, 2),) for the two ends of the only axis."),
        (lambda: F.conv_transpose2d(X, W), ShapeError, "has 3 channels, but W float32[16,3,3,3] takes 16. The kernel of a transposed convolution is (in, out / groups, *kernel_size)."),
        (lambda: F.conv_transpose2d(X, W[:3], groups=2), ShapeError, "the 3 channels of W float32[3,3,3,3] cannot be divided into 2 groups"),
        (lambda: F.conv_transpose2d(X, W[:3], output_padding=1), RangeError, "output_padding must be smaller than the stride or the dilation ((1, 1), (1, 1)), got (1, 1)"),
        (lambda: F.conv_transpose2d(X[:, :, :1], W[:3], padding=2), ShapeError, "the padding ((2, 2), (2, 2)) leaves nothing of the result for an input of size (1, 32)"),
        (lambda: F.conv_transpose2d(X, W[:3], padding="same"), RangeError, 'or "valid", got \'same\''),
        (lambda: F.conv2d(X, W, dilation=0), RangeError, "conv2d: dilation must be an integer of at least 1, got int 0"),
        (lambda: F.conv2d(X, W, groups=0), RangeError, "conv2d: groups must be an integer of at least 1, got int 0"),
        (lambda: F.conv_transpose2d(X, W[:3], stride=(1, 0)), RangeError, "conv_transpose2d: stride must be an integer of at least 1, got int 0"),
        (lambda: F.conv_transpose2d(X, W[:3], dilation=0), RangeError, "conv_transpose2d: dilation must be an integer of at least 1, got int 0"),
        (lambda: F.conv_transpose2d(X, W[:3], output_padding=-1), RangeError, "output_padding must be an integer of at least 0, got int -1"),
        (lambda: F.conv_transpose2d(X, W[:3], np.ones(16)), ShapeError, "conv_transpose2d expects a bias of shape (3,), got float64[16]"),
        (lambda: F.im2col(X, 0), RangeError, "im2col: kernel_size must be an integer of at least 1, got int 0"),
        (lambda: F.im2col(X, 3, 0), RangeError, "im2col: stride must be an integer of at least 1, got int 0"),
        (lambda: F.im2col(X, 3, dilation=0), RangeError, "im2col: dilation must be an integer of at least 1, got int 0"),
        (lambda: F.im2col(X, 33), ShapeError, "im2col: the kernel of size (33, 33) covers (33, 33) entries, but the input has only (32, 32) in space"),
        (lambda: F.col2im(X, X.shape, 3, 0), RangeError, "col2im: stride must be an integer of at least 1, got int 0"),
        (lambda: F.col2im(X, X.shape, 3, dilation=0), RangeError, "col2im: dilation must be an integer of at least 1, got int 0"),
        (lambda: F.conv_output_size(2, 3), ShapeError, "conv_output_size: the kernel of size (3,) covers (3,) entries, but the input has only (2,) in space"),
        (lambda: F.conv_output_size((7, 7), 3, dilation=0), RangeError, "conv_output_size: dilation must be an integer of at least 1, got int 0"),
        (lambda: F.conv_transpose_output_size(7, 0), RangeError, "conv_transpose_output_size: kernel_size must be an integer of at least 1, got int 0"),
        (lambda: F.im2col(X[0, 0], 3), ShapeError, "im2col expects x of shape (N, C, *S), got float32[32,32]"),
        (lambda: F.col2im(X, (8, 3, 32, 32), 3), ShapeError, "col2im expects x of shape (7200, 27) for input_shape=(8, 3, 32, 32)"),
        (lambda: F.col2im(X, (8, 3), 3), ShapeError, "input_shape must be (N, C, *S) with at least one axis in space, got (8, 3)"),
        (lambda: nn.Conv2d.init(fd.random.key(0), 0, 4, 3), RangeError, "Conv2d: in_channels must be an integer of at least 1, got int 0"),
        (lambda: nn.Conv2d.init(fd.random.key(0), 3, 4, 3, groups=2), RangeError, "Conv2d: groups must divide in_channels and out_channels, got 2 for 3 and 4"),
        (lambda: nn.Conv1d.init(fd.random.key(0), 3, 4, (3, 3)), RangeError, "Conv1d: kernel_size must be a number, or one number for each of 1 axes, got (3, 3)"),
    ],
)  # fmt: skip
def test_mistakes_have_messages(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call()
