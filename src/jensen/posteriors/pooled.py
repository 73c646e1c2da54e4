"""An inference network over a set of steps, for one latent behind all of them."""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import (
    AbstractInference,
    AbstractModel,
    Datum,
    HasFamily,
    HoldsLatent,
    InitializesFromData,
    Verdict,
    real_steps_of,
)
from jensen.dist import AbstractDistribution, real_steps
from jensen.errors import InputError, at_least, check_key, checked_sizes
from jensen.families import AbstractFamily, check_family
from jensen.nets import MLP, Frame
from jensen.posteriors.rules import family_matches_prior, no_paths, same_condition
from jensen.typing import Array, Float, PRNGKey


class Pooled(HasFamily, InitializesFromData):
    r"""q(z | x_{1:T}, c_{1:T}) = family(head(1/T Σ_t φ(x_t, c_t))) over the real steps (Zaheer et al. 2017).

    For models with one z behind a unit of steps, such as ``models.EpisodeDecoder``. The order of the steps
    does not matter, nor does padding. Unobserved entries enter as the column mean.

    Args:
        family: Which laws q may be.
        data_dim: Length of one row of x.
        cond_dim: Length of one row of the condition; 0 for none.
        widths: Hidden widths of φ, whose output has the last of them, and of the head.
        key: Randomness of the initial weights.

    Raises:
        InputError: If a dimension is not positive, or there is no width.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jensen import families
        >>> from jensen.core import Datum
        >>> q = Pooled(families.DiagGaussian(2), data_dim=1, cond_dim=3, widths=(8,), key=jax.random.key(0))
        >>> q.parameters(Datum(jnp.ones((5, 1)), jnp.ones((5, 3)))).shape
        (4,)
    """

    family: AbstractFamily
    each: MLP
    head: MLP
    frame: Frame
    cond_frame: Frame
    data_dim: int
    cond_dim: int
    initialized: bool

    def __init__(
        self,
        family: AbstractFamily,
        *,
        data_dim: int,
        cond_dim: int = 0,
        widths: Sequence[int] = (64, 64),
        key: PRNGKey,
    ):
        check_key(key)
        check_family("Pooled", "family", family)
        at_least("Pooled", 1, data_dim=data_dim)
        at_least("Pooled", 0, cond_dim=cond_dim)
        widths = checked_sizes("Pooled", "widths", widths, "(64, 64)", least=1)
        to_each, to_head = jax.random.split(key)
        self.family = family
        self.each = MLP(data_dim + cond_dim, widths[-1], widths[:-1], key=to_each)
        self.head = MLP(widths[-1], family.num_params, widths[-1:], key=to_head).quiet()
        self.frame = Frame.identity(data_dim)
        self.cond_frame = Frame.identity(cond_dim)
        self.data_dim = data_dim
        self.cond_dim = cond_dim
        self.initialized = False

    def parameters(self, datum: Datum) -> Float[Array, "p"]:
        """Run the networks on one unit.

        Raises:
            InputError: If the condition is missing or has another shape.
        """
        x = self.frame.enter(jnp.asarray(datum.x))
        real = real_steps(len(x), datum.steps)
        if datum.mask is not None:
            x = jnp.where(datum.mask, x, 0.0)
        if self.cond_dim:
            if datum.cond is None or np.shape(datum.cond) != (len(x), self.cond_dim):
                found = "none" if datum.cond is None else f"shape {np.shape(datum.cond)}"
                raise InputError(f"Pooled: cond must have shape {(len(x), self.cond_dim)}, got {found}")
            x = jnp.concatenate([x, self.cond_frame.enter(jnp.asarray(datum.cond, x.dtype))], -1)
        if real is None:
            return self.head(jax.vmap(self._features)(x).mean(0))
        features = jax.vmap(self._features)(jnp.where(real[:, None], x, 0.0))
        count = jnp.maximum(real.sum(), 1)
        return self.head(jnp.where(real[:, None], features, 0.0).sum(0) / count)

    def __call__(self, model: AbstractModel, datum: Datum, *, key: PRNGKey) -> AbstractDistribution:
        """Build the law the networks propose."""
        return self.family(self.parameters(datum))

    def law(self, model: AbstractModel) -> type[AbstractDistribution]:
        """Return the family's law."""
        return self.family.law

    def rule(self, inference: AbstractInference) -> Verdict:
        """Refuse models of one row, another condition, and a family on another space than the prior."""
        model = inference.model
        if refusal := no_paths(self.family, "Pooled: posteriors.Smoothing infers paths by a network"):
            return refusal
        matches = family_matches_prior(self.family, model)
        if matches.kind == "refused":
            return matches
        name = type(model).__name__
        if not isinstance(model, HoldsLatent):
            return Verdict("refused", f"Pooled: {name} has no steps to pool; use posteriors.Amortized")
        return same_condition(self, model) or matches

    def initialize_from(self, rows: Datum, *, key: PRNGKey) -> Pooled:
        """Standardize the columns over the real steps of the training data."""
        x, real = np.asarray(rows.x), real_steps_of(rows)
        mask = None if rows.mask is None else np.asarray(rows.mask)[real]
        new = eqx.tree_at(
            lambda q: (q.frame, q.initialized), self, (Frame.standardizing(x[real], mask, None), True)
        )
        if not self.cond_dim or rows.cond is None:
            return new
        cond_frame = Frame.standardizing(np.asarray(rows.cond)[real], None, None)
        return eqx.tree_at(lambda q: q.cond_frame, new, cond_frame)

    def _features(self, row: Float[Array, "i"]) -> Float[Array, "w"]:
        return self.each.activation(self.each(row))
