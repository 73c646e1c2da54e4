"""An inference network: one forward pass per datum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from jensen.core import (
    AbstractInference,
    AbstractModel,
    Datum,
    HasFamily,
    InitializesFromData,
    Verdict,
)
from jensen.dist import AbstractDistribution
from jensen.errors import InputError, at_least, check_key
from jensen.families import AbstractFamily, check_family
from jensen.nets import MLP, Frame, checked_net, column_means
from jensen.posteriors.rules import family_matches_prior, no_paths, reads_condition, same_columns
from jensen.typing import Array, Float, PRNGKey


class Amortized(HasFamily, InitializesFromData):
    """q_φ(z | x, c) = family(net_φ(x, c)), fast on new data at the price of the amortization gap.

    The input is centred by the training data's column means and divided by one common scale, chosen at
    the first fit; every column of the condition has a scale of its own. Unobserved entries enter as the
    column mean.

    Args:
        family: Which laws q may be.
        data_dim: Length of x.
        widths: Hidden widths of the default perceptron.
        activation: Its activation.
        net: Any equinox module from x (and c joined to it) to the family's parameters, instead of it.
        cond_dim: Length of the condition joined to x; 0 for none.
        key: Randomness of the initial weights.

    Raises:
        InputError: If a dimension is not positive, or ``net`` reads or makes vectors of other lengths.

    Example:
        >>> import jax
        >>> from jensen import families
        >>> q = Amortized(families.DiagGaussian(2), data_dim=5, widths=(16,), key=jax.random.key(0))
        >>> q.family.num_params
        4
    """

    family: AbstractFamily
    net: Any
    frame: Frame
    cond_frame: Frame | None
    data_dim: int
    cond_dim: int
    initialized: bool

    def __init__(
        self,
        family: AbstractFamily,
        *,
        data_dim: int,
        key: PRNGKey,
        widths: Sequence[int] = (256, 256),
        activation: Callable[[Array], Array] = jnp.tanh,
        net: Any = None,
        cond_dim: int = 0,
    ):
        check_key(key)
        check_family("Amortized", "family", family)
        at_least("Amortized", 1, data_dim=data_dim)
        at_least("Amortized", 0, cond_dim=cond_dim)
        self.family = family
        if net is None:
            net = MLP(data_dim + cond_dim, family.num_params, widths, activation=activation, key=key)
            net = net.quiet()  # q starts near the family's initial law
        else:
            net = checked_net("Amortized", net, data_dim + cond_dim, family.num_params)
        self.net = net
        self.frame = Frame.identity(data_dim)
        self.cond_frame = Frame.identity(cond_dim) if cond_dim else None
        self.data_dim = data_dim
        self.cond_dim = cond_dim
        self.initialized = False

    def parameters(self, datum: Datum) -> Float[Array, "p"]:
        """Run the network on one datum."""
        x = self.frame.enter(datum.x)
        if datum.mask is not None:
            x = jnp.where(datum.mask, x, 0.0)
        if self.cond_frame is not None:
            if datum.cond is None or np.shape(datum.cond) != (self.cond_dim,):
                found = "none" if datum.cond is None else f"shape {np.shape(datum.cond)}"
                raise InputError(f"Amortized: cond must have length {self.cond_dim}, got {found}")
            x = jnp.concatenate([x, self.cond_frame.enter(jnp.asarray(datum.cond, x.dtype))])
        return self.net(x)

    def __call__(self, model: AbstractModel, datum: Datum, *, key: PRNGKey) -> AbstractDistribution:
        """Build the law the network proposes."""
        return self.family(self.parameters(datum))

    def law(self, model: AbstractModel) -> type[AbstractDistribution]:
        """Return the family's law."""
        return self.family.law

    def rule(self, inference: AbstractInference) -> Verdict:
        """Refuse a family on another space than the prior, or a network of other columns or conditions."""
        refusal = no_paths(self.family, "Amortized: posteriors.Smoothing infers paths by a network")
        refusal = refusal or reads_condition(self, inference.model)
        verdict = refusal or family_matches_prior(self.family, inference.model)
        return verdict if verdict.kind == "refused" else same_columns(self, inference.model) or verdict

    def initialize_from(self, rows: Datum, *, key: PRNGKey) -> Amortized:
        """Take the input's centre and scale from the training rows."""
        new = eqx.tree_at(lambda q: (q.frame, q.initialized), self, (entering_frame(rows), True))
        if self.cond_frame is None or rows.cond is None:
            return new
        cond_frame = Frame.standardizing(np.asarray(rows.cond), None, rows.weight)
        return eqx.tree_at(lambda q: q.cond_frame, new, cond_frame)


def entering_frame(rows: Datum) -> Frame:
    """Return the column means of rows, and one common scale. Host code."""
    x = np.asarray(rows.x)
    mean = column_means(x, rows.mask, rows.weight)
    seen = x if rows.mask is None else x[np.asarray(rows.mask)]
    pixels = seen.size == 0 or (seen.min() >= 0 and seen.max() <= 1)
    variance = 1.0 if pixels else column_means(x, rows.mask, rows.weight, about=mean).mean()
    # one scale for all columns: a per-column one would blow up the rarely lit pixels of an image
    scale = np.sqrt(variance) if variance > 0 else 1.0
    return Frame(jnp.asarray(mean, jnp.float32), jnp.full(len(mean), scale, jnp.float32))
