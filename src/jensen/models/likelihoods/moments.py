"""Where counts and codes start: the columns' means and dispersions. Host code, but for one bounded link."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jensen.errors import InputError
from jensen.nets import Fixed, column_means
from jensen.typing import Array, Float

BOUND = 10.0
"""An output moves the logarithm of what it governs by at most this, either way."""


class Origin(Fixed):
    """Where the outputs of the network, and one dispersion a column, are counted from.

    Attributes:
        location: Log-rate or logit.
        log_dispersion: Logarithm of a concentration; zero where the law has none.
    """

    location: Float[Array, "d"]
    log_dispersion: Float[Array, "d"]

    @classmethod
    def zero(cls, dim: int) -> Origin:
        """Return the origin before any data is seen."""
        return cls(jnp.zeros(dim), jnp.zeros(dim))

    def at(self, params: Float[Array, "d"]) -> Float[Array, "d"]:
        """Return the locations that outputs stand for."""
        return jax.lax.stop_gradient(self.location) + bounded(params)

    def dispersion(self, raw: Float[Array, "d"]) -> Float[Array, "d"]:
        """Return log-concentrations from their trained offsets."""
        return jax.lax.stop_gradient(self.log_dispersion) + bounded(raw)


def bounded(raw: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Return b tanh(raw/b), b = 10: near zero the identity."""
    return BOUND * jnp.tanh(raw / BOUND)


def log_rates(x: np.ndarray, mask: np.ndarray | None, weight: np.ndarray | None) -> np.ndarray:
    """Return the logarithms of the columns' means; of a column of zeros, that of half a count in all.

    Args:
        x: Counts, (N, D).
        mask: True where observed, (N, D).
        weight: Row weights, (N,).
    """
    seen = np.full(x.shape[1], len(x)) if mask is None else np.asarray(mask).sum(0)
    mean = column_means(x, mask, weight)
    return np.log(np.where(mean > 0, mean, 0.5 / (seen + 1)))


def log_concentration(
    x: np.ndarray, mask: np.ndarray | None, weight: np.ndarray | None, log_rate: np.ndarray
) -> np.ndarray:
    """Return log r at which μ + μ²/r is the columns' variance, the excess kept above 1 % of μ."""
    mean = np.exp(log_rate)
    variance = column_means(x, mask, weight, about=mean)
    return np.log(np.clip(mean**2 / np.maximum(variance - mean, 0.01 * mean), 1e-3, 1e8))


def share_and_total(
    x: np.ndarray, mask: np.ndarray | None, weight: np.ndarray | None, levels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the logit m and log(α + β) at which a beta-binomial has the columns' means and variances.

    The variance is n m (1 − m)(1 + (n − 1)ρ), n = L − 1 and ρ = 1/(α + β + 1), ρ being kept within 0.001
    and 0.99.
    """
    n = levels - 1
    seen = np.full(x.shape[1], len(x)) if mask is None else np.asarray(mask).sum(0)
    mean = column_means(x, mask, weight)
    least = 0.5 / (seen + 1) / n
    m = np.clip(mean / n, least, 1 - least)
    variance = column_means(x, mask, weight, about=mean)
    rho = np.clip((variance / (n * m * (1 - m)) - 1) / max(n - 1, 1), 1e-3, 0.99)
    return np.log(m) - np.log1p(-m), np.log(1 / rho - 1)


def check_levels(name: str, levels: int) -> None:
    """Refuse a number of levels that no code can have.

    Raises:
        InputError: If there are fewer than 2, or more than 65,536.
    """
    if not 2 <= levels <= 2**16:
        raise InputError(f"{name} likelihood: levels is {levels}; it must be between 2 and 65536")
