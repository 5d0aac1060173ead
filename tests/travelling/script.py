"""A user's script, whose functions and classes have names in `__main__` alone: run it with a file to write, and a file for its results."""

import abc
import pickle
import sys
from pathlib import Path
from typing import Any, Generic, TypeVar

import attrs
import numpy as np

import fdezero as fd
from fdezero import nn, optim, training
from fdezero.data import transforms as T

Inner = TypeVar("Inner")
SCALE, KEY, X = 3.0, fd.random.key(0), np.ones((2, 3))


@fd.compile
def step(x: Any) -> Any:
    return helper(x) * SCALE


@fd.checkpoint
def helper(x: Any) -> Any:
    return np.sin(x) if factorial else x


@fd.compile
def factorial(n: Any, x: Any) -> Any:  # it calls itself
    return x if n is None else n * factorial(None, x)


@fd.custom_vjp
def ruled(x: Any) -> Any:
    return x * 2


ruled.defvjp(lambda x: (x * 2, None), lambda kept, t: (step(t),))


class Net(fd.Module):
    W: np.ndarray
    activation: Any = fd.static()

    @classmethod
    def init(cls, key: Any) -> "Net":
        return cls(fd.random.normal(key, (3, 2)), fd.numpy.tanh)

    @fd.compile
    def __call__(self, x: Any) -> Any:
        return self.activation(x @ self.W)


class Shifted(Net):
    b: Any = 0.5

    def __call__(self, x: Any) -> Any:
        return super().__call__(x) + self.b


class Same(Shifted):
    pass


class Centred(nn.Stateful):
    mean: np.ndarray = nn.statistic()

    def step(self, x: Any, *, key: Any = None, train: bool = False) -> Any:
        return x - self.mean, self.replace(mean=self.mean * 0.5 + x.mean(0) * 0.5)


class Around(fd.Module, Generic[Inner]):
    inner: Inner

    def __call__(self, x: Any) -> Any:
        return self.inner(x)  # type: ignore[operator]  # a layer


class Doubling(fd.Module, abc.ABC):
    @abc.abstractmethod
    def doubled(self) -> Any: ...


class Number(Doubling):
    c: Any = 1.0

    def doubled(self) -> Any:
        return self.c * 2


@attrs.frozen
class Plain:
    a: Any
    n: int = attrs.field(metadata={"static": True}, default=3)


class Descent(optim.GradientTransformation):
    lr: Any = 0.5

    def init(self, params: Any) -> Any:
        return ()

    def update(self, grads: Any, state: Any, params: Any = None) -> Any:
        return fd.tree.map(lambda g: -self.lr * g, grads), state


class Total(training.Metric):
    total: Any = 0.0

    def update(self, x: Any) -> Any:
        return self.replace(total=self.total + x.sum())

    def result(self) -> Any:
        return self.total


class Falling(optim.schedules.Schedule):
    first: Any = 0.1

    def __call__(self, step: Any) -> Any:
        return self.first / (1 + step)


@attrs.frozen
class Brighter(T.Transform):
    by: Any = attrs.field(default=2, metadata={"static": True})

    def __call__(self, batch: Any, key: Any = None) -> Any:
        return batch[0] + self.by, batch[1]


def made() -> list[Any]:
    """An object of every class."""
    net = Net.init(KEY)
    opt = Descent(0.25)
    models = [net, Shifted(net.W, np.tanh), Same(net.W, np.tanh), Around(net), Number(4.0), nn.freeze(net, "W"), fd.Frozen(net)]
    return [*models, Centred(np.zeros(3)), Plain({"w": np.ones(2)}), opt, Total(2.0), Falling(), Brighter(3), training.State.init(net, opt, KEY)]


def loss(model: Any, x: Any) -> Any:
    return fd.numpy.sum(model(x) ** 2)


def work(objects: list[Any]) -> list[Any]:
    """What functions and classes do, those of the objects and those that this function names."""
    net = Net.init(KEY)
    shifted = Same(net.W, np.tanh)
    y, stepped = nn.step(nn.Sequential([Centred(np.zeros(3)), shifted]), X)
    grads = fd.grad(loss)(shifted, X)
    return [
        step(X), factorial(2.0, X), fd.grad(ruled)(0.5), net(X), y, fd.tree.leaves(stepped), fd.tree.leaves(grads),
        fd.compile(fd.grad(loss))(Around(net), X).inner.W, fd.tree.leaves(Descent().step(shifted, grads, ())), Total().update(X).result(),
        Number().doubled(), Falling()(np.int64(3)), Brighter()((X, 1)), [(fd.tree.paths(o), fd.tree.leaves(o)) for o in objects],
    ]  # fmt: skip


def main() -> None:
    import cloudpickle

    for function in (step, helper, factorial, ruled, Net.__call__):
        assert pickle.loads(pickle.dumps(function)) is function
    objects = made()
    assert repr(pickle.loads(pickle.dumps(objects))) == repr(objects)
    functions = [step, helper, factorial, ruled, Net.__call__, fd.compile(fd.grad(loss))]
    Path(sys.argv[1]).write_bytes(cloudpickle.dumps((work, objects, functions)))
    Path(sys.argv[2]).write_bytes(pickle.dumps(repr(work(objects))))


if __name__ == "__main__":
    main()
