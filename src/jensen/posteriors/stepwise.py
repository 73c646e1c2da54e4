"""What filtering and smoothing share: a head that meets the model's carry with what the data says."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import (
    AbstractInference,
    AbstractPosterior,
    Datum,
    HasRecurrence,
    InitializesFromData,
    Verdict,
    inputs_of,
    real_steps_of,
    state_before,
)
from jensen.dist import RelaxablePath, Reparameterized, ReparameterizedPath, has_kl, real_steps
from jensen.errors import CombinationError, checked_sizes
from jensen.families import AbstractFamily
from jensen.nets import MLP, Frame, Merge, column_means
from jensen.posteriors.rules import no_paths, space
from jensen.typing import Array, Float, PRNGKey


class Encoder(eqx.Module):
    """From one observed row, and which of its entries are there, to what the posterior makes of it.

    Attributes:
        net: A network on the row in standardized coordinates, or ``None`` for the row itself.
        absent: What each missing entry adds to the output, (out, D).
        frame: The coordinates.
        seen_dim: Number D of leading columns that are seen.
    """

    net: Any
    absent: Float[Array, "o d"]
    frame: Frame
    seen_dim: int

    def __init__(self, encoder: Any, seen_dim: int, *, key: PRNGKey):
        self.net = encoder if isinstance(encoder, eqx.Module) else _perceptron(seen_dim, encoder, key=key)
        out = seen_dim if self.net is None else jax.eval_shape(self.net, jnp.zeros(seen_dim)).shape[-1]
        self.absent = jnp.zeros((out, seen_dim))
        self.frame = Frame.identity(seen_dim)
        self.seen_dim = seen_dim

    @property
    def out_dim(self) -> int:
        """Length of the output."""
        return self.absent.shape[0]

    def over_time(self, datum: Datum) -> Float[Array, "t o"]:
        """Encode every step; padding and missing entries enter as the column mean."""
        x = self.frame.enter(datum.x[:, : self.seen_dim])
        real = real_steps(len(x), datum.steps)
        if real is not None:
            x = jnp.where(real[:, None], x, 0.0)
        if datum.mask is None:
            return x if self.net is None else jax.vmap(self.net)(x)
        seen = datum.mask[:, : self.seen_dim]
        x = jnp.where(seen, x, 0.0)
        out = x if self.net is None else jax.vmap(self.net)(x)
        return out + (1.0 - seen) @ self.absent.T

    def started(self, rows: Datum) -> "Encoder":
        """Take the centre and one common scale from the real steps of the training sequences."""
        x = np.asarray(rows.x)[..., : self.seen_dim]
        d = x.shape[-1]
        seen = np.ones(x.shape, bool) if rows.mask is None else np.asarray(rows.mask)[..., : self.seen_dim]
        if rows.steps is not None:
            seen = seen & real_steps_of(rows)[..., None]
        x, seen = x.reshape(-1, d), seen.reshape(-1, d)
        mean = column_means(x, seen, None)
        inside = x[seen]
        pixels = inside.size == 0 or (inside.min() >= 0 and inside.max() <= 1)
        # pixels and keys are rarely lit: dividing by their spread would blow single ones up
        variance = np.ones(d) if pixels else column_means(x, seen, None, about=mean)
        scale = np.sqrt(np.where(variance > 0, variance, 1.0))
        frame = Frame(jnp.asarray(mean, jnp.float32), jnp.asarray(scale, jnp.float32))
        return eqx.tree_at(lambda e: e.frame, self, frame)


def _perceptron(in_dim: int, widths: Sequence[int], *, key: PRNGKey) -> MLP | None:
    widths = checked_sizes("posterior", "encoder", widths, "(64,), or a module")
    if not widths:
        return None
    return MLP(in_dim, widths[-1], widths[:-1], activation=jax.nn.relu, key=key)


class AbstractStepwise(AbstractPosterior, InitializesFromData):
    """q(z_{1:T} | x) = ∏ q(z_t | carry_t, evidence_t), the carry being the model's own."""

    family: eqx.AbstractVar[AbstractFamily]
    encoder: eqx.AbstractVar[Encoder]
    head: eqx.AbstractVar[Merge]
    cond_dim: eqx.AbstractVar[int]
    carry_dim: eqx.AbstractVar[int]

    @abstractmethod
    def evidence(self, datum: Datum) -> Float[Array, "t e"]:
        """Return what the observations say to each step: the row encoded, then the memory, if any."""

    def __call__(self, model: Any, datum: Datum, *, key: PRNGKey) -> Any:
        """Build the law of the path."""
        evidence = self.evidence(datum)
        prepared = jax.vmap(self.head.prepare)(evidence)
        return self.law(model)(
            model,
            inputs_of(model, datum),
            self.head,
            prepared,
            self.family,
            real_steps(len(datum.x), datum.steps),
            datum.burn_in,
            state_before(model, datum),
            None if datum.carried is None else evidence[-1, self.encoder.out_dim :],
        )

    def law(self, model: Any) -> type[ReparameterizedPath] | type[RelaxablePath]:
        """Return the type of path the family's laws make."""
        return ReparameterizedPath if issubclass(self.family.law, Reparameterized) else RelaxablePath

    def rule(self, inference: AbstractInference) -> Verdict:
        """Refuse models without recurrence, and a family on another space than the prior of a step."""
        model: Any = inference.model
        name = type(self).__name__
        if not isinstance(model, HasRecurrence):
            return Verdict(
                "refused",
                f"{name}: {type(model).__name__} has no recurrence to follow through time; "
                "use posteriors.Amortized, or posteriors.Exact where the model has an exact posterior",
            )
        if refusal := no_paths(self.family, f"{name}, which takes a law of one step"):
            return refusal
        if space(self.family.law) is not space(model.step_law) or self.family.latent_dim != model.latent_dim:
            return Verdict(
                "refused",
                f"{name}: a {type(self.family).__name__} family of length {self.family.latent_dim} with "
                f"steps that are {model.step_law.__name__} of length {model.latent_dim}; use "
                f"families.{model.step_law.__name__} of that length",
            )
        if not has_kl(self.family.law, model.step_law):
            return Verdict(
                "refused",
                f"{name}: KL({self.family.law.__name__} ‖ {model.step_law.__name__}) of a step has no closed "
                "form; use families.DiagGaussian or FullGaussian",
            )
        if (self.carry_dim, self.encoder.seen_dim) != (model.carry_dim, model.seen_dim):
            return Verdict(
                "refused",
                f"{name}: made for a carry of length {self.carry_dim} and {self.encoder.seen_dim} columns, "
                f"the model has {model.carry_dim} and {model.seen_dim}; use "
                f"posteriors.{name}(..., like=model)",
            )
        return Verdict("exact")


def checked(name: str, like: Any) -> Any:
    """Return the model whose sizes a posterior takes, or refuse it.

    Raises:
        CombinationError: If it has no recurrence.
    """
    if not isinstance(like, HasRecurrence):
        raise CombinationError(
            f"{name}: like={type(like).__name__} has no recurrence; use posteriors.Amortized, or "
            "posteriors.Exact where the model has an exact posterior"
        )
    return like


def small_head(head: Merge) -> Merge:
    """Shrink the last layer so that q starts near the family's initial law."""
    last = head.rest.layers[-1]
    return eqx.tree_at(lambda h: h.rest.layers[-1].weight, head, last.weight * 0.1)


def before(datum: Datum, dim: int) -> Float[Array, "t u"]:
    """Return the action before each step, zeros before the first of a sequence."""
    length = len(datum.x)
    if not dim:
        return jnp.zeros((length, 0))
    actions = jnp.asarray(datum.cond)[: length - 1, :dim]
    first = jnp.zeros((1, dim), actions.dtype)
    if datum.carried is not None:
        first = jnp.where(datum.carried.goes_on, datum.carried.cond[None, :dim], first)
    return jnp.concatenate([first, actions])
