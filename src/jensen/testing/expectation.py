"""The expected loss of an inference as a sum, a reference for its gradient and its bound."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import (
    AbstractCarryModel,
    Datum,
    HasExactEvidence,
    Inference,
    Losses,
    MeanOverDraws,
    live,
    score,
)
from jensen.dist import AbstractDensity, AbstractEnumerable, Draw, draw, stop
from jensen.typing import PRNGKey, Scalar

MAX_TERMS = 70_000
"""Most tuples of draws that are summed over."""
NODES = {1: 1001, 2: 201}
"""Nodes in each direction of a grid over one or two continuous entries."""
FALLS = 15.0
"""Nats that a density must fall by towards the corners of a grid that is to hold all of it."""


class Grid(NamedTuple):
    """Values of z, stacked, and the volume each stands for."""

    z: Any
    volume: float


def grid_of(inference: Inference, datum: Datum, *, key: PRNGKey, draws: int | None = None) -> Grid | None:
    """Return values of z over which expectations can be summed; ``None`` where there are too many.

    All values of a discrete law; an even grid about the draws of a density of one or two entries.

    Args:
        inference: The four choices.
        datum: The datum.
        key: Randomness.
        draws: How many draws a term of the sum has; by default as many as the objective needs at once.
    """
    q = inference.posterior(inference.bound_model(), datum, key=key)
    objective = inference.objective
    many: int = draws or (1 if isinstance(objective, MeanOverDraws) else objective.num_samples)
    if isinstance(q, AbstractEnumerable):
        fits = q.support_size**many <= MAX_TERMS
        return Grid(q.support(), 1.0) if fits else None
    if not isinstance(q, AbstractDensity):
        return None
    z = jax.vmap(lambda k: draw(q, key=k).z)(jax.random.split(key, 1000))
    if not isinstance(z, jax.Array) or z.ndim != 2 or z.shape[1] not in NODES or many * z.shape[1] > 2:
        return None
    z = np.asarray(z, np.float64)
    nodes = NODES[z.shape[1]] if many == 1 else NODES[2]
    # an even grid, nine standard deviations each way: the trapezoidal rule converges fast on smooth densities
    sides = [m + s * np.linspace(-9, 9, nodes) for m, s in zip(z.mean(0), z.std(0), strict=True)]
    points = np.stack([side.ravel() for side in np.meshgrid(*sides, indexing="ij")], -1)
    volume = float(np.prod([side[1] - side[0] for side in sides]))
    grid = Grid(jnp.asarray(points, jnp.float32), volume)
    inside = jnp.isfinite(jax.vmap(lambda z: jnp.sum(q.log_prob(z)))(grid.z))
    return grid if inside.all() else None  # at the edge of a support the rule converges slowly


def expected(
    inference: Inference, datum: Datum, grid: Grid, *, key: PRNGKey, num_data: Any = 1
) -> tuple[Losses, Scalar, Scalar]:
    """Return the expected losses, the expected bound, and how much of q is on the grid.

    Differentiable in model and posterior, each loss in both.
    """
    objective, share = inference.objective, inference.share(num_data)
    model = live(inference.model, inference.posterior)
    q = inference.posterior(model, datum, key=key)
    log_q = jax.vmap(lambda z: q.log_prob(z).reshape(-1))(grid.z)
    terms = jax.vmap(lambda z, lq: score(model, q, Draw(z, lq), datum, share))(grid.z, log_q)
    weight = jnp.exp(log_q.sum(-1)) * grid.volume
    draws = 1 if isinstance(objective, MeanOverDraws) else objective.num_samples
    places = np.array(list(itertools.product(range(len(weight)), repeat=draws)), np.int32)
    tuples = jax.tree.map(lambda leaf: leaf[places], terms)
    chance = weight[places].prod(-1)
    losses = jax.vmap(lambda t: objective.losses(t, jnp.zeros((), jnp.int32)))(tuples)
    bound = chance @ jax.vmap(objective.bound)(tuples)
    return Losses(chance @ losses.model, chance @ losses.posterior), bound, weight.sum()


def expected_surrogate(
    inference: Inference, datum: Datum, grid: Grid, *, key: PRNGKey, num_data: Any = 1
) -> Scalar:
    """Return a number whose gradient is what an unbiased estimator has for its mean.

    That of the expected model loss in the model's parameters, of the posterior's expected loss in its own.
    """

    def own(model: Any, posterior: Any) -> Losses:
        parts = eqx.tree_at(lambda i: (i.model, i.posterior), inference, (model, posterior))
        return expected(parts, datum, grid, key=key, num_data=num_data)[0]

    model, posterior = inference.model, inference.posterior
    return own(model, stop(posterior)).model + own(stop(model), posterior).posterior


def evidence_of(inference: Inference, datum: Datum, *, key: PRNGKey) -> float | None:
    """Return log p(x | c) in nats where it is known: in closed form, or as a sum over values of z."""
    model = inference.bound_model()
    if isinstance(model, HasExactEvidence):
        return float(model.log_evidence(datum))
    if isinstance(model, AbstractCarryModel):
        return None
    grid = grid_of(inference, datum, key=key, draws=1)
    if grid is None:
        return None
    each = np.asarray(jax.jit(jax.vmap(lambda z: model.log_joint(z, datum)))(grid.z), np.float64)
    if grid.volume != 1.0 and max(each[0], each[-1]) > each.max() - FALLS:
        return None  # the grid was laid about q; much of p(x, z) may lie beyond it
    return float(np.logaddexp.reduce(each) + np.log(grid.volume))
