"""Real entries with outliers."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.dist import StudentTRow
from jensen.errors import positive
from jensen.families import bounded_exp
from jensen.families.base import LOG_SCALE_BOUND
from jensen.models.likelihoods.base import AbstractLikelihood
from jensen.models.likelihoods.gaussian import MIN_LOG_SCALE, Floor, noise_floor
from jensen.models.likelihoods.student_start import fit_columns
from jensen.models.likelihoods.support import refuse_huge
from jensen.nets import Fixed, Frame
from jensen.typing import Array, Float


class Held(Fixed):
    """Degrees of freedom that are not learned."""

    value: Float[Array, "d"]


class StudentT(AbstractLikelihood):
    """p(x | z) = Π t_ν(xᵢ; locationᵢ, scaleᵢ), with one learned scale and one learned ν a column.

    A point 50 scales away costs about (ν + 1) log 50 nats and pulls with a force that falls off; a Gaussian
    pays 1250 nats and bends to it. A learned ν stays above 1, so that the mean exists. Scales have the floor
    of ``Gaussian``.

    Args:
        data_dim: Number of columns.
        df: ν, fixed for all columns; learned by default.

    Raises:
        InputError: If ``df`` is not positive.

    Example:
        >>> law = StudentT(2, df=4.0)(jnp.zeros(2))
        >>> law.df.tolist()
        [4.0, 4.0]
    """

    data_dim: int
    log_scale: Float[Array, "d"]
    tail: Float[Array, "d"] | Held
    frame: Frame
    floor: Floor

    def __init__(self, data_dim: int, df: float | None = None):
        if df is not None:
            positive("student_t likelihood", df=df)
        self.data_dim = data_dim
        self.log_scale = jnp.zeros(data_dim)
        self.tail = jnp.full(data_dim, np.log(9.0)) if df is None else Held(jnp.full(data_dim, df))
        self.frame = Frame.identity(data_dim)
        self.floor = Floor(jnp.full(data_dim, np.exp(MIN_LOG_SCALE)))

    @property
    def num_params(self) -> int:
        """One location a column."""
        return self.data_dim

    @property
    def scale(self) -> Float[Array, "d"]:
        """Scales in the data's own units."""
        unit, floor = jax.lax.stop_gradient((self.frame.scale, self.floor.value))
        return unit * (floor + bounded_exp(self.log_scale))

    @property
    def df(self) -> Float[Array, "d"]:
        """ν of every column."""
        if isinstance(self.tail, Held):
            return jax.lax.stop_gradient(self.tail.value)
        return 1 + bounded_exp(self.tail)

    def __call__(self, params: Float[Array, "p"]) -> StudentTRow:
        """Read the output as locations in the columns' coordinates."""
        unit, origin = jax.lax.stop_gradient((self.frame.scale, self.frame.shift))
        return StudentTRow(unit * params, self.scale, self.df, origin)

    def check(self, x: np.ndarray, mask: np.ndarray | None) -> None:
        """Refuse columns too large for float32."""
        refuse_huge("student_t", x, mask)

    def start(
        self, x: np.ndarray, mask: np.ndarray | None, weight: np.ndarray | None
    ) -> tuple[StudentT, Float[Array, "p"]]:
        """Start at the maximum-likelihood location, scale and ν of every column."""
        held = float(self.tail.value[0]) if isinstance(self.tail, Held) else None
        fitted = fit_columns(x, mask, weight, held)
        frame = Frame(jnp.asarray(fitted.loc, jnp.float32), jnp.asarray(fitted.scale, jnp.float32))
        floor = Floor(noise_floor(x, mask, frame))
        started = eqx.tree_at(lambda law: (law.frame, law.floor), self, (frame, floor))
        if held is None:
            bent = LOG_SCALE_BOUND * np.arctanh(np.log(fitted.df - 1) / LOG_SCALE_BOUND)
            started = eqx.tree_at(lambda law: law.tail, started, jnp.asarray(bent, jnp.float32))
        return started, jnp.zeros(self.data_dim)
