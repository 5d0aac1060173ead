"""Networks that people know, their files, and images in the form that they expect."""

import typing as _typing

from ..elsewhere import NETWORKS_ELSEWHERE as _ELSEWHERE
from ..elsewhere import unknown_name as _unknown_name
from . import imagenet, lenet, pretrained, resnet, squeezenet, transformer, vgg
from .lenet import *
from .pretrained import *
from .resnet import *
from .squeezenet import *
from .transformer import *
from .vgg import *

# Type checkers follow these lines; a name is listed once, in the file that defines it.
__all__: list[str] = ["imagenet"]
__all__ += lenet.__all__
__all__ += vgg.__all__
__all__ += resnet.__all__
__all__ += squeezenet.__all__
__all__ += pretrained.__all__
__all__ += transformer.__all__


if not _typing.TYPE_CHECKING:  # to a type checker an unknown name stays unknown

    def __getattr__(name: str) -> _typing.Any:
        raise AttributeError(_unknown_name(__name__, name, _ELSEWHERE))


def __dir__() -> list[str]:
    return __all__
