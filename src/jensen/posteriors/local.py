"""Normal laws read off the model's own curvature: Laplace's at the mode, Pathfinder's on the way there."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jensen.algorithms import newton
from jensen.core import (
    AbstractInference,
    AbstractModel,
    AbstractPosterior,
    Datum,
    HasLatentDim,
    HasMarkovLatents,
    HasRecurrence,
    HoldsData,
    Verdict,
)
from jensen.dist import FullGaussian, stop
from jensen.errors import at_least
from jensen.posteriors.rules import space
from jensen.typing import Array, Float, PRNGKey, Scalar

_WIDE = 2.0
"""Starts are uniform on (−2, 2) in every coordinate."""


class Laplace(AbstractPosterior):
    r"""q(z) = N(ẑ, H⁻¹): ẑ a mode of log p(x, z), H its negative curvature there. Nothing is trained.

    The best of several descents is taken. H is exact, at the price of d gradients; where it is not positive
    definite, its absolute value is used. As a start: ``Global(family, start=Laplace(), key=key)``.

    Once every coordinate is scaled to unit curvature, eigenvalues below max(d, 8) ε of the largest (1e-6 in
    float32) are raised to that, since rounding hides them: beyond condition numbers of a million, which are
    correlations within about 2e-6 of 1, q is too narrow.

    Args:
        starts: Number of descents, from random points.
        steps: Most Newton steps of each.

    Raises:
        InputError: If a number is not positive.

    References:
        Tierney & Kadane 1986, Accurate approximations for posterior moments and marginal densities.

    Example:
        >>> import jax, jax.numpy as jnp, jensen as jn
        >>> model = jn.models.LogDensity(lambda z: -2.0 * jnp.sum((z - 1) ** 2), 2)
        >>> q = Laplace()(model, jn.Datum(jnp.zeros(0)), key=jax.random.key(0))
        >>> q.mean.round(3).tolist(), q.variance.round(3).tolist()
        ([1.0, 1.0], [0.25, 0.25])
    """

    starts: int = 4
    steps: int = 50

    def __check_init__(self):
        _positive(self, ("starts", "steps"))

    def __call__(self, model: Any, datum: Datum, *, key: PRNGKey) -> FullGaussian:
        """Descend, and read the curvature off."""
        paths = _paths(model, datum, self.starts, self.steps, key=key)
        which = jnp.arange(self.starts)
        lowest = paths.value[which, paths.last]
        best = jnp.argmin(jnp.where(jnp.isfinite(lowest), lowest, jnp.inf))
        step = paths.last[best]
        return stop(FullGaussian(paths.at[best, step], paths.tril[best, step]))

    def law(self, model: AbstractModel) -> type[FullGaussian]:
        """Return the normal law."""
        return FullGaussian

    def rule(self, inference: AbstractInference) -> Verdict:
        """Demand one real vector z; say what is dropped where the model is trained, too."""
        return _local(self, inference.model)


class Pathfinder(AbstractPosterior):
    r"""The normal law of the highest ELBO among those that log p(x, z) looks like on the way to its modes.

    A mode may be far from where the mass is; a step before it may not be. The idea is Pathfinder's; but the
    curvature at every step is exact, not estimated from gradients, so z may have a few hundred numbers at
    most. Nothing is trained.

    Args:
        starts: Number of descents, from random points.
        steps: Most Newton steps of each.
        draws: Draws for each ELBO.

    Raises:
        InputError: If a number is not positive.

    References:
        Zhang, Carpenter, Gelman & Vehtari 2022, Pathfinder: parallel quasi-Newton variational inference.
    """

    starts: int = 4
    steps: int = 40
    draws: int = 32

    def __check_init__(self):
        _positive(self, ("starts", "steps", "draws"))

    def __call__(self, model: Any, datum: Datum, *, key: PRNGKey) -> FullGaussian:
        """Descend, and choose among the laws met."""
        to_start, to_draw = jax.random.split(key)
        paths = _paths(model, datum, self.starts, self.steps, key=to_start)
        d = model.latent_dim
        means, trils = paths.mean.reshape(-1, d), paths.tril.reshape(-1, d, d)
        noise = jax.random.normal(to_draw, (self.draws, d), means.dtype)

        def elbo(args: tuple[Array, Array]) -> Scalar:
            mean, tril = args
            log_p = jax.vmap(lambda e: model.log_joint(mean + tril @ e, datum))(noise)
            return log_p.mean() + jnp.log(jnp.diagonal(tril)).sum()

        bounds = jax.lax.map(elbo, (means, trils))
        taken = jnp.isfinite(bounds) & jnp.isfinite(paths.value.reshape(-1))
        best = jnp.argmax(jnp.where(taken, bounds, -jnp.inf))
        return stop(FullGaussian(means[best], trils[best]))

    def law(self, model: AbstractModel) -> type[FullGaussian]:
        """Return the normal law."""
        return FullGaussian

    def rule(self, inference: AbstractInference) -> Verdict:
        """Demand one real vector z; say what is dropped where the model is trained, too."""
        return _local(self, inference.model)


def _paths(model: Any, datum: Datum, starts: int, steps: int, *, key: PRNGKey) -> newton.Path:
    shape = (starts, model.latent_dim)
    points = jax.random.uniform(key, shape, minval=-_WIDE, maxval=_WIDE)

    def energy(z: Float[Array, "d"]) -> Scalar:
        return -model.log_joint(z, datum)

    return jax.vmap(lambda z: newton.descend(energy, z, steps=steps))(points)


def _positive(member: Any, names: tuple[str, ...]) -> None:
    at_least(type(member).__name__, 1, **{name: getattr(member, name) for name in names})


def _local(posterior: AbstractPosterior, model: Any) -> Verdict:
    name, kind = type(posterior).__name__, type(model).__name__
    if isinstance(model, HoldsData):
        return Verdict("exact")
    vector = isinstance(model, HasLatentDim) and not isinstance(model, HasRecurrence | HasMarkovLatents)
    if not vector or space(model.prior_law) is not object:
        return Verdict(
            "refused", f"{name}: {kind} has no one real vector z; use posteriors.Amortized or PerDatum"
        )
    return Verdict(
        "biased", f"{name}: that q moves with the model's parameters is left out of their gradient"
    )
