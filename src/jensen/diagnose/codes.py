"""Is the codebook used? How often each code is taken, by each latent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import Datum, Inference
from jensen.diagnose.rows import inference_of, look
from jensen.dist import NearestCode
from jensen.errors import InputError, check_key
from jensen.fit import Fitted
from jensen.typing import Array, Int, PRNGKey


@dataclass(frozen=True)
class CodeUse:
    """How often each code was taken.

    Attributes:
        counts: Rows for which a latent took a code, (V, K).
    """

    counts: Int[np.ndarray, "v k"]

    @property
    def used(self) -> int:
        """How many codes were taken by any latent."""
        return int((self.counts.sum(0) > 0).sum())

    @property
    def perplexity(self) -> float:
        """The exponential of the entropy of codes, all latents together: K where all are taken alike."""
        return float(_perplexity(self.counts.sum(0)))

    @property
    def perplexities(self) -> np.ndarray:
        """The same for each latent, (V,)."""
        return np.array([_perplexity(own) for own in self.counts])

    def to_json(self) -> dict[str, Any]:
        """Return the numbers."""
        return {
            "codes": self.counts.shape[1],
            "used": self.used,
            "perplexity": self.perplexity,
            "perplexities": self.perplexities.tolist(),
            "num_data": int(self.counts[0].sum()),
        }

    def __str__(self) -> str:
        by_latent = " ".join(f"{v}:{value:.1f}" for v, value in enumerate(self.perplexities[:12]))
        return (
            f"use of the codes ({self.counts[0].sum()} rows)\n"
            f"{self.used} of {self.counts.shape[1]} codes used, perplexity {self.perplexity:.1f}\n"
            f"perplexity by latent: {by_latent}"
        )


def codes(inference: Inference | Fitted, x: Any, *, key: PRNGKey, rows: int | None = 1000) -> CodeUse:
    """Count which codes a vector-quantized posterior takes.

    Args:
        inference: The fitted choices, or what ``fit.*`` returned.
        x: An array (N, D), or ``fit.Data``.
        key: Randomness of the choice of rows.
        rows: Look at this many rows, chosen at random; ``None`` for all.

    Returns:
        The counts; print them for a summary.

    Raises:
        InputError: If q is not ``posteriors.VectorQuantized``'s.
    """
    inference = inference_of(inference)
    if not issubclass(inference.posterior.law(inference.model), NearestCode):
        name = type(inference.posterior).__name__
        raise InputError(f"codes: {name} takes no codes; this is for posteriors.VectorQuantized")
    check_key(key)
    inference, chosen = look(inference, x, rows, key=key)
    taken = np.asarray(_taken(inference.bound_model(), inference.posterior, chosen, key))
    many = inference.bound_model().prior_of(None).logits.shape[-1]
    return CodeUse(np.stack([np.bincount(own, minlength=many) for own in taken.T]))


@eqx.filter_jit
def _taken(model: Any, posterior: Any, rows: Datum, key: PRNGKey) -> Int[Array, "n v"]:
    rows = jax.tree.map(jnp.asarray, rows)
    return jax.vmap(lambda datum: posterior(model, datum, key=key).chosen)(rows)


def _perplexity(counts: np.ndarray) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(np.exp(-np.sum(share * np.log(share))))
