"""Files with trained parameters: where they are, and their way into the cache folder."""

import difflib
from pathlib import Path
from typing import NamedTuple

from ..errors import RangeError
from ..io.download import downloaded

__all__ = ["download"]


class Weights(NamedTuple):
    """A file by its address, and its SHA-256 where a source states it."""

    url: str
    sha256: str | None = None


DEZERO = "https://github.com/koki0702/dezero-models/releases/download/v0.1/{}.npz"
TIMM = "https://huggingface.co/timm/{}.tv_in1k/resolve/{}/model.safetensors"  # torchvision's parameters; BSD-3-Clause
# Checksums are those that two public projects state independently of each other.
FILES = {
    "dezero": {name: Weights(DEZERO.format(name)) for name in ("vgg16", "resnet50", "resnet101", "resnet152")},
    "torchvision": {name: Weights(TIMM.format(name, "main")) for name in ("vgg11", "vgg13", "vgg19", "resnet101", "resnet152")}
    | {
        "vgg16": Weights(
            TIMM.format("vgg16", "b8d8aa2dd860af9233c8c67385a8097fd6c35d3f"),
            "57b026918159a6bf9faf8405c3a551903768e7138989d9c6224a14227203fad8",
        ),
        "resnet18": Weights(
            TIMM.format("resnet18", "bbd144b3e5565108aad885f145491d11bc6ce807"),
            "694f673df6520a3158624e8a89af086f59923ee4cd7436fe5bc3bc71d295ad81",
        ),
        "resnet34": Weights(TIMM.format("resnet34", "1b7b21cca82ff974d341713f777bf740c2db38c4")),
        "resnet50": Weights(
            TIMM.format("resnet50", "78f3ecfdb38e06d9b8397f662e7ab8fee96026fa"),
            "5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888",
        ),
    },
}  # fmt: skip


def download(name: str, form: str = "torchvision") -> Path:
    """The path of a file with parameters trained on ImageNet: `models.VGG16.load(models.download("vgg16"))`.

    It is fetched once, into the cache folder ($FDEZERO_CACHE), and checked where its checksum is known. `form` says whose
    parameters: "torchvision" has vgg11, 13, 16, 19 and resnet18, 34, 50, 101, 152 (safetensors), "dezero" has vgg16 and
    resnet50, 101, 152 (npz). Give images the same form: `models.imagenet.preprocess(image, form)`.

    Raises RangeError for another name, MissingExtraError without pooch, DownloadError (an OSError) without a network, FileError
    for a file with another checksum.
    """
    if form not in FILES:
        raise RangeError(f"download: the form is 'torchvision' or 'dezero', got {form!r}.")
    files = FILES[form]
    if name not in files:
        close = difflib.get_close_matches(str(name).lower(), files, 1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        raise RangeError(f"download: {form} has no {name!r}. {hint}There are {', '.join(files)}.")
    url, sha256 = files[name]
    ending = url.rpartition(".")[2]
    return downloaded(url, f"{name}-{form}.{ending}", sha256=sha256)
