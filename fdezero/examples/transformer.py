"""Train a small causal Transformer on plays of Shakespeare, one character at a time, and let it write.

Each character looks at those before it, as far as 64 characters back; there is no state. Source: Vaswani et al., "Attention is all
you need", 2017; Radford et al., 2019. Compare it with the LSTM of `characters`, which reads the same text.
"""

import argparse
import math
import time
from typing import Any

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import models, optim
from fdezero.data import shakespeare
from fdezero.examples._terminal import example_parser, figure, first_line, number, run, saved

TRAIN, TEST = slice(0, 1_090_000), slice(1_090_000, 1_150_000)  # eight plays and a half, and the rest of Twelfth Night


def loss_fn(model: models.Transformer, windows: Any, skip: int = 0) -> Any:
    """The mean cross entropy of each next character in windows (N, T + 1), without the first `skip`."""
    scores = model(windows[:, :-1])
    return F.softmax_cross_entropy(scores[:, skip:], windows[:, 1 + skip :])


evaluate = fd.compile(loss_fn, static=("skip",))


def bits(model: models.Transformer, ids: Any, length: int) -> float:
    """The mean number of bits that a character costs: -log2 of the probability that the model gave it.

    Windows overlap by half, and the second half of each counts. So every character has half a window or more before it.
    """
    half = length // 2
    starts = np.arange(0, len(ids) - length, length - half)
    windows = ids[starts[:, None] + np.arange(length + 1)]
    losses, sizes = [], []
    for start in range(0, len(windows), 100):
        batch = fd.to_device(windows[start : start + 100], fd.device_of(model))
        losses.append(float(evaluate(model, batch, skip=half)))
        sizes.append(len(batch))
    return float(np.average(losses, weights=sizes)) / math.log(2)


def train(model: models.Transformer, ids: Any, options: argparse.Namespace, sample: Any) -> models.Transformer:
    rate = optim.schedules.warmup(options.steps // 15, optim.schedules.cosine(options.lr, options.steps))
    opt = optim.chain(optim.clip_by_global_norm(1.0), optim.adamw(rate, weight_decay=0.01))
    opt_state, places = opt.init(model), np.arange(options.length + 1)
    ids, places, key = fd.to_device((ids, places, fd.random.key(options.seed + 2)), options.device)

    @fd.compile(native=options.native)
    def train_step(model: Any, opt_state: Any, ids: Any, key: Any) -> tuple[Any, ...]:
        starts = fd.random.randint(key, (options.batch_size, 1), 0, len(ids) - options.length)
        loss, grads = fd.value_and_grad(loss_fn)(model, ids[starts + places])
        model, opt_state = opt.step(model, grads, opt_state)
        return model, opt_state, loss

    losses: list[Any] = []
    start = time.perf_counter()
    for step in range(1, options.steps + 1):
        model, opt_state, loss = train_step(model, opt_state, ids, fd.random.fold_in(key, step))
        losses.append(loss)
        if step % -(-options.steps // 10) == 0:
            mean = float(sum(losses)) / len(losses) / math.log(2)
            print(f"step {step:>4} of {options.steps}, {mean:.2f} bits, {time.perf_counter() - start:.0f} s: ", end="")
            print(sample(model, 50).replace("\n", " / "), flush=True)
            losses = []
    return model


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = example_parser("transformer", __doc__, saves=(".txt",))
    add = parser.add_argument
    add("--steps", type=number(int, 1), default=1500, quick=4, help="of training (%(default)s)")
    add("--batch-size", type=number(int, 1), default=16, quick=4, help="windows in a step (%(default)s)")
    add("--length", type=number(int, 2, 50_000), default=64, quick=10, help="characters of a window (%(default)s)")
    add("--size", type=number(int, 1), default=96, quick=8, help="numbers for each character (%(default)s)")
    add("--heads", type=number(int, 1), default=4, quick=2, help="of attention, a divisor of --size (%(default)s)")
    add("--layers", type=number(int, 1), default=3, quick=1, help="of the Transformer (%(default)s)")
    add("--lr", type=number(float, 0), default=0.005, help="learning rate of AdamW, at its peak (%(default)s)")
    add("--native", action="store_true", help="compile to native code, with a C++ compiler")
    add("--prompt", default="ROMEO.\\n", help="what the text begins with, such as 'HAMLET.\\n'")
    add("--count", type=number(int, 1), default=600, quick=20, help="characters to write (%(default)s)")
    add("--temperature", type=number(float, 0.01), default=0.7, help="below 1: more likely characters (%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    text = shakespeare()
    opening = text.encode(options.prompt.replace("\\n", "\n") or "\n")
    model = models.Transformer.init(
        fd.random.key(options.seed),
        len(text.vocabulary),
        size=options.size,
        heads=options.heads,
        layers=options.layers,
        length=options.length,
        positions="rotary",
    )
    size = sum(leaf.size for leaf in fd.tree.leaves(model))
    first_line(options, f"transformer: {options.layers} layers of size {options.size}, {size:,} parameters")
    print(f"{TRAIN.stop:,} characters to train on, {TEST.stop - TEST.start:,} to test with", flush=True)

    def sample(model: models.Transformer, count: int) -> str:
        """New characters after the opening; those that no longer fit the window are forgotten, half a window at a time."""
        ids = opening
        while (more := len(opening) + count - len(ids)) > 0:
            seen, key = ids[-(options.length // 2) :], fd.random.fold_in(fd.random.key(options.seed + 1), len(ids))
            more = min(more, options.length - len(seen))
            seen, key = fd.to_device((seen, key), options.device)
            found = fd.to_numpy(model.generate(seen, more, key=key, temperature=options.temperature))
            ids = np.concatenate([ids, found[-more:]])
        return text.decode(ids[len(opening) :])

    model = train(fd.to_device(model, options.device), text.ids[TRAIN], options, sample)
    written = text.decode(opening) + sample(model, options.count)
    print(f"\n{written}\n", flush=True)
    test = text.ids[TEST][: 2000 if options.quick else None]
    figure("bits per character of the rest", bits(model, test, options.length), at_most=2.45, stated=options.stated)
    if options.save:
        options.save.write_text(written + "\n", encoding="utf-8")
        saved(options.save)


if __name__ == "__main__":
    run(main)
