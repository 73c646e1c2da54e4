"""Linear regression with Gaussian noise: exact, and the yardstick of the others."""

from __future__ import annotations

import warnings
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.algorithms.linalg import eigh
from jensen.core import Datum, HasExactConditional, HasExpectationMaximization
from jensen.dist import JointGaussianRow
from jensen.errors import InputError, JensenWarning, at_least, check_key
from jensen.models.conditional.condition import check_cond, cond_frame_of
from jensen.models.conditional.regression import AbstractRegression
from jensen.models.static.components import Components
from jensen.models.static.covariance import VARIANCE_FLOOR
from jensen.models.static.framed import HasFloor, HasFrame, frame_of, in_units, standardized
from jensen.models.static.given import given
from jensen.models.static.start import check_rows, weights_of
from jensen.models.static.structures import any_covariance, named
from jensen.nets import Frame
from jensen.nets import trainable as all_trainable
from jensen.typing import Array, Bool, Float, PRNGKey, PyTree, Scalar

KINDS = ("full", "diag", "spherical")

_ALIKE = 1e-5
"""Share of the largest eigenvalue of the regressors' second moments below which float32 cannot tell two
combinations of regressors apart: there the coefficients stay where the start, in float64, put them."""


class LinearGaussian(AbstractRegression, HasExpectationMaximization, HasExactConditional, HasFrame, HasFloor):
    r"""p(y | x) = N(W x + b, Σ), fitted in closed form by ``fit.em``: weighted least squares.

    Missing entries of y are integrated out, by EM. Regressors that determine each other share the weight
    (the solution of least norm).

    Args:
        data_dim: Number D of columns of y.
        cond_dim: Number C of columns of x.
        covariance: Of the noise, ``"full"``, ``"diag"`` or ``"spherical"``.
        key: Not needed; taken so that all models are made alike.

    Raises:
        InputError: If a number is not positive or the structure unknown.

    Example:
        >>> import numpy as np
        >>> from jensen import fit
        >>> x = np.array([[0.0], [1.0], [2.0], [3.0]])
        >>> y = 2 * x + 1 + np.array([[0.1], [-0.1], [-0.1], [0.1]])
        >>> line = fit.em(LinearGaussian(1, 1), fit.Data(y, cond=x)).model
        >>> line.weights.round(3).tolist(), line.intercept.round(3).tolist()
        ([[2.0]], [1.0])
    """

    slopes: Float[Array, "d c"]
    components: Components
    frame: Frame
    cond_frame: Frame
    data_dim: int
    cond_dim: int
    initialized: bool

    def __init__(self, data_dim: int, cond_dim: int, *, covariance: str = "full", key: PRNGKey | None = None):
        if key is not None:
            check_key(key)
        at_least("LinearGaussian", 1, data_dim=data_dim, cond_dim=cond_dim)
        structure = named(covariance, KINDS)
        self.slopes = jnp.zeros((data_dim, cond_dim))
        self.components = Components(jnp.zeros((1, data_dim)), structure.pooled(np.eye(data_dim), 1))
        self.frame = Frame.identity(data_dim)
        self.cond_frame = Frame.identity(cond_dim)
        self.data_dim = data_dim
        self.cond_dim = cond_dim
        self.initialized = False

    @classmethod
    def with_parameters(
        cls, weights: Any, intercept: Any, covariance_matrix: Any, *, covariance: str = "full"
    ) -> LinearGaussian:
        """Return the regression of these parameters, in the data's own units; fits start from it.

        Args:
            weights: W, (D, C).
            intercept: b, (D,).
            covariance_matrix: Σ, (D, D); for ``"diag"`` variances (D,), for ``"spherical"`` one number.
            covariance: The structure.

        Raises:
            InputError: If shapes disagree or Σ is not positive definite.
        """
        weights, intercept = np.asarray(weights, np.float64), np.asarray(intercept, np.float64)
        if weights.ndim != 2 or intercept.shape != weights.shape[:1]:
            raise InputError(
                f"weights have shape {weights.shape}, intercept {intercept.shape}; give (D, C), (D,)"
            )
        values = np.asarray(covariance_matrix, np.float64)[None]
        components, frame = given(np.ones(1), intercept[None], values, named(covariance, KINDS))
        slopes = weights / np.asarray(frame.scale, np.float64)[:, None]
        new = cls(*weights.shape, covariance=covariance)
        return new._started(slopes, components, frame, new.cond_frame)

    @property
    def weights(self) -> np.ndarray:
        """W in the data's own units, (D, C), float64."""
        y, x = (np.asarray(frame.scale, np.float64) for frame in (self.frame, self.cond_frame))
        return y[:, None] * np.asarray(self.slopes, np.float64) / x

    @property
    def intercept(self) -> np.ndarray:
        """The mean b of y at x = 0, in the data's own units, (D,), float64."""
        centre = in_units(self.frame, self.components.means)[0]
        return centre - self.weights @ np.asarray(self.cond_frame.shift, np.float64)

    @property
    def covariance(self) -> np.ndarray:
        """Σ in the data's own units, float64: (D, D), variances (D,), or one number."""
        return np.asarray(self.components.covariance.in_units(np.asarray(self.frame.scale, np.float64))[0])

    def law(self, cond: Any) -> JointGaussianRow:
        """Return p(y | x)."""
        mean = self.components.means[0] + self._drift(cond)
        scale = jax.lax.stop_gradient(self.frame.scale)
        return JointGaussianRow(self.frame.leave(mean), scale[:, None] * self._tril())

    def log_evidence(self, datum: Datum) -> Scalar:
        """Return log p(y | x) over the observed entries, in nats."""
        y, mask = self._residual(datum)
        return self.components.log_prob(y, mask)[0] - self.frame.log_scale(mask)

    def conditional_mean(self, datum: Datum) -> Float[Array, "d"]:
        """Return E[y | observed entries, x], the observed ones unchanged."""
        y, mask = self._residual(datum)
        if mask is None:
            return jnp.asarray(datum.x)
        expected = self.components.conditional_mean(jnp.zeros(1), y, mask) + self._drift(datum.cond)
        return jnp.where(mask, datum.x, self.frame.leave(expected))

    def expectation(self, rows: Datum) -> dict[str, Array]:
        """Sum second moments of the regressors and of whitened residuals, hidden entries by expectation.

        Args:
            rows: Stacked rows, x of shape (N, D) and cond (N, C).

        Returns:
            ``log_evidence`` (nats) and ``weight``, and the sums the M-step needs.
        """
        y, mask = self.frame.enter(jnp.asarray(rows.x)), None
        weight = jnp.ones(len(y)) if rows.weight is None else jnp.asarray(rows.weight)
        offset = self.frame.log_scale() * weight.sum()
        if rows.mask is not None:
            mask = jnp.asarray(rows.mask)
            offset = weight @ jax.vmap(self.frame.log_scale)(mask)
        u = self.entered(rows.cond)
        seen = self.components.see(y, mask, (u @ self.slopes.T).T[None])
        regressors = jnp.concatenate([jnp.ones((len(u), 1), u.dtype), u], 1)
        weighed = weight[:, None] * regressors
        moments = self.components.moments(seen, weight[None])
        return {
            "log_evidence": weight @ seen.log_p[0] - offset,
            "weight": weight.sum(),
            "second": moments["second"],
            "regressors": weighed.T @ regressors,
            "cross": seen.y[0] @ weighed,
        }

    def maximization(self, statistics: PyTree, trainable: Any = None) -> LinearGaussian:
        """Return the regression that maximizes the expected log-density, held parts conditioned on.

        Args:
            statistics: The sums from ``expectation`` of this very model.
            trainable: A tree like the model of booleans: what may change. Everything by default.
        """
        free = all_trainable(self) if trainable is None else trainable
        moved = np.array([free.components.means] + [free.slopes] * self.cond_dim, np.float32)
        gram, cross = statistics["regressors"], statistics["cross"]
        # in whitened coordinates, where what is left to regress is small: nothing cancels
        step = cross @ _pseudo_inverse(gram * moved * moved[:, None]) * moved
        explained = step @ cross.T + cross @ step.T - step @ gram @ step.T
        second, structure = statistics["second"], self.components.covariance
        left = second - (explained if second.ndim == 3 else jnp.diagonal(explained))
        spread = jnp.maximum(left / statistics["weight"], 0.0 if second.ndim < 3 else -jnp.inf)
        rounding = 8 * jnp.finfo(spread.dtype).eps
        spread = spread + (rounding * jnp.eye(self.data_dim) if second.ndim == 3 else rounding)
        colored = jax.vmap(structure.color, in_axes=2, out_axes=2)(step[None])[0]
        new = structure.maximized(statistics["weight"][None], spread, free.components.covariance)
        components = Components(self.components.means + colored[None, :, 0], new)
        return eqx.tree_at(
            lambda m: (m.slopes, m.components), self, (self.slopes + colored[:, 1:], components)
        )

    def at_floor(self) -> Bool[Array, "..."]:
        """Say which variances sit at the floor."""
        return self.components.covariance.at_floor()

    def check_data(self, rows: Datum) -> None:
        """Refuse conditions of another shape; any real row is welcome."""
        check_cond(self, rows)

    def initialize_from(self, rows: Datum, *, key: PRNGKey) -> LinearGaussian:
        """Solve least squares in float64, each column over the rows where it is observed.

        The unit of a column is its residuals' own deviation, so that a steep line does not meet the floor.
        """
        check_rows(self, rows, 2)
        weight, structure = weights_of(rows), any_covariance(self.components.covariance)
        if (num := int((weight > 0).sum())) <= self.cond_dim + 1:
            warnings.warn(
                f"LinearGaussian: {num} rows for {self.cond_dim} regressors and an intercept: the line runs "
                "through all rows, and the noise is at its floor",
                JensenWarning,
                stacklevel=3,
            )
        frame, cond_frame = frame_of(rows, structure.isotropic), cond_frame_of(rows)
        y = standardized(frame, rows)
        u = standardized(cond_frame, Datum(np.asarray(rows.cond)))
        seen = np.ones(y.shape, bool) if rows.mask is None else np.asarray(rows.mask)
        regressors = np.concatenate([np.ones((len(u), 1)), u], 1)
        found = np.stack(
            [_least_squares(regressors, y[:, j], weight * seen[:, j]) for j in range(y.shape[1])]
        )
        residual = np.where(seen, y - regressors @ found.T, 0.0)
        variance = weight @ residual**2 / np.maximum(weight @ seen, np.finfo(float).tiny)
        unit = np.sqrt(np.maximum(variance, VARIANCE_FLOOR))
        unit = np.full_like(unit, np.sqrt((unit**2).mean())) if structure.isotropic else unit
        frame = Frame(frame.shift, frame.scale * jnp.asarray(unit, frame.scale.dtype))
        found, residual = found / unit[:, None], residual / unit
        pooled = (weight[:, None] * residual).T @ residual / weight.sum() + VARIANCE_FLOOR * np.eye(len(unit))
        means = jnp.asarray(found[None, :, 0], jnp.result_type(float))
        return self._started(found[:, 1:], Components(means, structure.pooled(pooled, 1)), frame, cond_frame)

    def _started(
        self, slopes: np.ndarray, components: Components, frame: Frame, cond_frame: Frame
    ) -> LinearGaussian:
        return eqx.tree_at(
            lambda m: (m.slopes, m.components, m.frame, m.cond_frame, m.initialized),
            self,
            (jnp.asarray(slopes, jnp.result_type(float)), components, frame, cond_frame, True),
        )

    def _drift(self, cond: Any) -> Float[Array, "d"]:
        return self.slopes @ self.entered(cond)

    def _residual(self, datum: Datum) -> tuple[Float[Array, "d"], Bool[Array, "d"] | None]:
        mask = None if datum.mask is None else jnp.asarray(datum.mask)
        return self.frame.enter(jnp.asarray(datum.x)) - self._drift(datum.cond), mask

    def _tril(self) -> Float[Array, "d d"]:
        eye = jnp.eye(self.data_dim)
        return jax.vmap(self.components.covariance.color, in_axes=2, out_axes=2)(eye[None])[0]


def _least_squares(regressors: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    root = np.sqrt(weight)
    return np.linalg.lstsq(root[:, None] * regressors, root * y, rcond=None)[0]


def _pseudo_inverse(gram: Float[Array, "c c"]) -> Float[Array, "c c"]:
    value, vector = eigh(gram)
    kept = value > _ALIKE * value[-1]
    return (vector * jnp.where(kept, 1 / jnp.where(kept, value, 1.0), 0.0)) @ vector.T
