"""Many single gradients against a reference, coordinate by coordinate."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jensen.core import Datum, Inference
from jensen.nets import trainable
from jensen.testing.report import LIMIT

DRAWS = 200_000
"""Estimates that are averaged, unless said otherwise."""
CHUNK = 10_000
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""These programs are tiny: compiling them well costs more than running them badly."""
ROUNDING = 3e-6
"""Share of the gradient norm that float32 may lose; added to every standard error in quadrature."""


class Comparison(NamedTuple):
    """What the draws say against the reference.

    Attributes:
        z: Bias over its standard error, one entry a parameter.
        bias: Mean estimate less the reference.
        se: Standard error of the mean estimate.
        norm: Length of the reference.
        variance: Variance of one estimate, summed over parameters.
        value: Mean of the bounds the estimates came with, and its standard error, in nats.
    """

    z: np.ndarray
    bias: np.ndarray
    se: np.ndarray
    norm: float
    variance: float
    value: tuple[float, float] = (float("nan"), float("nan"))

    @property
    def worst(self) -> float:
        """The largest |z|."""
        return float(np.abs(self.z).max())

    @property
    def detectable(self) -> float:
        """The smallest bias that is seen in every coordinate, over the gradient norm."""
        return float(LIMIT * self.se.max() / self.norm)

    @property
    def relative_bias(self) -> float:
        """‖bias‖ over the gradient norm."""
        return float(np.linalg.norm(self.bias) / self.norm)


def flat_gradient(
    inference: Inference, function: Callable[..., Any], *, has_aux: bool = False
) -> tuple[Callable[..., Any], Any]:
    """Return the gradient of ``function(inference, ...)`` in the flat vector of parameters, and that vector.

    Args:
        inference: The four choices; the parameters are those of model and posterior.
        function: Takes an inference, and whatever the gradient is then called with after the vector.
        has_aux: Whether it returns more than the number to differentiate.
    """
    parts = (inference.model, inference.posterior)
    params, static = eqx.partition(parts, trainable(parts))
    flat, unravel = ravel_pytree(params)

    def of(vector: Any, *rest: Any) -> Any:
        model, posterior = eqx.combine(unravel(vector), static)
        own = eqx.tree_at(lambda i: (i.model, i.posterior), inference, (model, posterior))
        return function(own, *rest)

    return jax.grad(of, has_aux=has_aux), flat


def exact_gradient(inference: Inference, loss: Callable[..., Any], datum: Datum, num_data: int) -> np.ndarray:
    """Return the gradient of ``loss(inference, datum, num_data)``, flat."""
    gradient, flat = flat_gradient(inference, lambda own: loss(own, datum, num_data))
    return np.asarray(jax.jit(gradient)(flat), np.float64)


def compare(
    inference: Inference,
    datum: Datum,
    truth: np.ndarray,
    *,
    num_data: int = 1,
    gradient: Any = None,
    seed: int = 0,
    draws: int = DRAWS,
) -> Comparison:
    """Average many gradient estimates and set them against ``truth``.

    Args:
        inference: The four choices.
        datum: The datum.
        truth: The reference, flat.
        num_data: Size of the data set.
        gradient: The estimator, in place of the inference's own.
        seed: Randomness.
        draws: How many estimates.
    """
    estimator = inference.gradient if gradient is None else gradient
    state = estimator.init(inference)

    def surrogate(own: Inference, key: Any) -> Any:
        out = estimator(own, datum, key=key, step=jnp.asarray(0), num_data=num_data, state=state)
        return out.surrogate, out.value

    one, flat = flat_gradient(inference, surrogate, has_aux=True)
    reference, size = jnp.asarray(truth, jnp.float32), min(CHUNK, draws)

    @partial(jax.jit, compiler_options=QUICK)
    def chunk(key: Any) -> Any:
        grads, values = jax.vmap(lambda k: one(flat, k))(jax.random.split(key, size))
        off = grads - reference
        return off.sum(0), (off**2).sum(0), values.mean(), values.var()

    sums = [chunk(k) for k in jax.random.split(jax.random.key(seed), draws // size)]
    first, second, values, spread = (
        np.sum([np.asarray(part[i], np.float64) for part in sums], 0) / (len(sums) * (size if i < 2 else 1))
        for i in range(4)
    )
    n = len(sums) * size
    bias = first + (np.asarray(reference, np.float64) - truth)
    variance = np.maximum(second - first**2, 0)
    norm = float(np.linalg.norm(truth))
    se = np.sqrt(variance / n)
    value = (float(values), float(np.sqrt(spread / n)))
    z = bias / np.maximum(np.hypot(se, ROUNDING * norm), np.finfo(np.float32).tiny)
    return Comparison(z, bias, se, norm, float(variance.sum()), value)


def single_gradient(
    inference: Inference, datum: Datum, *, num_data: int = 1, gradient: Any = None, seed: int = 0
) -> np.ndarray:
    """Return one gradient estimate, flat."""
    estimator = inference.gradient if gradient is None else gradient
    state = estimator.init(inference)

    def surrogate(own: Inference, key: Any) -> Any:
        return estimator(own, datum, key=key, step=jnp.asarray(0), num_data=num_data, state=state).surrogate

    one, flat = flat_gradient(inference, surrogate)
    return np.asarray(jax.jit(one)(flat, jax.random.key(seed)), np.float64)
