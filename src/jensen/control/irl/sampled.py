"""Inverse reinforcement learning without tables: the partition function from episodes of a simulator."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.algorithms.weights import effective_sample_size, log_mean_exp
from jensen.datasets import Episodes
from jensen.errors import InputError
from jensen.nets import MLP
from jensen.typing import Array, Float, Int, PRNGKey, Scalar


class StepReward(eqx.Module):
    """A reward of what is seen and done, of any observations."""

    @abstractmethod
    def __call__(self, observation: Float[Array, "s"], action: Int[Array, ""]) -> Scalar:
        """Return r(o, a), in units that the temperature shares."""


class SeenReward(StepReward):
    """A network of the observation: r = f(o). It carries over to other dynamics better than one of pairs.

    Args:
        observation_dim: S; observations should be of the order of 1.
        widths: Hidden widths; empty for a linear reward.
        key: Randomness of the weights.
    """

    net: MLP

    def __init__(self, observation_dim: int, *, widths: Sequence[int] = (32, 32), key: PRNGKey):
        self.net = MLP(observation_dim, 1, widths, key=key).quiet()

    def __call__(self, observation: Float[Array, "s"], action: Int[Array, ""]) -> Scalar:
        """Return f(o)."""
        return self.net(observation)[0]


class DoneReward(StepReward):
    """A network of observation and action, one output for each action: r = f(o)_a.

    Args:
        observation_dim: S; observations should be of the order of 1.
        num_actions: A.
        widths: Hidden widths; empty for a linear reward.
        key: Randomness of the weights.
    """

    net: MLP

    def __init__(
        self, observation_dim: int, num_actions: int, *, widths: Sequence[int] = (32, 32), key: PRNGKey
    ):
        self.net = MLP(observation_dim, num_actions, widths, key=key).quiet()

    def __call__(self, observation: Float[Array, "s"], action: Int[Array, ""]) -> Scalar:
        """Return f(o)_a."""
        return self.net(observation)[action]


class Trajectories(NamedTuple):
    """N episodes of at most T steps, filled up.

    Attributes:
        observations: o_t, (N, T, S).
        actions: Codes, (N, T).
        real: 1 for steps that happened, else 0, (N, T).
    """

    observations: Float[Any, "n t s"]
    actions: Int[Any, "n t"]
    real: Float[Any, "n t"]

    @classmethod
    def of(cls, episodes: Episodes, horizon: int) -> Trajectories:
        """Fill episodes up to T steps. Host code.

        Raises:
            InputError: Actions that are vectors, an episode that is longer, or one that was cut off before
                T steps: p(τ) is a law of whole episodes.
        """
        if not episodes.discrete:
            raise InputError(
                f"{episodes.name}: actions are vectors; sampled inverse RL takes integer codes (T,)"
            )
        if episodes.lengths.max() > horizon:
            worst = int(episodes.lengths.argmax())
            raise InputError(
                f"{episodes.name}: episode {worst} has {episodes.lengths[worst]} steps, the horizon is "
                f"{horizon}"
            )
        cut = (episodes.lengths < horizon) & ~np.asarray(episodes.terminated)
        if cut.any():
            first = int(cut.argmax())
            length = int(episodes.lengths[first])
            raise InputError(
                f"{episodes.name}: episode {first} was cut off after {length} of {horizon} steps; record up "
                f"to the horizon, or give a horizon of at most {length}"
            )
        shape = len(episodes), horizon
        seen = np.zeros((*shape, episodes.observation_dim), np.float32)
        acts, real = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
        for i, (rows, done) in enumerate(zip(episodes.observations, episodes.actions, strict=True)):
            seen[i, : len(done)], acts[i, : len(done)], real[i, : len(done)] = rows[:-1], done, 1.0
        return cls(seen, acts, real)


class Likelihood(NamedTuple):
    """A self-normalized estimate of the demonstrations' likelihood.

    Attributes:
        value: Mean of R(τ)/τ_heat over demonstrations less log Z, in nats an episode; the dynamics' part,
            which no reward changes, is left out.
        effective: Kish's effective number of the episodes drawn.
    """

    value: Scalar
    effective: Scalar


def returns(reward: StepReward, episodes: Trajectories) -> Float[Array, "n"]:
    """Return R(τ) = Σ_t r(o_t, a_t) of each episode."""
    each = jax.vmap(jax.vmap(reward))(jnp.asarray(episodes.observations), jnp.asarray(episodes.actions))
    return (each * episodes.real).sum(-1)


def sampled_likelihood(
    reward: StepReward,
    shown: Trajectories,
    drawn: Trajectories,
    log_proposal: Float[Any, "n"],
    *,
    temperature: float = 1.0,
) -> Likelihood:
    r"""Estimate the log-likelihood of p(τ) ∝ p(s_0) ∏ p(s'|s, a) exp(R(τ)/T), dynamics unknown.

    Z = E_q[w], w = exp(R(τ)/T)/∏ π(a_t|s_t) for episodes of any policy π in the same dynamics, which cancel.
    The gradient is E_shown[∇R]/T − Σ_k w̃_k ∇R(τ_k)/T; its bias is of order 1/``effective``. In random
    dynamics p(τ) supposes luck too, as the ``"exact"`` posterior of ``soft_control``; ``infer`` is causal.

    Args:
        reward: r.
        shown: Demonstrations.
        drawn: Episodes of π.
        log_proposal: Σ_t log π(a_t | s_t) of each, in nats.
        temperature: T.

    References:
        Ziebart et al. 2008, Maximum entropy inverse reinforcement learning.
        Finn, Levine & Abbeel 2016, Guided cost learning, arXiv:1603.00448.

    Example:
        Two episodes of one step, drawn at even odds: where actions pay alike, one of two ways.

        >>> seen, real = jnp.ones((2, 1, 1)), jnp.ones((2, 1))
        >>> drawn = Trajectories(seen, jnp.array([[0], [1]]), real)
        >>> reward = SeenReward(1, widths=(), key=jax.random.key(0))
        >>> found = sampled_likelihood(reward, drawn, drawn, jnp.log(jnp.full(2, 0.5)))
        >>> round(float(found.value), 4), float(found.effective)
        (-0.6931, 2.0)
    """
    log_w = returns(reward, drawn) / temperature - log_proposal
    value = returns(reward, shown).mean() / temperature - log_mean_exp(log_w)
    return Likelihood(value, effective_sample_size(jax.lax.stop_gradient(log_w)))
