"""Categories of which new ones may turn up."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.dist import CategoricalRow
from jensen.errors import InputError
from jensen.models.likelihoods.base import AbstractLikelihood
from jensen.models.likelihoods.categorical import Categorical
from jensen.models.likelihoods.support import refuse_above, refuse_fractions
from jensen.nets import Fixed
from jensen.typing import Array, Float


class Unseen(Fixed):
    """Mass kept for categories not seen when fitting."""

    mass: Float[Array, "d"]


class OpenCategorical(AbstractLikelihood):
    """p(x | z) = Π (1 − ε) softmax(logits)[xᵢ] for the codes 0..K−1, and ε for code K, "something else".

    ``Categorical`` refuses a code it does not know; a column declared open takes it as code K, at a price of
    −log ε nats that does not depend on z: a new category says nothing about the latents, and its row can
    still be scored. ε is set once, at the start of the fit, to the chance that the next value is new:
    the share of entries whose category was seen once (Good 1953, *The population frequencies of species*), or
    coded K, and never below ½ in all. To have a new category scored as unobserved instead, mask it.

    Args:
        data_dim: Number of columns.
        num_classes: K, the known categories, the same for all columns.

    Raises:
        InputError: If K < 2.

    Example:
        >>> law, _ = OpenCategorical(1, 2).start(np.array([[0.0], [1.0], [1.0], [0.0]]), None, None)
        >>> law.unseen.mass.tolist()  # ½ in 5
        [0.10000000149011612]
    """

    data_dim: int
    num_classes: int
    unseen: Unseen

    def __init__(self, data_dim: int, num_classes: int):
        if num_classes < 2:
            raise InputError(
                f"open categorical likelihood: num_classes is {num_classes}; it must be 2 or more"
            )
        self.data_dim = data_dim
        self.num_classes = num_classes
        self.unseen = Unseen(jnp.full(data_dim, 0.01))

    @property
    def num_params(self) -> int:
        """K logits a column."""
        return self.data_dim * self.num_classes

    def __call__(self, params: Float[Array, "p"]) -> CategoricalRow:
        """Read the output as logits of the known categories, column by column."""
        mass = jax.lax.stop_gradient(self.unseen.mass)[:, None]
        known = jax.nn.log_softmax(params.reshape(self.data_dim, self.num_classes))
        return CategoricalRow(jnp.concatenate([known + jnp.log1p(-mass), jnp.log(mass)], axis=-1))

    def check(self, x: np.ndarray, mask: np.ndarray | None) -> None:
        """Refuse anything but whole numbers in 0..K."""
        name, last = "open categorical", self.num_classes
        refuse_fractions(name, x, mask, "code categories as 0, 1, 2, …")
        refuse_above(
            name, x, mask, last, f"the codes are 0..{last - 1}, and {last} for any category not among them"
        )

    def start(
        self, x: np.ndarray, mask: np.ndarray | None, weight: np.ndarray | None
    ) -> tuple[OpenCategorical, Float[Array, "p"]]:
        """Start at the columns' log-frequencies, and set the mass of what is unseen."""
        seen = np.ones(x.shape, bool) if mask is None else np.asarray(mask)
        counts = np.stack([((x == k) & seen).sum(0) for k in range(self.num_classes + 1)])
        new = (counts[:-1] == 1).sum(0) + counts[-1]
        mass = np.minimum(np.maximum(new, 0.5) / (seen.sum(0) + 1), 0.5)
        _, logits = Categorical(self.data_dim, self.num_classes).start(
            x, seen & (x < self.num_classes), weight
        )
        return eqx.tree_at(lambda law: law.unseen.mass, self, jnp.asarray(mass, jnp.float32)), logits
