"""Train an LSTM on plays of Shakespeare, one character at a time, and let it write.

The network reads a character and says how likely each character is next. Its state carries what it read before. Source: Karpathy,
"The unreasonable effectiveness of recurrent neural networks", 2015; the LSTM of *Deep Learning from Scratch 3*, step 60.
"""

import argparse
import math
import time
from typing import Any

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero.data import SequenceLoader, shakespeare
from fdezero.examples._terminal import example_parser, figure, first_line, number, run, saved

TRAIN, TEST = slice(0, 1_090_000), slice(1_090_000, 1_150_000)  # eight plays and a half, and the rest of Twelfth Night
BATCH = 32  # places of the text that are read side by side


class Writer(fd.Module):
    """The scores of the next character, after each character: ids (..., T), state -> (..., T, vocabulary), state."""

    characters: nn.Embedding
    lstm: nn.LSTM
    output: nn.Linear

    @classmethod
    def init(cls, key: Any, vocabulary: int, hidden: int) -> "Writer":
        first, second, third = fd.random.split(key, 3)
        return cls(
            nn.Embedding.init(first, vocabulary, 64),
            nn.LSTM.init(second, 64, hidden, forget_bias=1.0),  # it begins by remembering
            nn.Linear.init(third, hidden, vocabulary),
        )

    def __call__(self, ids: Any, state: Any) -> tuple[Any, Any]:
        y, state = self.lstm(self.characters(ids), state)
        return self.output(y), state


def loss_fn(model: Writer, state: Any, x: Any, t: Any) -> tuple[Any, Any]:
    # The state goes on into the next piece, and the gradient ends here.
    y, state = model(x, fd.stop_gradient(state))
    return F.softmax_cross_entropy(y, t), state


evaluate = fd.compile(loss_fn)


def bits(model: Writer, ids: Any) -> float:
    """The mean number of bits that a character costs: -log2 of the probability that the model gave it."""
    state, losses = model.lstm.initial_state(10), []
    for x, t in SequenceLoader((ids[:-1], ids[1:]), 10, length=500, drop_last=True, device=fd.device_of(model)):
        loss, state = evaluate(model, state, x, t)
        losses.append(float(loss))
    return sum(losses) / len(losses) / math.log(2)


@fd.compile
def write(model: Writer, prompt: Any, keys: Any, temperature: float) -> Any:
    """The characters that follow a prompt, one for each key. Each is drawn, and is what the network reads next."""

    def draw(carry: Any, key: Any) -> tuple[Any, Any]:
        scores, state = carry
        character = fd.random.categorical(key, scores / temperature)
        y, state = model(character[None], state)
        return (y[-1], state), character

    y, state = model(prompt, model.lstm.initial_state())
    _, characters = fd.scan(draw, (y[-1], state), keys)
    return characters


def train(model: Writer, ids: Any, options: argparse.Namespace, sample: Any) -> Writer:
    loader = SequenceLoader((ids[:-1], ids[1:]), BATCH, length=options.length, drop_last=True, device=options.device)
    steps = options.epochs * len(loader)
    opt = optim.chain(optim.clip_by_global_norm(1.0), optim.adam(optim.schedules.cosine(options.lr, steps)))
    opt_state = opt.init(model)

    @fd.compile(native=options.native)
    def train_step(model: Any, opt_state: Any, state: Any, x: Any, t: Any) -> tuple[Any, ...]:
        (loss, state), grads = fd.value_and_grad(loss_fn, has_aux=True)(model, state, x, t)
        model, opt_state = opt.step(model, grads, opt_state)
        return model, opt_state, state, loss

    losses: list[Any] = []
    step, start = 0, time.perf_counter()
    for epoch in range(options.epochs):
        state = model.lstm.initial_state(BATCH)
        for x, t in loader.epoch(epoch):
            model, opt_state, state, loss = train_step(model, opt_state, state, x, t)
            step, losses = step + 1, [*losses, loss]
            if step % -(-steps // 10) == 0:
                mean = float(sum(losses)) / len(losses) / math.log(2)
                print(f"step {step:>4} of {steps}, {mean:.2f} bits, {time.perf_counter() - start:.0f} s: ", end="")
                print(sample(model, 60, 0.7).replace("\n", " / "), flush=True)
                losses = []
    return model


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = example_parser("characters", __doc__, saves=(".txt",))
    add = parser.add_argument
    add("--epochs", type=number(int, 1), default=2, quick=1, help="how often the text is read (%(default)s)")
    add(
        "--characters", type=number(int, 5000, TRAIN.stop + 1), default=TRAIN.stop, quick=5000, help="to train on (all)"
    )
    add("--length", type=number(int, 1, 150), default=64, quick=10, help="characters of a piece (%(default)s)")
    add("--hidden", type=number(int, 1), default=256, quick=16, help="units of the LSTM (%(default)s)")
    add("--lr", type=number(float, 0), default=0.015, help="learning rate of Adam, at first (%(default)s)")
    add("--native", action="store_true", help="compile to native code, with a C++ compiler")
    add("--prompt", default="ROMEO.\\n", help="what the text begins with, such as 'HAMLET.\\n'")
    add("--count", type=number(int, 1), default=600, quick=20, help="characters to write (%(default)s)")
    add("--temperature", type=number(float, 0.01), default=0.7, help="below 1: more likely characters (%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    text = shakespeare()
    model = Writer.init(fd.random.key(options.seed), len(text.vocabulary), options.hidden)
    size = sum(leaf.size for leaf in fd.tree.leaves(model))
    first_line(options, f"characters: LSTM with {options.hidden} units and {size:,} parameters")
    opening = options.prompt.replace("\\n", "\n") or "\n"
    prompt, key = fd.to_device((text.encode(opening), fd.random.key(options.seed + 1)), options.device)

    def sample(model: Writer, count: int, temperature: float) -> str:
        return text.decode(fd.to_numpy(write(model, prompt, fd.random.split(key, count), temperature)))

    print(f"{options.characters:,} characters to train on, {TEST.stop - TEST.start:,} to test with", flush=True)
    model = train(fd.to_device(model, options.device), text.ids[TRAIN][: options.characters], options, sample)
    written = opening + sample(model, options.count, options.temperature)
    print(f"\n{written}\n", flush=True)
    figure("bits per character of the rest", bits(model, text.ids[TEST]), at_most=2.15, stated=options.stated)
    if options.save:
        options.save.write_text(written + "\n", encoding="utf-8")
        saved(options.save)


if __name__ == "__main__":
    run(main)
