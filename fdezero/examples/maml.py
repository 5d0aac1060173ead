"""Learn to learn: train parameters from which a single gradient step suits any sine, from ten of its points.

The loss is that of the network *after* a step, so its gradient goes through a gradient. Without such training one step helps
little. Source: Finn et al., "Model-agnostic meta-learning for fast adaptation of deep networks", 2017.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim
from fdezero.examples._terminal import drawing, example_parser, figure, first_line, number, run

SHOTS = 10  # points that a network adapts to, and as many to measure it


def draw_tasks(key: Any, count: int) -> tuple[Any, ...]:
    """Sines of random amplitude and phase: points to adapt to, x and y, and others, all (count, SHOTS, 1)."""
    keys = fd.random.split(key, 3)
    amplitude = fd.random.uniform(keys[0], (count, 1, 1), 0.1, 5.0)
    phase = fd.random.uniform(keys[1], (count, 1, 1), 0.0, np.pi)
    x = fd.random.uniform(keys[2], (count, 2 * SHOTS, 1), -5.0, 5.0)
    y = amplitude * np.sin(x + phase)
    return x[:, :SHOTS], y[:, :SHOTS], x[:, SHOTS:], y[:, SHOTS:]


def loss_fn(model: nn.MLP, x: Any, y: Any) -> Any:
    return F.mean_squared_error(model(x), y)


def adapt(model: nn.MLP, x: Any, y: Any, rate: float, steps: int = 1) -> nn.MLP:
    """The network after some steps of gradient descent on the points of one task."""
    for _ in range(steps):
        gradient = fd.grad(loss_fn)(model, x, y)
        model = fd.tree.map(lambda p, g: p - rate * g, model, gradient)
    return model


def loss_after(model: nn.MLP, tasks: Any, rate: float, steps: int = 1) -> Any:
    """The mean loss on other points of the tasks, after each task has adapted a network of its own."""

    def of_one(x: Any, y: Any, other_x: Any, other_y: Any) -> Any:
        return loss_fn(adapt(model, x, y, rate, steps), other_x, other_y)

    return np.mean(fd.vmap(of_one)(*tasks))


def train(model: nn.MLP, options: argparse.Namespace, adapting: int) -> nn.MLP:
    """Train for the loss after `adapting` steps: 1 is meta-training, and 0 fits one network to all tasks together."""
    opt = optim.adam(optim.schedules.cosine(options.lr, options.steps))

    @fd.compile
    def train_step(model: Any, state: Any, key: Any) -> tuple[Any, Any, Any]:
        tasks = draw_tasks(key, options.tasks)
        loss, grads = fd.value_and_grad(loss_after)(model, tasks, options.rate, adapting)
        model, state = opt.step(model, grads, state)
        return model, state, loss

    state, key = opt.init(model), fd.to_device(fd.random.key(options.seed + 1), options.device)
    for step in range(options.steps):
        model, state, loss = train_step(model, state, fd.random.fold_in(key, step))
        if (step + 1) % max(1, options.steps // 5) == 0:
            print(f"  step {step + 1:,} of {options.steps:,}, loss {float(loss):.3f}", flush=True)
    return model


def draw(path: Path, models: dict[str, nn.MLP], task: Any, rate: float) -> None:
    """Draw a sine that no network has seen, and each network before and after steps on ten of its points."""
    grid = np.linspace(-5, 5, 200, dtype=np.float32)[:, None]
    x, y, amplitude, phase = task
    with drawing(path, 11, 4) as picture:
        for axes, (name, model) in zip(picture.subplots(1, len(models), sharey=True), models.items(), strict=True):
            axes.plot(grid, amplitude * np.sin(grid + phase), "0.7", linewidth=4, label="the sine")
            axes.plot(x, y, "k^", label="the points")
            for steps, style in ((0, ":"), (1, "--"), (10, "-")):
                axes.plot(
                    grid, adapt(model, x, y, rate, steps)(grid), style, label=f"after {steps} step{'s' * (steps != 1)}"
                )
            axes.set(title=name, ylim=(-5, 5))
        picture.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=5)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = example_parser("maml", __doc__)
    add = parser.add_argument
    add("--steps", type=number(int, 1), default=15_000, quick=20, help="of training, for each network (%(default)s)")
    add("--tasks", type=number(int, 1), default=25, quick=5, help="in a step of training (%(default)s)")
    add("--sines", type=number(int, 1), default=1000, quick=20, help="new sines to test with (%(default)s)")
    add("--hidden", type=number(int, 1), default=40, quick=10, help="units of both hidden layers (%(default)s)")
    add("--rate", type=number(float, 0), default=0.02, help="of the steps that adapt (%(default)s)")
    add("--lr", type=number(float, 0), default=0.003, help="learning rate of Adam (%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    sizes = (1, options.hidden, options.hidden, 1)
    start = nn.MLP.init(fd.random.key(options.seed), sizes, activation=F.relu)
    first_line(
        options, f"MAML: sines by an MLP {'-'.join(map(str, sizes))}, {options.steps:,} steps of {options.tasks} tasks"
    )
    start = fd.to_device(start, options.device)
    models = {"not trained": start}
    print("trained on all sines together", flush=True)
    models["trained together"] = train(start, options, adapting=0)
    print("meta-trained", flush=True)
    models["meta-trained"] = train(start, options, adapting=1)

    key = fd.to_device(fd.random.key(options.seed + 2), options.device)
    tasks = draw_tasks(key, options.sines)
    counts, losses = (0, 1, 2, 5, 10), {}
    evaluate = fd.compile(loss_after, static=("steps",))
    print(f"loss on {options.sines:>4} new sines after", *(f"{count:>7}" for count in counts), "steps")
    for name, model in models.items():
        losses[name] = [float(evaluate(model, tasks, options.rate, steps=count)) for count in counts]
        print(f"{name:27}", *(f"{loss:7.3f}" for loss in losses[name]), flush=True)
    after = losses["meta-trained"][1]
    figure("loss after one gradient step", after, at_most=0.6, stated=options.stated)
    others = min(losses["not trained"][1], losses["trained together"][1])
    figure("times the loss of the others", others / after, at_least=4, stated=options.stated)
    if options.save:
        x = np.array([[-4.5], [-4.0], [-3.2], [-2.6], [-2.0], [-1.5], [-1.0], [-0.6], [-0.3], [0.0]], np.float32)
        task = (x, 3.5 * np.sin(x + 1.0), 3.5, 1.0)  # points of the left half alone
        draw(options.save, fd.to_device(models, "cpu"), task, options.rate)


if __name__ == "__main__":
    run(main)
