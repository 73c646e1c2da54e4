"""Matrix factorizations that are safe under `jax.vmap` on CPU; forward mode only.

jaxlib 0.10 hands the batch of a vmapped LAPACK call to the very threads that wait for it: when as many such
calls are ready at once as there are threads (two, on two cores), the program waits for ever. Here a vmapped
call becomes a loop of single ones, which LAPACK runs in place; for the matrices of this package (d ≤ 100)
that is no slower.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jensen.typing import Array, Float


@jax.custom_batching.sequential_vmap
def cholesky(matrix: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """Lower-triangular L with L Lᵀ = ``matrix``; NaN where it is not positive definite."""
    return jnp.linalg.cholesky(matrix)


@jax.custom_batching.sequential_vmap
def solve_lower(tril: Float[Array, "d d"], right: Float[Array, "d n"]) -> Float[Array, "d n"]:
    """L⁻¹ B for lower-triangular L."""
    return jax.scipy.linalg.solve_triangular(tril, right, lower=True)


@jax.custom_batching.sequential_vmap
def eigh(matrix: Float[Array, "d d"]) -> tuple[Float[Array, "d"], Float[Array, "d d"]]:
    """Ascending eigenvalues and orthonormal eigenvectors (columns) of a symmetric matrix."""
    value, vector = jnp.linalg.eigh(matrix)
    return value, vector
