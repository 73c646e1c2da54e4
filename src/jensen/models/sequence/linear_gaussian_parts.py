"""The three parts of a linear-Gaussian state-space model, each with its share of the M-step."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.algorithms import kalman
from jensen.algorithms.linalg import cholesky, solve_lower
from jensen.errors import InputError
from jensen.families.base import LOG_SCALE_BOUND, bounded_exp
from jensen.models.sequence.linear_gaussian_steps import PerStep, is_per_step, whole
from jensen.models.static.raw import floored, is_floor, triangle
from jensen.nets import Fixed
from jensen.typing import Array, Bool, Float

SCALE_FLOOR = 1e-4
"""Smallest scale of a state's noise, relative to its unit."""

RIDGE = 1e-6
"""Holds regressions back where their Gram matrix is singular; the step stays an ascent."""


class Unit(Fixed):
    """Units that noise scales are relative to."""

    scale: Float[Array, "*t n"]


class Noise(eqx.Module):
    """A full covariance by its Cholesky factor: diag(unit) U diag(s), U with a unit diagonal.

    Attributes:
        unit: Fixed units.
        raw: Log-scales.
        below: U's entries under its diagonal.
    """

    unit: Unit
    raw: Float[Array, "*t n"]
    below: Float[Array, "*t m"]

    @classmethod
    def of(cls, tril: Float[Array, "n n"], unit: Unit | None = None) -> Noise:
        """Return the noise with this factor; its own scales become the units if none are given."""
        unit = Unit(jnp.sqrt((tril**2).sum(1))) if unit is None else unit
        relative = tril / unit.scale[:, None]
        sign = jnp.where(jnp.diagonal(relative) < 0, -1.0, 1.0)
        relative = relative * sign
        scale = jnp.maximum(jnp.diagonal(relative), SCALE_FLOOR)
        rows, columns = np.tril_indices(len(tril), -1)
        log_scale = jnp.clip(jnp.log(scale) / LOG_SCALE_BOUND, -0.99, 0.99)
        return cls(unit, LOG_SCALE_BOUND * jnp.arctanh(log_scale), (relative / scale)[rows, columns])

    @property
    def tril(self) -> Float[Array, "*t n n"]:
        """The lower-triangular factor; of noises stacked by step, one a step."""
        raw, below = jnp.atleast_2d(self.raw), jnp.atleast_2d(self.below)
        relative = triangle(raw, below).reshape(*self.raw.shape, self.raw.shape[-1])
        return jax.lax.stop_gradient(self.unit.scale)[..., None] * relative

    @property
    def covariance(self) -> np.ndarray:
        """The matrix, in float64."""
        tril = np.asarray(self.tril, np.float64)
        return tril @ np.swapaxes(tril, -1, -2)

    def moved(self, white: Float[Array, "n n"]) -> Noise:
        """Return the noise with covariance L M Lᵀ for the present factor L and whitened moments M."""
        return type(self).of(self.tril @ cholesky(0.5 * (white + white.T)), self.unit)


class Initial(eqx.Module):
    """z_1 ~ N(mean, noise)."""

    mean: Float[Array, "n"]
    noise: Noise

    def maximized(self, sums: dict[str, Array], free: Any) -> Initial:
        """Return the best initial law given sums over sequences of the whitened noise's moments."""
        count = jnp.maximum(sums["count"], 1e-30)
        shift, white = sums["mean"] / count, sums["square"] / count
        new = self
        if free.mean:
            white = white - jnp.outer(shift, shift)
            new = eqx.tree_at(lambda s: s.mean, new, self.mean + self.noise.tril @ shift)
        if _together(free.noise):
            new = eqx.tree_at(lambda s: s.noise, new, self.noise.moved(white))
        return kept_if_empty(sums["count"], new, self)


class Dynamics(eqx.Module):
    """z_{t+1} = matrix z_t + inputs u_t + offset + noise."""

    matrix: Float[Array, "n n"] | PerStep
    inputs: Float[Array, "n u"]
    offset: Float[Array, "n"] | PerStep
    noise: Noise | PerStep

    def drift(self, u: Float[Array, "t u"]) -> Float[Array, "t n"]:
        """Return what does not depend on z."""
        return _affine(self.inputs, u) + whole(self.offset)

    def maximized(self, sums: dict[str, Array], free: Any) -> Dynamics:
        """Return the best dynamics given moments of whitened noise and regressors (z, u, 1)."""
        chosen = _free_columns(self, free)
        if isinstance(self.noise, PerStep):
            return _held(self, chosen, "transition_covariance", "dynamics")
        gram, cross = sums["gram"], sums["cross"]
        delta = _regressed(gram, cross, chosen)
        count = jnp.maximum(sums["count"], 1e-30)
        white = (sums["square"] - delta @ cross.T - cross @ delta.T + delta @ gram @ delta.T) / count
        new = _shifted(self, self.noise.tril @ delta)
        if _together(free.noise):
            new = eqx.tree_at(lambda s: s.noise, new, self.noise.moved(white))
        return kept_if_empty(sums["count"], new, self)


