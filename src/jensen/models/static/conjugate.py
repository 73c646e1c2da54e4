"""What the Bayesian models of Gaussian components share: priors, starts, moments, densities."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from jensen.core import Datum, HasCoordinateAscent
from jensen.dist import AbstractDistribution, Factors, NormalWishart
from jensen.errors import InputError, positive
from jensen.nets import Fixed, Frame
from jensen.typing import Array, Float, Scalar

LOG_2PI = 1.8378770664093453

RIDGE = 1e-6
"""Added to the variances of a prior taken from the data, relative to the columns': constant columns pass."""


class Prior(Fixed):
    """A prior in the coordinates of the model's frame; never trained."""

    factors: Any


class Given(Fixed):
    """What a user said of the prior, in the data's own units; ``None`` where the data are to say it."""

    mean: Any
    scatter: Any


class HasConjugatePrior(HasCoordinateAscent):
    """p(θ, x) = p(θ) p(x | θ), p(θ) independent conjugate laws that are never trained.

    Attributes:
        prior: p(θ).
    """

    prior_law: ClassVar[type[AbstractDistribution]] = Factors
    prior: eqx.AbstractVar[Prior]

    def prior_of(self, cond: Any) -> Factors:
        """Return p(θ)."""
        return self.prior.factors

    def log_joint(self, z: dict[str, Any], datum: Datum) -> Scalar:
        """Return log p(θ) + log p(x | θ), in nats, for one datum."""
        return self.prior.factors.log_prob(z).sum() + self.log_likelihood(z, datum)


def concentration_of(name: str, k: int, given: float | None, word: str = "concentration") -> float:
    """Return a Dirichlet parameter, 1/K where none is given.

    Raises:
        InputError: If it is not positive.
    """
    alpha = 1 / k if given is None else given
    positive(name, **{word: alpha})
    return float(alpha)


def conjugate_prior(name: str, k: int, d: int, strength: float, dof: float | None) -> NormalWishart:
    """Return K equal laws about the origin, with the identity as their scatter."""
    dof = float(d) if dof is None else dof
    if not strength > 0 or not dof > d - 1:
        raise InputError(f"{name}: strength={strength}, dof={dof}; above 0, and above D − 1 = {d - 1}")
    eye = jnp.broadcast_to(jnp.eye(d), (k, d, d))
    return NormalWishart(jnp.zeros((k, d)), filled((k,), strength), filled((k,), dof), eye)


def filled(shape: tuple[int, ...], value: float) -> Float[Array, "..."]:
    """Return an array of one number, of a type that no later sum changes: one compiled step serves all."""
    return jnp.full(shape, value, jnp.result_type(float))


def checked_given(name: str, d: int, mean: Any, scatter: Any) -> Given:
    """Check the shapes, and that the scatter is positive definite."""
    if mean is not None:
        mean = np.asarray(mean, np.float64)
        if mean.shape != (d,):
            raise InputError(f"{name}: prior_mean has shape {mean.shape}; give ({d},)")
    if scatter is not None:
        scatter = np.asarray(scatter, np.float64)
        ok = scatter.shape == (d, d) and np.allclose(scatter, scatter.T)
        if not ok or np.linalg.eigvalsh(scatter)[0] <= 0:
            raise InputError(f"{name}: prior_scatter must be a positive definite ({d}, {d}) matrix")
    return Given(mean, scatter)


def prior_from(
    prior: NormalWishart, given: Given, frame: Frame, y: np.ndarray, weight: np.ndarray
) -> NormalWishart:
    """Return the prior in the frame's coordinates; what the user left open is the data's mean and covariance.

    Args:
        prior: Strength and degrees of freedom.
        given: What the user said.
        frame: The coordinates.
        y: Rows in them, (N, D), float64.
        weight: Row weights.
    """
    shift, scale = (np.asarray(v, np.float64) for v in (frame.shift, frame.scale))
    k, d = prior.loc.shape
    centre = weight @ y / weight.sum()
    mean = centre if given.mean is None else (np.asarray(given.mean) - shift) / scale
    if given.scatter is None:
        away = y - centre
        scatter = (weight[:, None] * away).T @ away / max(weight.sum() - 1, 1) + RIDGE * np.eye(d)
    else:
        scatter = np.asarray(given.scatter) / scale / scale[:, None]
    tril = np.linalg.cholesky(scatter)
    real = jnp.result_type(float)
    return NormalWishart(
        jnp.asarray(np.broadcast_to(mean, (k, d)), real),
        prior.strength,
        prior.dof,
        jnp.asarray(np.broadcast_to(tril, (k, d, d)), real),
    )


def first_emission(
    prior: NormalWishart, y: np.ndarray, weight: np.ndarray, label: np.ndarray
) -> tuple[NormalWishart, Float[Array, "k"]]:
    """Return the posterior given hard labels, and how many rows each label has. Host code."""
    r = jnp.asarray((label == np.arange(len(prior.loc))[:, None]) * weight, jnp.result_type(float))
    whitened = prior.whiten(jnp.asarray(y, r.dtype))
    moments = whitened_moments(r, whitened)
    return prior.updated(prior, **moments), moments["count"]


def whitened_moments(r: Float[Array, "k n"], y: Float[Array, "k d n"]) -> dict[str, Array]:
    """Return Σ r, Σ r y and Σ r y yᵀ of every component."""
    return {
        "count": r.sum(1),
        "first": (r[:, None] * y).sum(-1),
        "second": (r[:, None] * y) @ y.mT,
    }


def gaussian_log_prob(
    z: tuple[Float[Array, "k d"], Float[Array, "k d d"]], x: Float[Array, "n d"]
) -> Float[Array, "k n"]:
    """Return log N(x; μ_k, (T_k T_kᵀ)⁻¹) of rows, in nats."""
    mean, tril = z
    y = jnp.einsum("kij,kni->kjn", tril, x - mean[:, None])
    half = jnp.log(jnp.diagonal(tril, axis1=-2, axis2=-1)).sum(-1)
    return half[:, None] - 0.5 * (y**2).sum(1) - 0.5 * mean.shape[-1] * LOG_2PI


def expected_gaussian(q: NormalWishart, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Return E[μ] and E[Λ]⁻¹ in the data's own units, float64."""
    shift, scale = (np.asarray(v, np.float64) for v in (frame.shift, frame.scale))
    tril = np.asarray(q.scatter_tril, np.float64) * scale[:, None]
    covariance = tril @ tril.swapaxes(1, 2) / np.asarray(q.dof, np.float64)[:, None, None]
    return shift + scale * np.asarray(q.loc, np.float64), covariance


def refuse_missing(model: Any, rows: Datum) -> None:
    """Refuse rows with missing entries."""
    if rows.mask is not None and not np.asarray(rows.mask).all():
        name, other = type(model).__name__, type(model).__name__.removeprefix("Bayesian")
        raise InputError(f"{name}: x has missing entries; use models.{other}, or impute them first")
