"""Data sets and their batches."""

import typing as _typing

from ..elsewhere import unknown_name as _unknown_name
from . import loader, padding, prefetching, samplers, sequences, showing, splitting, stacking, transforms
from .loader import *
from .padding import *
from .prefetching import *
from .samplers import *
from .sequences import *
from .sets import cifar as _cifar
from .sets import classes as _classes
from .sets import fashion_mnist as _fashion_mnist
from .sets import image_folder as _image_folder
from .sets import imagenet as _imagenet
from .sets import mnist as _mnist
from .sets import shakespeare as _shakespeare
from .sets import sine_curve as _sine_curve
from .sets import spiral as _spiral
from .sets.cifar import *
from .sets.classes import *
from .sets.fashion_mnist import *
from .sets.image_folder import *
from .sets.imagenet import *
from .sets.mnist import *
from .sets.shakespeare import *
from .sets.sine_curve import *
from .sets.spiral import *
from .showing import *
from .splitting import *
from .stacking import *

_ELSEWHERE = {  # names of DeZero, torchvision and Keras -> what to write here
    "CIFAR10": "fd.data.cifar10", "CIFAR100": "fd.data.cifar100", "Compose": "fd.data.transforms.compose",
    "Dataset": "no base class: any object with len(dataset) and dataset[i] is a data set", "FashionMNIST": "fd.data.fashion_mnist",
    "ImageNet": "fd.data.imagenet_labels for the names, fd.data.ImageFolder for the images", "MNIST": "fd.data.mnist",
    "SeqDataLoader": "fd.data.SequenceLoader", "Shakespear": "fd.data.shakespeare", "SinCurve": "fd.data.sine_curve",
    **dict.fromkeys(("cache_dir", "load_cache_npz", "save_cache_npz"), "fd.load and fd.save with a path of your own"),
    **dict.fromkeys(("random_split", "train_test_split", "Subset"), "fd.data.split"),
    **dict.fromkeys(("TensorDataset", "from_tensor_slices"), "a tuple of arrays, which is a data set"),
    "ConcatDataset": "numpy.concatenate of the arrays", "WeightedRandomSampler": "fd.data.Weighted",
    "cuda": 'DataLoader(..., device="gpu")',
    "default_collate": "fd.data.stack", "pad_sequence": "fd.data.pad",
    "pil_available": "nothing: because Pillow is asked for where it is needed",
    "Spiral": "fd.data.spiral", "get_spiral": "fd.data.spiral", "image_dataset_from_directory": "fd.data.ImageFolder",
}  # fmt: skip

if not _typing.TYPE_CHECKING:  # to a type checker an unknown name stays unknown

    def __getattr__(name: str) -> _typing.Any:
        raise AttributeError(_unknown_name(__name__, name, _ELSEWHERE))


# Type checkers follow these lines; a name is listed once, in the file that defines it.
__all__: list[str] = ["transforms"]
__all__ += loader.__all__
__all__ += padding.__all__
__all__ += prefetching.__all__
__all__ += samplers.__all__
__all__ += sequences.__all__
__all__ += splitting.__all__
__all__ += stacking.__all__
__all__ += showing.__all__
__all__ += _mnist.__all__
__all__ += _fashion_mnist.__all__
__all__ += _cifar.__all__
__all__ += _classes.__all__
__all__ += _imagenet.__all__
__all__ += _image_folder.__all__
__all__ += _spiral.__all__
__all__ += _sine_curve.__all__
__all__ += _shakespeare.__all__


def __dir__() -> list[str]:
    return __all__
