"""Matrix factorizations that are safe under `jax.vmap` on CPU.

jaxlib 0.10 hands the batch of a vmapped LAPACK call to the very threads that wait for it: when as many such
calls are ready at once as there are threads (two, on two cores), the program waits for ever. Here a vmapped
call becomes a loop of single ones, which LAPACK runs in place; for the matrices of this package (d ≤ 100)
that is no slower. Write for one matrix and `jax.vmap` outside; never pass a stack of matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jensen.typing import Array, Float


def one_at_a_time(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with `jax.vmap` turned into a loop, in value and in every reverse-mode derivative.

    Args:
        function: A function of arrays.

    Returns:
        The same function; its derivative recomputes it, so that derivatives of derivatives work too.
    """
    single = jax.custom_batching.sequential_vmap(function)

    @jax.custom_vjp
    def safe(*args: Any) -> Any:
        return single(*args)

    def forward(*args: Any) -> tuple[Any, tuple[Any, ...]]:
        return safe(*args), args  # and not single: derivatives of derivatives pass here again

    def backward(args: tuple[Any, ...], cotangent: Any) -> tuple[Any, ...]:
        def pull(cotangent: Any, *args: Any) -> tuple[Any, ...]:
            return jax.vjp(function, *args)[1](cotangent)

        return one_at_a_time(pull)(cotangent, *args)

    safe.defvjp(forward, backward)
    return safe


_cholesky = one_at_a_time(jnp.linalg.cholesky)
_solve_lower = one_at_a_time(lambda tril, right: jax.scipy.linalg.solve_triangular(tril, right, lower=True))
_inverse = one_at_a_time(jnp.linalg.inv)
_qr = one_at_a_time(lambda tall: tuple(jnp.linalg.qr(tall)))
_eigh = one_at_a_time(lambda matrix: tuple(jnp.linalg.eigh(matrix)))


def cholesky(matrix: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """Lower-triangular L with L Lᵀ = ``matrix``; NaN where it is not positive definite."""
    return _cholesky(matrix)


def solve_lower(tril: Float[Array, "d d"], right: Float[Array, "d n"]) -> Float[Array, "d n"]:
    """L⁻¹ B for lower-triangular L."""
    return _solve_lower(tril, right)


def inverse(matrix: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """The inverse of a square matrix."""
    return _inverse(matrix)


def qr(tall: Float[Array, "n d"]) -> tuple[Float[Array, "n d"], Float[Array, "d d"]]:
    """Orthonormal columns Q and upper-triangular R with Q R = ``tall``, n ≥ d."""
    return _qr(tall)


def eigh(matrix: Float[Array, "d d"]) -> tuple[Float[Array, "d"], Float[Array, "d d"]]:
    """Ascending eigenvalues and orthonormal eigenvectors (columns) of a symmetric matrix."""
    return _eigh(matrix)
