"""How flat a direction Newton's curvature may have."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from jensen.algorithms import newton


@pytest.mark.parametrize("apart", [1e-5, 4e-6])
def test_correlations_close_to_one_are_not_cut(apart):
    """Curvature (1, ρ; ρ, 1) with ρ = 1 − apart: variance 1/apart along the flat direction."""
    path = newton.descend(
        lambda z: 0.25 * ((2 - apart) * (z[0] + z[1]) ** 2 + apart * (z[0] - z[1]) ** 2),
        jnp.array([0.3, -0.2]),
    )
    root = np.asarray(path.tril[path.last], np.float64)
    along = np.array([1, -1]) / np.sqrt(2)
    assert along @ root @ root.T @ along == pytest.approx(1 / apart, rel=0.1)
