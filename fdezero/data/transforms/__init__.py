"""Transforms: frozen, pure functions of whole batches, `t(batch, key=None)`, for NumPy's and CuPy's arrays."""

import typing as _typing

from ...elsewhere import unknown_name as _unknown_name
from . import colour, composing, cropping, mixing, pillow, resizing, transform, values, warping
from .colour import *
from .composing import *
from .cropping import *
from .mixing import *
from .pillow import *
from .resizing import *
from .transform import *
from .values import *
from .warping import *

_ELSEWHERE = {  # names of DeZero, torchvision and albumentations, and American spellings -> what to write here
    **dict.fromkeys(("center_crop", "CenterCrop"), "fd.data.transforms.centre_crop"),
    **dict.fromkeys(("color_jitter", "ColorJitter"), "fd.data.transforms.colour_jitter"),
    **dict.fromkeys(("normalize", "Normalize"), "fd.data.transforms.normalise"),
    "Affine": "fd.data.transforms.affine", "AsType": "fd.data.transforms.as_type", "Compose": "fd.data.transforms.compose",
    "Convert": "fd.data.transforms.from_pil(mode)", "CutMix": "fd.data.transforms.cutmix", "Flatten": "fd.data.transforms.flatten",
    "GaussNoise": "fd.data.transforms.noise", "GaussianNoise": "fd.data.transforms.noise",
    "HorizontalFlip": "fd.data.transforms.horizontal_flip", "MixUp": "fd.data.transforms.mixup", "OneHot": "fd.data.transforms.one_hot",
    "PILToTensor": "fd.data.transforms.from_pil", "Pad": "fd.numpy.pad, or the padding of fd.data.transforms.random_crop",
    "RandomAffine": "fd.data.transforms.affine", "RandomApply": "fd.data.transforms.sometimes",
    "RandomCrop": "fd.data.transforms.random_crop", "RandomErasing": "fd.data.transforms.cutout",
    "RandomHorizontalFlip": "fd.data.transforms.horizontal_flip", "RandomResizedCrop": "fd.data.transforms.random_resized_crop",
    "RandomRotation": "fd.data.transforms.rotation", "RandomVerticalFlip": "fd.data.transforms.vertical_flip",
    "Resize": "fd.data.transforms.resize", "Rotate": "fd.data.transforms.rotation", "ToArray": "fd.data.transforms.from_pil",
    "ToFloat": "fd.data.transforms.as_type, or to_float, which divides by 255", "ToInt": "fd.data.transforms.as_type(int)",
    "ToPIL": "fd.data.transforms.to_pil", "ToPILImage": "fd.data.transforms.to_pil",
    "ToTensor": "fd.data.transforms.to_float, after from_pil for images of Pillow", "VerticalFlip": "fd.data.transforms.vertical_flip",
}  # fmt: skip

if not _typing.TYPE_CHECKING:  # to a type checker an unknown name stays unknown

    def __getattr__(name: str) -> _typing.Any:
        raise AttributeError(_unknown_name(__name__, name, _ELSEWHERE))


# Type checkers follow these lines; a name is listed once, in the file that defines it.
__all__: list[str] = []
__all__ += transform.__all__
__all__ += composing.__all__
__all__ += values.__all__
__all__ += cropping.__all__
__all__ += resizing.__all__
__all__ += warping.__all__
__all__ += colour.__all__
__all__ += mixing.__all__
__all__ += pillow.__all__


def __dir__() -> list[str]:
    return __all__
