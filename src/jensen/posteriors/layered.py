"""What posteriors of several stochastic layers share: the data's way in, and which models they are for."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from typing import Any

import equinox as eqx
import jax.numpy as jnp

from jensen.core import (
    AbstractInference,
    AbstractLatentModel,
    AbstractPosterior,
    ChecksData,
    Datum,
    HasCondition,
    HasLatentDim,
    InitializesFromData,
    Verdict,
)
from jensen.dist import TopDownGaussian
from jensen.errors import CombinationError
from jensen.nets import Frame
from jensen.posteriors.amortized import entering_frame
from jensen.typing import Array, Float, PRNGKey


class AbstractLayeredPosterior(AbstractPosterior, InitializesFromData):
    """q over the layers of a hierarchical prior, from a network on one row.

    Attributes:
        frame: Coordinates in which the network reads x.
        latent_dims: Lengths of the layers it was made for, the top first.
        data_dim: Length of x.
    """

    frame: eqx.AbstractVar[Frame]
    latent_dims: eqx.AbstractVar[tuple[int, ...]]
    data_dim: eqx.AbstractVar[int]

    def entered(self, datum: Datum) -> Float[Array, "d"]:
        """Return x in the network's coordinates, unobserved entries at the column mean."""
        x = self.frame.enter(datum.x)
        return x if datum.mask is None else jnp.where(datum.mask, x, 0.0)

    def rule(self, inference: AbstractInference) -> Verdict:
        """Refuse models without layers, with other layers, or with a condition."""
        model: Any = inference.model
        name, kind = type(self).__name__, type(model).__name__
        if not is_layered(model):
            return Verdict(
                "refused",
                f"{name}: {kind} has no layers of latents; use posteriors.Amortized, or "
                "models.Decoder(prior=models.priors.Hierarchical(...))",
            )
        if isinstance(inference.model, HasCondition):
            return Verdict(
                "refused",
                f"{name} reads no condition, {kind} has one; use "
                f"posteriors.Amortized(families.DiagGaussian({model.latent_dim}), cond_dim={model.cond_dim})",
            )
        dims = layers_of(name, model)[1]
        if dims != self.latent_dims:
            return Verdict(
                "refused",
                f"{name}: made for layers of {self.latent_dims} latents, the model has {dims}; use "
                f"posteriors.{name}(like=model)",
            )
        return Verdict("exact")

    def initialize_from(self, rows: Datum, *, key: PRNGKey) -> "AbstractLayeredPosterior":
        """Take the input's centre and scale from the training rows."""
        return eqx.tree_at(lambda q: (q.frame, q.initialized), self, (entering_frame(rows), True))


def is_layered(model: Any) -> bool:
    """Whether the prior is a top-down pass through layers."""
    layered = isinstance(model, AbstractLatentModel) and issubclass(model.prior_law, TopDownGaussian)
    return layered and isinstance(model, HasLatentDim) and isinstance(model, ChecksData)


def layers_of(name: str, like: Any) -> tuple[int, tuple[int, ...]]:
    """Return the number of columns of x and the lengths of the layers of the model a posterior is for.

    Raises:
        CombinationError: If it has no layers.
    """
    if not is_layered(like):
        raise CombinationError(
            f"{name}: like={type(like).__name__} has no layers of latents; use posteriors.Amortized, or "
            "models.Decoder(prior=models.priors.Hierarchical(...))"
        )
    return like.data_dim, like.prior_of(None).dims