class Emission(eqx.Module):
    """x_t = matrix z_t + inputs u_t + offset + independent noise, in standardized coordinates.

    Attributes:
        raw: Log-scales of the noise.
    """

    matrix: Float[Array, "d n"] | PerStep
    inputs: Float[Array, "d u"]
    offset: Float[Array, "d"] | PerStep
    raw: Float[Array, "d"] | PerStep

    @property
    def scale(self) -> Float[Array, "*t d"]:
        """Standard deviations of the noise."""
        return bounded_exp(whole(self.raw))

    def drift(self, u: Float[Array, "t u"]) -> Float[Array, "t d"]:
        """Return what does not depend on z."""
        return _affine(self.inputs, u) + whole(self.offset)

    def at_floor(self) -> Bool[Array, "*t d"]:
        """Say which variances sit at the floor."""
        return is_floor(whole(self.raw))

    def maximized(self, sums: dict[str, Array], free: Any) -> Emission:
        """Return the best emission, column by column of x, each over the steps where it was observed."""
        gram, cross = sums["gram"], sums["cross"]
        chosen = _free_columns(self, free)
        if isinstance(self.raw, PerStep):
            return _held(self, chosen, "emission_variances", "emission")
        if gram.ndim == 2:
            delta = _regressed(gram, cross, chosen)
            through = delta @ gram
        else:
            delta = jax.vmap(lambda g, c: _regressed(g, c[None], chosen)[0])(gram, cross)
            through = jnp.einsum("dp,dpq->dq", delta, gram)
        square = sums["square"] - (delta * (2 * cross - through)).sum(1)
        new = _shifted(self, self.scale[:, None] * delta)
        if free.raw:
            ratio = jnp.maximum(square, 0.0) / jnp.maximum(sums["count"], 1e-30)
            new = eqx.tree_at(lambda s: s.raw, new, floored(self.scale * jnp.sqrt(ratio)))

        def kept(a: Any, b: Any) -> Any:
            if is_per_step(b):
                return b
            return jnp.where((sums["count"] > 0).reshape(-1, *[1] * (a.ndim - 1)), a, b)

        return jax.tree.map(kept, new, self, is_leaf=is_per_step)


def _together(free: Any) -> bool:
    """Say whether a covariance may change; its parameters move as one."""
    if free.raw != free.below:
        raise InputError("trainable: EM trains all parameters of a covariance or none; pick the noise")
    return bool(free.raw)


def kept_if_empty(count: Array, new: Any, old: Any) -> Any:
    """Return the new part, or the old one where there was nothing to learn from."""
    return jax.tree.map(lambda a, b: jnp.where(count > 0, a, b), new, old)


def _affine(inputs: Float[Array, "n u"], u: Float[Array, "t u"]) -> Float[Array, "t n"]:
    return kalman.apply(inputs, u)


def _free_columns(part: Dynamics | Emission, free: Any) -> np.ndarray:
    """Say which regressors (z, u, 1) may change their coefficients."""
    widths = dict(zip(("matrix", "inputs", "offset"), (*_widths(part), 1), strict=True))
    may = {name: not is_per_step(getattr(part, name)) and getattr(free, name) for name in widths}
    return np.concatenate([np.full(width, may[name], bool) for name, width in widths.items()])


def _regressed(
    gram: Float[Array, "p p"], cross: Float[Array, "k p"], free: np.ndarray
) -> Float[Array, "k p"]:
    """Return the coefficients of the least-squares fit on the free regressors, zero for the others."""
    which = np.flatnonzero(free)
    delta = jnp.zeros_like(cross)
    if not len(which):
        return delta
    part = gram[np.ix_(which, which)]
    unit = jnp.sqrt(jnp.maximum(jnp.diagonal(part), 1e-30))
    factor = cholesky(part / jnp.outer(unit, unit) + RIDGE * jnp.eye(len(which)))
    half = solve_lower(factor, (cross[:, which] / unit).T)
    solved = solve_lower(factor[::-1, ::-1].T, half[::-1])[::-1]
    return delta.at[:, which].set(solved.T / unit)


def _shifted(part: Any, delta: Float[Array, "k p"]) -> Any:
    """Return the part with coefficients moved, those given per step aside."""
    n, u = _widths(part)
    moved = {"matrix": delta[:, :n], "inputs": delta[:, n : n + u], "offset": delta[:, n + u]}
    moved = {name: by for name, by in moved.items() if not is_per_step(getattr(part, name))}
    return eqx.tree_at(
        lambda s: tuple(getattr(s, name) for name in moved),
        part,
        tuple(getattr(part, name) + by for name, by in moved.items()),
    )


def _widths(part: Any) -> tuple[int, int]:
    return whole(part.matrix).shape[-1], part.inputs.shape[1]


def _held(part: Any, chosen: np.ndarray, name: str, where: str) -> Any:
    """Return the part unchanged: its noise is given per step, and sums pooled over steps know one alone."""
    if chosen.any():
        raise InputError(
            f"em: with {name} given per step the other parameters of model.{where} have no pooled M-step; "
            "use fit.gradient(..., gradients.Analytic()), or hold them by trainable="
        )
    return part
