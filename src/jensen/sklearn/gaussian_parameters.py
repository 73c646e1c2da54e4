"""Parameters of Gaussian mixtures as scikit-learn holds them: checks, estimates, precisions. Host code."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import solve_triangular

from jensen.sklearn.inputs import reals

ILL_DEFINED = (
    "Fitting the mixture model failed because some components have ill-defined empirical covariance (for "
    "instance caused by singleton or collapsed samples). Try to decrease the number of components, increase "
    "reg_covar, or scale the input data."
)


def checked_weights(weights: Any, num: int) -> np.ndarray:
    """Return weights (K,) that are probabilities.

    Raises:
        ValueError: In scikit-learn's words.
    """
    weights = reals(weights)
    check_shape(weights, (num,), "weights")
    if (weights < 0).any() or (weights > 1).any():
        raise ValueError(
            "The parameter 'weights' should be in the range [0, 1], but got max value "
            f"{weights.min():.5f}, min value {weights.max():.5f}"
        )
    if not np.isclose(weights.sum(), 1.0, rtol=0, atol=1e-6 if weights.dtype == np.float32 else 1e-8):
        raise ValueError(
            f"The parameter 'weights' should be normalized, but got sum(weights) = {weights.sum():.5f}"
        )
    return weights


def checked_precisions(precisions: Any, kind: str, num: int, dim: int) -> np.ndarray:
    """Return precisions of the structure's shape, positive definite.

    Raises:
        ValueError: In scikit-learn's words.
    """
    precisions = reals(precisions)
    shape = {"full": (num, dim, dim), "tied": (dim, dim), "diag": (num, dim), "spherical": (num,)}[kind]
    check_shape(precisions, shape, f"{kind} precision")
    if kind in ("diag", "spherical"):
        if (precisions <= 0).any():
            raise ValueError(f"'{kind} precision' should be positive")
        return precisions
    matrices = precisions.reshape(-1, dim, dim)
    symmetric = np.allclose(matrices, matrices.swapaxes(1, 2))
    if not symmetric or not (np.linalg.eigvalsh(matrices) > 0).all():
        raise ValueError(f"'{kind} precision' should be symmetric, positive-definite")
    return precisions


def check_shape(values: np.ndarray, shape: tuple[int, ...], name: str) -> None:
    """Refuse a parameter of another shape."""
    if values.shape != shape:
        raise ValueError(f"The parameter '{name}' should have the shape of {shape}, but got {values.shape}")


def estimates(
    X: np.ndarray, resp: np.ndarray, reg_covar: float, kind: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return weights, means and covariances of rows shared out among components.

    Args:
        X: Rows (N, D), complete.
        resp: Shares (N, K).
        reg_covar: Added to the variances.
        kind: The structure.
    """
    count = resp.sum(0) + 10 * np.finfo(resp.dtype).eps
    means = resp.T @ X / count[:, None]
    if kind in ("diag", "spherical"):
        apart = X[:, None] - means
        covariances = np.einsum("nk,nkd->kd", resp, apart**2) / count[:, None] + reg_covar
        return count / len(X), means, covariances if kind == "diag" else covariances.mean(1)
    covariances = np.stack([(r[:, None] * (X - m)).T @ (X - m) for r, m in zip(resp.T, means, strict=True)])
    covariances = covariances.sum(0) / count.sum() if kind == "tied" else covariances / count[:, None, None]
    return count / len(X), means, covariances + reg_covar * np.eye(X.shape[1], dtype=X.dtype)


def precisions_cholesky(covariances: np.ndarray, kind: str) -> np.ndarray:
    """Return the upper triangles U_k with Σ_k⁻¹ = U_k U_kᵀ, or 1/σ.

    Raises:
        ValueError: If a covariance is not positive definite.
    """
    if kind in ("diag", "spherical"):
        if (covariances <= 0).any():
            raise ValueError(ILL_DEFINED)
        return 1 / np.sqrt(covariances)
    try:
        tril = np.linalg.cholesky(covariances)
    except np.linalg.LinAlgError:
        raise ValueError(ILL_DEFINED) from None
    return _inverted(tril)


def from_precisions(precisions: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the covariances, and the upper triangles U_k with Σ_k⁻¹ = U_k U_kᵀ, or 1/σ."""
    if kind in ("diag", "spherical"):
        return 1 / precisions, np.sqrt(precisions)
    # an upper factor is the lower one of the matrix with its axes reversed
    upper = np.linalg.cholesky(precisions[..., ::-1, ::-1])[..., ::-1, ::-1]
    tril = _inverted(upper)
    return tril @ tril.swapaxes(-1, -2), upper


def conditional_deviations(covariances: np.ndarray, kind: str, dim: int) -> np.ndarray:
    """Return the least deviation of every column given those before it, over the components, (D,)."""
    if kind == "spherical":
        return np.full(dim, np.sqrt(covariances.min()))
    if kind == "diag":
        return np.sqrt(covariances.min(0))
    tril = np.linalg.cholesky(covariances.reshape(-1, dim, dim))
    return np.diagonal(tril, axis1=1, axis2=2).min(0)


def _inverted(tril: np.ndarray) -> np.ndarray:
    """Return the transposed inverses of triangles, or of one."""
    d = tril.shape[-1]
    lower = bool(np.allclose(np.triu(tril, 1), 0)) if d > 1 else True
    flat = [solve_triangular(t, np.eye(d, dtype=tril.dtype), lower=lower).T for t in tril.reshape(-1, d, d)]
    return np.stack(flat).reshape(tril.shape)
