"""Mixtures of multivariate t laws."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jensen.errors import InputError, at_least, check_key
from jensen.models.static.abstract_mixture import AbstractMixture
from jensen.models.static.covariance import AbstractCovariance
from jensen.models.static.given import given
from jensen.models.static.structures import named
from jensen.models.static.student_components import LEAST_DF, MOST_DF, StudentComponents
from jensen.models.static.weights import checked_weights
from jensen.nets import Frame
from jensen.typing import Array, Float, PRNGKey

TRIMMED = 0.05
"""Share of the rows that a start leaves out."""


class StudentMixture(AbstractMixture):
    r"""p(x) = Σ_k w_k t_ν_k(x; μ_k, Σ_k): clusters that a few far rows do not bend.

    t_ν(x; μ, Σ) = Γ((ν+D)/2) / (Γ(ν/2) (πν)^{D/2} |Σ|^{1/2}) · (1 + δ/ν)^{−(ν+D)/2} with
    δ = (x−μ)ᵀ Σ⁻¹ (x−μ). In EM a row at δ counts with weight (ν+D)/(ν+δ). Missing entries are integrated
    out. Parameters are held in standardized coordinates chosen at the first fit; ``weights``, ``means`` and
    ``scale_matrices`` are in the data's own units.

    Args:
        num_components: Number K of components.
        data_dim: Number D of columns.
        covariance: Structure of Σ: ``"full"``, ``"diag"``, ``"tied"`` or ``"spherical"``.
        df: Degrees of freedom ν that a fit starts from, in [0.5, 200]; it learns one for each component.
        key: Randomness of the means before any data is seen.

    Raises:
        InputError: If a number is out of range or the structure unknown.

    References:
        Peel & McLachlan 2000, *Robust mixture modelling using the t distribution*.

    Example:
        >>> import jax, numpy as np
        >>> from jensen import fit
        >>> rng = np.random.default_rng(0)
        >>> x = np.concatenate([rng.normal(-5.0, 1.0, (50, 1)), rng.normal(5.0, 1.0, (50, 1)), [[1000.0]]])
        >>> fitted = fit.em(StudentMixture(2, 1, df=3.0, key=jax.random.key(0)), x, key=jax.random.key(1))
        >>> np.sort(fitted.model.means[:, 0]).round(0).tolist()
        [-5.0, 5.0]
    """

    logits: Float[Array, "k"]
    components: StudentComponents
    frame: Frame
    num_components: int
    data_dim: int
    initialized: bool

    def __init__(
        self,
        num_components: int,
        data_dim: int,
        *,
        covariance: str = "full",
        df: float = 10.0,
        key: PRNGKey,
    ):
        check_key(key)
        at_least("StudentMixture", 1, num_components=num_components, data_dim=data_dim)
        if not LEAST_DF <= df <= MOST_DF:
            raise InputError(f"StudentMixture: df is {df}; it must lie in [{LEAST_DF:g}, {MOST_DF:g}]")
        means = jax.random.normal(key, (num_components, data_dim))
        shapes = named(covariance).pooled(np.eye(data_dim), num_components)
        self.logits = jnp.zeros(num_components)
        self.components = StudentComponents(means, shapes, jnp.full(num_components, np.log(df)))
        self.frame = Frame.identity(data_dim)
        self.num_components = num_components
        self.data_dim = data_dim
        self.initialized = False

    @classmethod
    def with_parameters(
        cls, weights: Any, means: Any, scale_matrices: Any, df: Any, *, covariance: str = "full"
    ) -> StudentMixture:
        """Return the mixture of these parameters, in the data's own units; fits start from it.

        Args:
            weights: (K,), positive; scaled to sum to one.
            means: (K, D).
            scale_matrices: Full (K, D, D); tied (D, D); diagonal (K, D); spherical (K,).
            df: Degrees of freedom, (K,) or one for all.
            covariance: The structure.

        Raises:
            InputError: If shapes disagree, a number is out of range or a matrix not positive definite.
        """
        weights, means = checked_weights(weights, means, "means")
        df = np.asarray(df, np.float64)
        if df.shape not in ((), weights.shape) or not ((df >= LEAST_DF) & (df <= MOST_DF)).all():
            raise InputError(f"df is {df}; give one or (K,) numbers in [{LEAST_DF:g}, {MOST_DF:g}]")
        gaussian, frame = given(weights, means, scale_matrices, named(covariance))
        log_df = jnp.asarray(np.broadcast_to(np.log(df), weights.shape), gaussian.means.dtype)
        new = cls(*means.shape, covariance=covariance, key=jax.random.key(0))
        components = StudentComponents(gaussian.means, gaussian.covariance, log_df)
        return new.started(weights, components, frame)

    @property
    def df(self) -> np.ndarray:
        """Degrees of freedom, (K,), float64."""
        return np.asarray(self.components.df, np.float64)

    @property
    def scale_matrices(self) -> np.ndarray:
        """Σ in the data's own units, float64, by structure; the covariances are ν/(ν − 2) Σ where ν > 2."""
        return self.components.covariance.in_units(np.asarray(self.frame.scale, np.float64))

    def shaped(self, means: Float[Array, "k d"], covariance: AbstractCovariance) -> StudentComponents:
        """Return t laws of the degrees of freedom held."""
        return StudentComponents(means, covariance, self.components.log_df)

    def start_weights(self, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Leave out the rows furthest from the medians, which would draw centres to themselves."""
        away = np.abs(y - np.median(y, 0))
        away = (away / np.maximum(np.median(away, 0), np.finfo(np.float32).eps)).max(1)
        near = np.where(away <= np.quantile(away, 1 - TRIMMED), weight, 0.0)
        return near if (near > 0).sum() > self.num_components else weight
