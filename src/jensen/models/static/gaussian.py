"""One multivariate Gaussian."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import Datum
from jensen.errors import at_least
from jensen.models.static.components import Components
from jensen.models.static.framed import AbstractGaussianModel, frame_of, in_units, standardized
from jensen.models.static.given import given
from jensen.models.static.start import check_rows, pooled_covariance, weights_of
from jensen.models.static.structures import any_covariance, named
from jensen.nets import Frame
from jensen.typing import Array, Float, PRNGKey, Scalar

KINDS = ("full", "diag", "spherical")


class Gaussian(AbstractGaussianModel):
    r"""p(x) = N(x; μ, Σ), fitted in closed form; with missing entries, by EM.

    Args:
        data_dim: Number D of columns.
        covariance: ``"full"``, ``"diag"`` or ``"spherical"``.
        key: Not needed; taken so that all models are made alike.

    Raises:
        InputError: If ``data_dim`` is not positive or the structure unknown.

    Example:
        >>> import numpy as np
        >>> from jensen import fit
        >>> x = np.array([[0.0, 1.0], [2.0, 1.0], [1.0, 4.0]])
        >>> fit.em(Gaussian(2), x).model.mean.round(4).tolist()
        [1.0, 2.0]
    """

    components: Components
    frame: Frame
    data_dim: int
    initialized: bool

    def __init__(self, data_dim: int, *, covariance: str = "full", key: PRNGKey | None = None):
        at_least("Gaussian", 1, data_dim=data_dim)
        structure = named(covariance, KINDS)
        self.components = Components(jnp.zeros((1, data_dim)), structure.pooled(np.eye(data_dim), 1))
        self.frame = Frame.identity(data_dim)
        self.data_dim = data_dim
        self.initialized = False

    @classmethod
    def with_parameters(cls, mean: Any, covariance_matrix: Any, *, covariance: str = "full") -> Gaussian:
        """Return the Gaussian of these parameters, in the data's own units; fits start from it.

        Args:
            mean: μ, (D,).
            covariance_matrix: (D, D); for ``"diag"`` variances (D,), for ``"spherical"`` one number.
            covariance: The structure.
        """
        mean = np.asarray(mean, np.float64)
        values = np.asarray(covariance_matrix, np.float64)[None]
        components, frame = given(np.ones(1), mean[None], values, named(covariance, KINDS))
        new = cls(len(mean), covariance=covariance)
        return eqx.tree_at(lambda m: (m.components, m.frame, m.initialized), new, (components, frame, True))

    @property
    def mean(self) -> np.ndarray:
        """μ in the data's own units, (D,), float64."""
        return in_units(self.frame, self.components.means)[0]

    @property
    def covariance(self) -> np.ndarray:
        """Σ in the data's own units, float64: (D, D), variances (D,), or one number."""
        return np.asarray(self.components.covariance.in_units(np.asarray(self.frame.scale, np.float64))[0])

    @property
    def log_weights(self) -> Float[Array, "1"]:
        """One component of weight one."""
        return jnp.zeros(1)

    def reweighted(self, count: Float[Array, "1"], free: Any) -> Gaussian:
        """There are no weights."""
        return self

    def log_joint(self, z: Any, datum: Datum) -> Scalar:
        """Return log p(x) in nats; there is no latent."""
        return self.log_evidence(datum)

    def simulate(
        self, like: Datum | None = None, *, key: PRNGKey
    ) -> tuple[Float[Array, "0"], Float[Array, "d"]]:
        """Draw x."""
        noise = jax.random.normal(key, (1, self.data_dim))
        y = self.components.means + self.components.covariance.color(noise)
        return jnp.zeros(0), self.frame.leave(y[0])

    def initialize_from(self, rows: Datum, *, key: PRNGKey) -> Gaussian:
        """Take the rows' mean and covariance, missing entries filled with column means."""
        check_rows(self, rows, 2)
        structure = any_covariance(self.components.covariance)
        frame = frame_of(rows, structure.isotropic)
        y = standardized(frame, rows)
        pooled = pooled_covariance(y, weights_of(rows))
        components = Components(jnp.zeros((1, self.data_dim)), structure.pooled(pooled, 1))
        return eqx.tree_at(lambda m: (m.components, m.frame, m.initialized), self, (components, frame, True))
