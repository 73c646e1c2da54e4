"""The test of unbiasedness: many single gradients against the exact one, coordinate by coordinate."""

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

DRAWS = 200_000
CHUNK = 10_000
LIMIT = 4.5
DETECTABLE = 0.02
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""These programs are tiny: compiling them well costs more than running them badly."""
ROUNDING = 3e-6
"""Share of the gradient norm that float32 may lose; added to every standard error in quadrature."""


class Comparison(NamedTuple):
    """What the draws say against the exact gradient."""

    z: np.ndarray
    bias: np.ndarray
    se: np.ndarray
    norm: float
    variance: float

    @property
    def worst(self) -> float:
        return float(np.abs(self.z).max())

    @property
    def detectable(self) -> float:
        """The smallest bias the test sees in every coordinate, over the gradient norm."""
        return float(LIMIT * self.se.max() / self.norm)

    @property
    def relative_bias(self) -> float:
        return float(np.linalg.norm(self.bias) / self.norm)


def flat_gradient(inference: Inference, function: Callable[[Inference], Any]) -> tuple[Any, Any]:
    """Return a jittable gradient in the flat vector of trainable numbers, and that vector."""
    parts = (inference.model, inference.posterior)
    params, static = eqx.partition(parts, trainable(parts))
    flat, unravel = ravel_pytree(params)

    def of(vector: Any, *rest: Any) -> Any:
        model, posterior = eqx.combine(unravel(vector), static)
        own = eqx.tree_at(lambda i: (i.model, i.posterior), inference, (model, posterior))
        return function(own, *rest)

    return jax.grad(of), flat


def exact_gradient(inference: Inference, loss: Callable[..., Any], datum: Datum, num_data: int) -> np.ndarray:
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
    """Average ``draws`` gradient estimates and set them against ``truth``."""
    estimator = inference.gradient if gradient is None else gradient
    state = estimator.init(inference)

    def surrogate(own: Inference, key: Any) -> Any:
        return estimator(own, datum, key=key, step=jnp.asarray(0), num_data=num_data, state=state).surrogate

    one, flat = flat_gradient(inference, surrogate)
    reference = jnp.asarray(truth, jnp.float32)

    @partial(jax.jit, compiler_options=QUICK)
    def chunk(key: Any) -> Any:
        off = jax.vmap(lambda k: one(flat, k) - reference)(jax.random.split(key, CHUNK))
        return off.sum(0), (off**2).sum(0)

    sums = [chunk(k) for k in jax.random.split(jax.random.key(seed), draws // CHUNK)]
    first = np.sum([np.asarray(a, np.float64) for a, _ in sums], 0) / draws
    second = np.sum([np.asarray(b, np.float64) for _, b in sums], 0) / draws
    bias = first + (np.asarray(reference, np.float64) - truth)
    variance = np.maximum(second - first**2, 0)
    norm = float(np.linalg.norm(truth))
    se = np.sqrt(variance / draws)
    return Comparison(bias / np.hypot(se, ROUNDING * norm), bias, se, norm, float(variance.sum()))


def single_gradient(
    inference: Inference, datum: Datum, *, num_data: int = 1, gradient: Any = None, seed: int = 0
) -> np.ndarray:
    """One gradient estimate, flat."""
    estimator = inference.gradient if gradient is None else gradient
    state = estimator.init(inference)

    def surrogate(own: Inference, key: Any) -> Any:
        return estimator(own, datum, key=key, step=jnp.asarray(0), num_data=num_data, state=state).surrogate

    one, flat = flat_gradient(inference, surrogate)
    return np.asarray(jax.jit(one)(flat, jax.random.key(seed)), np.float64)
