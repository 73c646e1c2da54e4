"""What recurrent models of sequences share: all that follows from a carry, a prior and an emission."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import ChecksData, Datum, HasRecurrence, InitializesFromData, Simulates
from jensen.dist import (
    AbstractDistribution,
    AncestralPath,
    Draw,
    StepwisePrior,
    log_prob_observed,
    real_steps,
    scored_steps,
)
from jensen.errors import InputError
from jensen.models.likelihoods import AbstractLikelihood
from jensen.models.sequence.hmm_data import flat_steps
from jensen.nets import MLP
from jensen.typing import Array, Float, PRNGKey, PyTree, Scalar

M = TypeVar("M", bound="AbstractRecurrentModel")


class AbstractRecurrentModel(HasRecurrence, Simulates, ChecksData, InitializesFromData):
    """p(x, z) = ∏ p(z_t | carry_t) p(x_t | z_t, carry_t), carry_t made of z_{1:t−1} and a_{1:t−1}.

    Attributes:
        likelihood_family: From the decoder's output to p(x_t | z_t, carry_t).
        net: The decoder.
        extra_cond: Names of columns that may follow the actions in ``cond``.
    """

    likelihood_family: eqx.AbstractVar[AbstractLikelihood]
    net: eqx.AbstractVar[Any]
    extra_cond: ClassVar[tuple[str, ...]]
    prior_law: ClassVar[type[AbstractDistribution]]

    @abstractmethod
    def carries_given(self, draw: Draw, datum: Datum) -> PyTree:
        """Return the carries along a drawn path, leading axis T."""

    @abstractmethod
    def carries(self, z: Float[Array, "t d"], datum: Datum) -> PyTree:
        """Return the carries along any path, leading axis T."""

    def prior_of(self, cond: Any) -> AncestralPath:
        """Return p(z_{1:T}); T is that of the actions, which must not be missing."""
        if cond is None:
            raise InputError(f"{type(self).__name__}: no actions, no length; use simulate(like)")
        return AncestralPath(self, self.inputs(cond, len(cond)))

    def prior_given(self, draw: Draw, datum: Datum) -> StepwisePrior:
        """Return p(z_t | carry_t) of every step along a drawn path."""
        laws = jax.vmap(self.prior_from)(self._carries(draw, datum))
        return StepwisePrior(laws, None if draw.carry is None else draw.carry.laws, _scored(datum))

    def log_likelihood_given(self, draw: Draw, datum: Datum) -> Scalar:
        """Return Σ_t log p(x_t | z_t, carry_t) over the observed entries of the real steps, in nats."""
        return self.log_likelihoods(draw.z, self._carries(draw, datum), datum).sum()

    def log_likelihood(self, z: Float[Array, "t d"], datum: Datum) -> Scalar:
        """Return log p(x | z) over the observed entries of the real steps, in nats."""
        return self.log_likelihoods(z, self.carries(z, datum), datum).sum()

    def log_joint(self, z: Float[Array, "t d"], datum: Datum) -> Scalar:
        """Return log p(x, z), in nats; steps of z beyond the real ones are not looked at."""
        carries = self.carries(z, datum)
        prior = StepwisePrior(jax.vmap(self.prior_from)(carries), None, _scored(datum))
        return prior.log_prob(z).sum() + self.log_likelihoods(z, carries, datum).sum()

    def _carries(self, draw: Draw, datum: Datum) -> PyTree:
        return self.carries(draw.z, datum) if draw.carry is None else self.carries_given(draw, datum)

    def log_likelihoods(self, z: Float[Array, "t d"], carries: PyTree, datum: Datum) -> Float[Array, "t"]:
        """Return log p(x_t | z_t, carry_t) of every step, in nats; zero where padded or burnt in."""
        real = real_steps(len(datum.x), datum.steps)
        # padding may hold anything: it is filled before the density sees it, and dropped after
        x = datum.x if real is None else jnp.where(real[:, None], datum.x, 0.0)

        def one(z: Array, carry: PyTree, x: Array, mask: Any) -> Array:
            return log_prob_observed(self.observation_from(z, carry), x, mask)

        each = jax.vmap(one, in_axes=(0, 0, 0, None if datum.mask is None else 0))(z, carries, x, datum.mask)
        scored = _scored(datum)
        return each if scored is None else jnp.where(scored, each, 0.0)

    def simulate(
        self, like: Datum | None = None, *, key: PRNGKey
    ) -> tuple[Float[Array, "t d"], Float[Array, "t c"]]:
        """Draw a path and a sequence as long as ``like``; padded steps are zero.

        Raises:
            InputError: If ``like`` is missing: it lends the number of steps.
        """
        if like is None:
            raise InputError(f"{type(self).__name__}: simulate(like) takes its length from a sequence")
        length = len(like.x)
        real = real_steps(length, like.steps)
        to_path, to_rows = jax.random.split(key)
        path = AncestralPath(self, self.inputs(like.cond, length), real)
        z, carries = path.walk(self.start(), key=to_path)
        keys = jax.vmap(lambda t: jax.random.fold_in(to_rows, t))(jnp.arange(length))
        x = jax.vmap(lambda z, c, k: self.observation_from(z, c).sample(key=k))(z, carries, keys)
        return z, x if real is None else jnp.where(real[:, None], x, 0.0)

    def check_data(self, rows: Datum) -> None:
        """Refuse what is not sequences, actions of another shape, and values outside the support."""
        x, name = np.asarray(rows.x), type(self).__name__
        if x.ndim != 3:
            raise InputError(
                f"{name} takes sequences (N, T, D), got shape {x.shape}: use x[None] for one sequence of rows"
            )
        _check_actions(name, self.cond_dim, rows.cond, x.shape, self.extra_cond)
        steps = _observed(rows)
        self.likelihood_family.check(np.asarray(steps.x), steps.mask)


def _scored(datum: Datum) -> Any:
    return scored_steps(len(datum.x), datum.steps, datum.burn_in)


class Heads(eqx.Module):
    """Networks on one input, their outputs joined.

    Attributes:
        nets: The networks.
        sizes: Lengths of their outputs.
    """

    nets: tuple[Any, ...]
    sizes: tuple[int, ...]

    def __call__(self, state: Float[Array, "s"]) -> Float[Array, "p"]:
        """Run each."""
        return jnp.concatenate([net(state) for net in self.nets])


def started(model: M, rows: Datum) -> M:
    """Start the likelihood, and the output bias of a default decoder, at the column means of real steps."""
    steps = _observed(rows)
    family, bias = model.likelihood_family.start(np.asarray(steps.x), steps.mask, steps.weight)
    model = eqx.tree_at(lambda m: m.likelihood_family, model, family)
    return eqx.tree_at(lambda m: m.net, model, _with_bias(model.net, bias))


def _with_bias(net: Any, bias: Float[Array, "p"]) -> Any:
    if isinstance(net, MLP):
        return eqx.tree_at(lambda n: n.layers[-1].bias, net, bias)
    if isinstance(net, Heads):
        shares = jnp.split(bias, np.cumsum(net.sizes)[:-1])
        return Heads(tuple(_with_bias(n, b) for n, b in zip(net.nets, shares, strict=True)), net.sizes)
    return net


def _observed(rows: Datum) -> Datum:
    """Return the real steps as rows of their own."""
    steps, _ = flat_steps(Datum(rows.x, mask=rows.mask, steps=rows.steps, weight=rows.weight))
    if steps.x.size == 0 or (steps.mask is not None and not np.asarray(steps.mask).any()):
        raise InputError("x: no entry of any sequence is observed; there is nothing to fit")
    return steps


def _check_actions(name: str, dim: int, cond: Any, shape: tuple[int, ...], extra: tuple[str, ...]) -> None:
    n, t, _ = shape
    if dim == 0 and cond is None:
        return
    if dim == 0 and not extra:
        raise InputError(f"{name}: cond was given, but the model takes no actions; make it with cond_dim=")
    got = None if cond is None else np.shape(cond)
    wanted = [(n, t, dim + more) for more in range(len(extra) + 1)] + [(n, t - 1, dim)]
    if got not in wanted:
        words = f"({n}, {t} or {t - 1}, {dim})" + (
            f", or ({n}, {t}, {dim + 1}) with {extra[0]} last" if extra else ""
        )
        raise InputError(f"{name}: cond must hold actions {words}; got {got}")
    if extra and cond is not None and got == (n, t, dim + 1):
        odd = ~np.isin(np.asarray(cond)[..., -1], (0, 1))
        if odd.any():
            row, step = np.argwhere(odd)[0]
            raise InputError(
                f"{name}: the last column of cond is {extra[0]}, 0 or 1, but sequence {row} has "
                f"{np.asarray(cond)[row, step, -1]:.4g} at step {step}; for actions of length {dim + 1} "
                "make the model with them"
            )


def previous(cond: Any, length: int, dim: int) -> Float[Array, "t u"]:
    """Return the action before each step, zeros before the first, from T or T − 1 actions."""
    if cond is None:
        return jnp.zeros((length, dim))
    actions = jnp.asarray(cond)[: length - 1, :dim]
    return jnp.concatenate([jnp.zeros((1, dim), actions.dtype), actions])


def decoder_net(decoder: Any, in_dim: int, out_dim: int, *, key: PRNGKey) -> Any:
    """Return a perceptron of these hidden widths, or the module given."""
    if isinstance(decoder, eqx.Module):
        return decoder
    return MLP(in_dim, out_dim, tuple(decoder), activation=jax.nn.relu, key=key)


def decoder_with_heads(
    decoder: Any,
    own: AbstractLikelihood,
    heads: Sequence[AbstractLikelihood],
    state_dim: int,
    *,
    key: PRNGKey,
) -> Any:
    """Return a decoder of the observation, joined to one network a head, each of its last hidden width."""
    to_net, *to_heads = jax.random.split(key, 1 + len(heads))
    net = decoder_net(decoder, state_dim, own.num_params, key=to_net)
    if not heads:
        return net
    widths = () if isinstance(decoder, eqx.Module) else tuple(decoder)[-1:]
    more = [decoder_net(widths, state_dim, h.num_params, key=k) for h, k in zip(heads, to_heads, strict=True)]
    return Heads((net, *more), tuple(part.num_params for part in (own, *heads)))
