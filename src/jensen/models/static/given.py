"""Components and their frame, from parameters a user gives."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from jensen.models.static.components import Components
from jensen.models.static.covariance import VARIANCE_FLOOR, AnyCovariance
from jensen.models.static.framed import common_unit
from jensen.nets import Frame


def given(
    weights: np.ndarray, means: np.ndarray, covariances: np.ndarray, structure: type[AnyCovariance]
) -> tuple[Components, Frame]:
    """Return components with these parameters, in a frame centred on the law with the components' own unit.

    Args:
        weights: (K,).
        means: (K, D), in the data's own units.
        covariances: As the structure shapes them.
        structure: The covariance structure.

    Raises:
        InputError: If shapes disagree, or a covariance is not positive definite.
    """
    k, d = means.shape
    shift = weights @ means
    within = weights @ structure.variances(covariances, k, d)
    spread = np.sqrt(np.maximum(within, VARIANCE_FLOOR * (weights @ (means - shift) ** 2)))
    frame = Frame(jnp.asarray(shift, jnp.float32), jnp.asarray(spread, jnp.float32))
    frame = common_unit(frame) if structure.isotropic else frame
    scale = np.asarray(frame.scale, np.float64)
    standard = (means - np.asarray(frame.shift, np.float64)) / scale
    return Components(jnp.asarray(standard, jnp.float32), structure.in_frame(covariances, scale, k)), frame
