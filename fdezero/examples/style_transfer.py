"""Paint one photograph in the manner of another: neural style transfer, with the layers of VGG16.

The content of an image is what a deep layer sees. Its style is which features occur together, wherever they are (Gram matrices).
The gradient changes pixels, and the network stays. Source: Gatys, Ecker & Bethge 2016, "Image style transfer using CNNs".
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import fdezero as fd
from fdezero import models, nn, optim
from fdezero.errors import MissingExtraError
from fdezero.examples._terminal import drawing, example_parser, figure, file, first_line, number, run, show_images

STYLE = ("layers/0/convs/0", "layers/1/convs/0", "layers/2/convs/0", "layers/3/convs/0")  # from dots to shapes
CONTENT = "layers/3/convs/1"
# The mean and the deviation of red, green and blue that VGG16 is used to.
NORMAL = ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))


def photograph(name: str | Path, options: argparse.Namespace) -> np.ndarray:
    """An image of a file or of scikit-learn: (1, 3, height, width), values from 0 to 1. The quick form has patterns in place."""
    if options.quick:
        y, x = np.mgrid[:16, :24]
        pattern = (x // 2 if name == "flower.jpg" else y // 4 + x // 4) % 2
        return np.stack([pattern, 1 - pattern, 0.5 + 0 * pattern])[None].astype(np.float32)
    try:
        from PIL import Image

        if isinstance(name, Path):
            picture: Any = Image.open(name)
        else:
            from sklearn.datasets import load_sample_image

            picture = Image.fromarray(load_sample_image(name))
    except ImportError:
        raise MissingExtraError("the photographs need scikit-learn and Pillow: pip install 'fdezero[images]'") from None
    height = max(8, round(options.size * picture.height / picture.width))
    pixels = np.asarray(picture.convert("RGB").resize((options.size, height)), np.float32) / 255
    return pixels.transpose(2, 0, 1)[None]


def features(network: nn.Sequential, image: Any) -> dict[str, Any]:
    """What the layers of style and content see, by their paths."""
    normal = np.stack([(image[:, i] - mean) / deviation for i, (mean, deviation) in enumerate(NORMAL)], axis=1)
    return nn.capture(network, normal, paths=(*STYLE, CONTENT))[1]


def gram(a: Any) -> Any:
    """How often two channels are active at the same place: (1, C, H, W) -> (C, C)."""
    flat = a.reshape(a.shape[1], -1)
    return flat @ flat.T / flat.shape[1]


def distance(a: Any, b: Any) -> Any:
    """The square of the distance, as a share of the square of b."""
    return ((a - b) ** 2).sum() / (b**2).sum()


def distances(network: nn.Sequential, image: Any, wanted: Any) -> tuple[Any, Any]:
    """How far the image is from the style and from the content that are wanted; 1 is as far as an image without any."""
    found, (styles, content) = features(network, image), wanted
    style = sum(distance(gram(found[path]), styles[path]) for path in STYLE) / len(STYLE)
    return style, distance(found[CONTENT], content)


def paint(network: nn.Sequential, image: Any, wanted: Any, options: argparse.Namespace) -> Any:
    """Change the pixels step by step."""
    opt = optim.adam(options.lr)

    @fd.compile
    def step(image: Any, state: Any, wanted: Any) -> tuple[Any, ...]:
        def loss_fn(image: Any) -> tuple[Any, Any]:
            style, content = distances(network, image, wanted)
            noise = sum((np.diff(image, axis=axis) ** 2).mean() for axis in (-1, -2))
            return options.style_weight * style + content + options.smooth * noise, (style, content)

        (_, parts), gradient = fd.value_and_grad(loss_fn, has_aux=True)(image)
        image, state = opt.step(image, gradient, state)
        return np.clip(image, 0, 1), state, parts

    state = opt.init(image)
    for i in range(options.steps):
        image, state, (style, content) = step(image, state, wanted)
        if i % max(1, options.steps // 10) == 0:
            print(f"step {i}: style {float(style):.4f}, content {float(content):.4f}", flush=True)
    return image


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = example_parser("style_transfer", __doc__)
    add = parser.add_argument
    add("--content", type=file, metavar="FILE", help="what to paint (china.jpg of scikit-learn)")
    add("--style", type=file, metavar="FILE", help="in whose manner (flower.jpg of scikit-learn)")
    add("--weights", type=file, metavar="FILE", help="VGG16 as others trained it: fd.models.download('vgg16')")
    add("--size", type=number(int, 16), default=192, help="width of the image (%(default)s)")
    add("--steps", type=number(int, 1), default=100, quick=2, help="how often the pixels change (%(default)s)")
    add("--width", type=number(int, 1), default=64, quick=4, help="channels of the first layers (%(default)s)")
    add("--style-weight", type=number(float, 0), default=1.0, help="what style counts; content has 1 (%(default)s)")
    add("--smooth", type=number(float, 0), default=2.0, help="what differences of neighbours count (%(default)s)")
    add("--lr", type=number(float, 0), default=0.02, help="learning rate of Adam (%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    first_line(options, f"style transfer: VGG16, {options.steps} steps")
    content = photograph(options.content or "china.jpg", options)
    style = photograph(options.style or "flower.jpg", options)
    if options.weights:
        model = models.VGG16.load(options.weights)
    else:
        model = models.VGG16.init(fd.random.key(options.seed), 1, size=32, width=options.width, hidden_size=1)
        print("the weights are random: colours and textures come over, shapes less so; --weights FILE has trained ones")
    network = nn.Sequential(model.blocks[:4])  # deeper ones are not needed
    network, start, manner = fd.to_device((network, content, style), options.device)
    styles = {path: gram(a) for path, a in features(network, manner).items()}
    wanted = styles, features(network, start)[CONTENT]
    image = paint(network, start, wanted, options)
    before, after = distances(network, start, wanted), distances(network, image, wanted)
    other = distances(network, manner, wanted)[1] if manner.shape == start.shape else 1.0
    stated = options.stated and not (options.weights or options.content or options.style)
    figure("distance from the style, where the photograph has 1", after[0] / before[0], at_most=0.15, stated=stated)
    figure("distance from the content, where the other one has 1", after[1] / other, at_most=0.4, stated=stated)
    if options.save:
        with drawing(options.save, 12, 3) as picture:
            left, middle, right = picture.subplots(1, 3)
            show_images(left, content, columns=1, title="what to paint")
            show_images(middle, style, columns=1, title="in whose manner")
            show_images(right, image, columns=1, title="the painting")


if __name__ == "__main__":
    run(main)
