"""Any family of continuous laws as a prior."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from typing import Any

from jensen.dist import AbstractDensity, AbstractEnumerable
from jensen.errors import InputError
from jensen.families import AbstractFamily, AbstractPathFamily, check_family
from jensen.models.priors.base import AbstractPrior
from jensen.typing import Array, Float


class Learned(AbstractPrior):
    """p(z) = family(params) with everything learned: a flow, a full Gaussian. It starts as families do.

    ``Learned(families.CouplingFlow(d, context_dim=0, key=key))`` is a flow prior. An inverse autoregressive
    one is right but slow: its density at a draw of q costs d passes.

    Args:
        family: A member of ``families`` over vectors.

    Raises:
        InputError: If the family is of discrete values or of paths.

    References:
        Chen et al. 2017, Variational lossy autoencoder (flow priors).

    Example:
        >>> from jensen import families
        >>> Learned(families.FullGaussian(3)).latent_dim
        3
    """

    family: AbstractFamily
    params: Float[Array, "p"]

    def __init__(self, family: AbstractFamily):
        check_family("priors.Learned", "family", family)
        if issubclass(family.law, AbstractEnumerable) or isinstance(family, AbstractPathFamily):
            name = type(family).__name__
            raise InputError(
                f"priors.Learned: {name} is no family of continuous vectors; for discrete latents use "
                "priors.OneHot, priors.Categorical or priors.Bernoulli"
            )
        self.family = family
        self.params = family.initial_params()

    @property
    def law(self) -> type[AbstractDensity]:
        """The family's law."""
        return self.family.law

    @property
    def latent_dim(self) -> int:
        """The family's length."""
        return self.family.latent_dim

    def __call__(self, cond: Any) -> AbstractDensity:
        """Return the learned law."""
        return self.family(self.params)

    def features(self, z: Float[Array, "d"]) -> Float[Array, "d"]:
        """Return z itself."""
        return z
