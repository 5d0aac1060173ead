"""Functions and classes at the top of a module, of every kind that travels to another process."""

import functools
from typing import Any

import numpy as np

import fdezero as fd
from fdezero import functions as F
from fdezero import nn, optim


def loss(w: Any, x: Any) -> Any:
    return fd.numpy.sum(fd.numpy.tanh(w * x) ** 2)


def scaled(scale: Any, w: Any, x: Any) -> Any:
    return scale * loss(w, x)


def with_aux(w: Any, x: Any) -> Any:
    return loss(w, x), {"doubled": w * 2}


def with_aux_mean(w: Any, x: Any) -> Any:
    return loss(w, x), fd.numpy.mean(x)


def entries(w: Any, x: Any) -> Any:
    return fd.numpy.sin(w) * x


@fd.compile
def compiled(w: Any, x: Any) -> Any:
    return loss(w, x)


@fd.compile
def factorial(n: Any, x: Any) -> Any:  # it calls itself
    return x if n is None else n * factorial(None, x)


@fd.checkpoint
def checkpointed(w: Any, x: Any) -> Any:
    return loss(w, x)


@functools.partial(fd.vmap, in_axes=(None, 0))
def mapped(w: Any, x: Any) -> Any:
    return w * x


@fd.grad
def differentiated(w: Any, x: Any) -> Any:
    return loss(w, x)


@fd.custom_vjp
def clipped(w: Any, x: Any) -> Any:
    return w * x


clipped.defvjp(lambda w, x: (w * x, (w, x)), lambda kept, t: (fd.numpy.clip(t, -1, 1) * kept[1], None))


@fd.custom_jvp
def doubled(w: Any, x: Any) -> Any:
    return 2 * w + x


@doubled.defjvp
def _rule(primals: Any, tangents: Any) -> Any:
    return doubled(*primals), 3 * tangents[0] + tangents[1]


def forward(w: Any, x: Any) -> Any:
    return w * x, x


def backward(x: Any, t: Any) -> Any:
    return t * x, None


class Trainer:
    """An ordinary class with methods of all kinds."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def plain(self, w: Any, x: Any) -> Any:
        return self.rate * loss(w, x)

    @fd.compile
    def compiled(self, w: Any, x: Any) -> Any:
        return w * x * 2

    @fd.checkpoint
    def checkpointed(self, w: Any, x: Any) -> Any:
        return self.rate * loss(w, x)

    @functools.partial(fd.vmap, in_axes=(None, None, 0))
    def mapped(self, w: Any, x: Any) -> Any:
        return w * x * self.rate


class Scale(fd.Module):
    """A module with methods that travel with it."""

    w: np.ndarray

    @fd.compile
    def __call__(self, x: Any) -> Any:
        return x * self.w

    @fd.checkpoint
    def checkpointed(self, w: Any, x: Any) -> Any:
        return fd.numpy.sum(self.w * w * x)


def ruled() -> Any:
    """A function with a rule, but without a name of its own."""
    function = fd.custom_vjp(entries)
    function.defvjp(forward, backward)
    return function


WORLD = fd.distributed.world()
TRAINER, SCALE = Trainer(0.5), Scale(np.arange(3.0))
FUNCTIONS: dict[str, Any] = {  # each takes w (3,) and x (3,)
    "a function": loss,
    "compile": fd.compile(loss),
    "compile with settings": fd.compile(loss, max_recordings=3, threads=1, static=()),
    "a decorated compiled function": compiled,
    "compile of grad": fd.compile(fd.grad(loss)),
    "compile of value_and_grad": fd.compile(fd.value_and_grad(with_aux, has_aux=True)),
    "compile of grad by both": fd.compile(fd.grad(loss, (0, 1))),
    "compile of grad of compile": fd.compile(fd.grad(fd.compile(loss))),
    "compile of vmap of grad": fd.compile(fd.vmap(fd.grad(loss), (None, 0))),
    "compile of a partial": fd.compile(functools.partial(scaled, 2.0)),
    "compile of a partial of grad": fd.compile(functools.partial(fd.grad(scaled, 1), 2.0)),
    "compile of a method": fd.compile(TRAINER.plain),
    "compile of an operation": fd.compile(fd.numpy.multiply),
    "compile of a ufunc": fd.compile(np.multiply),
    "vmap": fd.vmap(loss, (None, 0)),
    "vmap of grad": fd.vmap(fd.grad(loss), (0, None)),
    "vmap of value_and_grad of compile": fd.vmap(fd.value_and_grad(fd.compile(loss)), (0, 0)),
    "a decorated vmap": mapped,
    "a decorated grad": differentiated,
    "checkpoint": fd.checkpoint(loss),
    "checkpoint of grad": fd.checkpoint(fd.grad(loss)),
    "a decorated checkpoint": checkpointed,
    "jacobian": fd.jacobian(entries),
    "jacfwd": fd.jacfwd(entries),
    "jacrev with aux": fd.jacrev(with_aux, has_aux=True),
    "hessian": fd.hessian(loss),
    "elementwise_grad": fd.elementwise_grad(entries),
    "compile of a gradient over ranks": fd.compile(fd.distributed.value_and_grad(loss, WORLD, weight=loss)),
    "compile of a gradient over shards": fd.compile(fd.distributed.value_and_grad(with_aux_mean, WORLD, has_aux=True, reproducible=True, shards=4)),
    "compile of grad_and_aux": fd.compile(fd.grad_and_aux(with_aux)),
    "custom_vjp": clipped,
    "custom_vjp without a name": ruled(),
    "vmap of custom_vjp": fd.vmap(clipped),
    "compile of grad of a custom_jvp": fd.compile(fd.elementwise_grad(doubled)),
    "debug": fd.debug(loss),
    "debug of grad": fd.debug(fd.grad(loss), nans=True),
    "a partial": functools.partial(scaled, 2.0),
    "a partial of compile": functools.partial(fd.compile(scaled), 2.0),
    "a method": TRAINER.plain,
    "a compiled method": TRAINER.compiled,
    "a checkpointed method": TRAINER.checkpointed,
    "a mapped method": TRAINER.mapped,
    "a checkpointed method of a module": SCALE.checkpointed,
    "an operation": fd.numpy.multiply,
    "a special function": fd.special.xlogy,
    "a loss": F.mean_squared_error,
}


def model() -> Any:
    return nn.MLP.init(fd.random.key(0), (3, 4, 2), activation=fd.numpy.tanh)


def network_loss(model: Any, x: Any, t: Any) -> Any:
    return F.softmax_cross_entropy(model(x), t)


OPT = optim.chain(optim.clip_by_global_norm(1.0), optim.adam(1e-2))


@fd.compile
def train_step(model: Any, state: Any, x: Any, t: Any) -> Any:
    value, grads = fd.value_and_grad(network_loss)(model, x, t)
    model, state = OPT.step(model, grads, state)
    return model, state, value
