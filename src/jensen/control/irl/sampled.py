"""Inverse reinforcement learning without tables: the partition function from episodes of a simulator."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.algorithms.weights import effective_sample_size, log_mean_exp, normalized
from jensen.control.policies.base import Policy
from jensen.control.policies.fitted import MixturePolicy
from jensen.control.spaces import DiscreteActions, action_space
from jensen.core import Datum, Inference
from jensen.datasets import Episodes, load_episodes
from jensen.errors import InputError, JensenWarning, check_key
from jensen.fit import Data, gradient
from jensen.gradients import Analytic
from jensen.models import CategoricalNet
from jensen.nets import MLP
from jensen.objectives import ELBO
from jensen.posteriors import Exact
from jensen.typing import Array, Float, Int, PRNGKey, Scalar

_FLOOR = 0.1
"""Share of the episodes drawn that must count, or a reward waits until the policy has followed."""

_SHOWN = 0.25
"""Share of the demonstrations in what the policy that draws is fitted to."""


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
            InputError: Actions that are vectors, or an episode that is longer.
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
    log_proposal: Float[Array, "n"],
    *,
    temperature: float = 1.0,
) -> Likelihood:
    r"""Estimate the log-likelihood of p(τ) ∝ p(s_0) ∏ p(s'|s, a) exp(R(τ)/T), dynamics unknown.

    Z = E_q[w], w = exp(R(τ)/T)/∏ π(a_t|s_t) for episodes of any policy π in the same dynamics, which cancel.
    The gradient is E_shown[∇R]/T − Σ_k w̃_k ∇R(τ_k)/T; its bias is of order 1/``effective``.

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
        Two episodes of one step, drawn at even odds: a reward of nothing makes Z the number of ways, 2.

        >>> seen, real = jnp.ones((2, 1, 1)), jnp.ones((2, 1))
        >>> drawn = Trajectories(seen, jnp.array([[0], [1]]), real)
        >>> found = sampled_likelihood(lambda o, a: 0.0 * o[0], drawn, drawn, jnp.log(jnp.full(2, 0.5)))
        >>> round(float(found.value), 4), float(found.effective)
        (-0.6931, 2.0)
    """
    log_w = returns(reward, drawn) / temperature - log_proposal
    value = returns(reward, shown).mean() / temperature - log_mean_exp(log_w)
    return Likelihood(value, effective_sample_size(jax.lax.stop_gradient(log_w)))


@dataclass(frozen=True)
class Rounds:
    """How a reward is inferred from samples.

    Attributes:
        rounds: How often episodes are drawn.
        episodes: Drawn in each.
        steps: Gradient steps of reward and of policy in each.
        learning_rate: Of the reward, by Adam.
        temperature: T > 0; only r/T tells.
        prior_scale: Standard deviation of a Gaussian prior on the reward's parameters; None for none.
        widths: Hidden widths of the policy that draws.
    """

    rounds: int = 20
    episodes: int = 256
    steps: int = 20
    learning_rate: float = 0.02
    temperature: float = 1.0
    prior_scale: float | None = None
    widths: tuple[int, ...] = (64, 64)

    def __post_init__(self):
        if min(self.rounds, self.steps) < 1 or self.episodes < 2:
            raise InputError(
                f"Rounds: rounds={self.rounds}, steps={self.steps}, episodes={self.episodes}; they must be "
                "at least 1, 1 and 2"
            )
        for name in ("learning_rate", "temperature", "prior_scale"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise InputError(f"Rounds: {name} is {value}; it must be a positive number")


@dataclass(frozen=True, eq=False)
class InferredBySamples:
    """A reward from demonstrations and a simulator.

    Attributes:
        reward: The answer, in units of the temperature.
        policy: Draws actions about as an agent of that reward does.
        log_likelihood: Estimate after each round, nats an episode, (rounds,).
        effective: Share of the drawn episodes that counted in each round, 0..1, (rounds,).
    """

    reward: StepReward
    policy: Policy
    log_likelihood: Float[np.ndarray, "r"]
    effective: Float[np.ndarray, "r"]

    def __repr__(self) -> str:
        return (
            f"InferredBySamples: {type(self.reward).__name__}, {len(self.effective)} rounds, log-likelihood "
            f"{self.log_likelihood[-1]:.3f} nats an episode, effective share {self.effective[-1]:.2f}"
        )


def infer_sampled(
    reward: StepReward,
    demonstrations: Any,
    draw: Callable[[Policy, int, int], Any],
    *,
    space: Any,
    horizon: int,
    how: Rounds | None = None,
    key: PRNGKey,
) -> InferredBySamples:
    """Infer a reward where dynamics can be played but are not known, by importance sampling.

    A policy begins as a clone of the demonstrations. In each round it draws episodes; the reward climbs
    ``sampled_likelihood`` as long as a tenth of them counts; the policy is fitted to them by their weights,
    KL(p ‖ π), and to a share of demonstrations. In random dynamics the episodes' law supposes luck too, as
    the ``"exact"`` posterior of ``soft_control`` does; ``infer`` is causal and needs tables.

    Args:
        reward: What the agent may want, where the climb begins.
        demonstrations: ``datasets.Episodes`` with integer actions, or what ``load_episodes`` reads.
        draw: (policy, number, seed) to episodes of the policy, such as
            ``lambda policy, n, seed: collect(env, policy, episodes=n, seed=seed).to_episodes()``.
        space: Gymnasium's Discrete, or ``DiscreteActions``.
        horizon: Most steps of an episode, demonstrated or drawn.
        how: Numbers of rounds, episodes and steps, rates.
        key: Randomness.

    Returns:
        The reward, the policy, and how many episodes counted; a warning where few did.

    Raises:
        InputError: Actions that are vectors, or no codes of the space; an episode beyond the horizon.
    """
    check_key(key)
    how, valid = how or Rounds(), action_space(space)
    if not isinstance(valid, DiscreteActions):
        raise InputError(f"infer_sampled: actions of {valid!r} are vectors; it takes a Discrete space")

    def read(episodes: Any) -> Trajectories:
        return Trajectories.of(valid.to_model(load_episodes(episodes)), horizon)

    to_net, to_policy, to_fit, to_seed = jax.random.split(key, 4)
    shown = read(demonstrations)
    net: Any = CategoricalNet(1, valid.n, shown.observations.shape[-1], widths=how.widths, key=to_net)
    net = _refitted(net, [(shown, np.ones(len(shown.actions)))], 10 * how.steps, key=to_fit)
    adam = _adam(how, len(shown.actions))
    memory = adam.init(eqx.filter(reward, eqx.is_inexact_array))
    values, shares = [], []
    for number in range(how.rounds):
        seed = int(jax.random.randint(jax.random.fold_in(to_seed, number), (), 0, 2**30))
        policy = MixturePolicy(net, valid, key=jax.random.fold_in(to_policy, number))
        drawn = read(draw(policy, how.episodes, seed))
        log_q = _log_prob(net, drawn)
        reward, memory, found, log_w = _climbed(reward, memory, shown, drawn, log_q, how)
        values.append(float(found.value))
        shares.append(float(found.effective) / len(drawn.actions))
        if not np.isfinite(values[-1]):
            raise InputError(
                f"infer_sampled: the likelihood is {values[-1]} in round {number}; lower learning_rate"
            )
        weights = len(log_w) * np.asarray(normalized(log_w))
        parts = [(drawn, (1 - _SHOWN) * weights), (shown, np.full(len(shown.actions), _SHOWN))]
        net = _refitted(net, parts, how.steps, key=jax.random.fold_in(to_fit, number))
    if shares[-1] < _FLOOR:
        warnings.warn(
            f"infer_sampled: {shares[-1]:.1%} of the episodes drawn last count, so that log Z is a guess; "
            "give more episodes or rounds, or a prior_scale",
            JensenWarning,
            stacklevel=2,
        )
    policy = MixturePolicy(net, valid, key=to_policy)
    return InferredBySamples(reward, policy, np.asarray(values), np.asarray(shares))


def _adam(how: Rounds, size: int) -> Any:
    import optax

    adam = optax.adam(how.learning_rate)
    if how.prior_scale is None:
        return adam
    return optax.chain(optax.add_decayed_weights(1 / (how.prior_scale**2 * size)), adam)


@eqx.filter_jit
def _climbed(
    reward: Any, memory: Any, shown: Trajectories, drawn: Trajectories, log_q: Array, how: Rounds
) -> tuple[Any, Any, Likelihood, Array]:
    """Take a round's steps; where too few episodes count a step changes nothing."""
    import optax

    adam = _adam(how, len(shown.actions))
    params, rest = eqx.partition(reward, eqx.is_inexact_array)
    floor = _FLOOR * len(drawn.actions)

    def loss(params: Any) -> tuple[Scalar, Likelihood]:
        found = sampled_likelihood(
            eqx.combine(params, rest), shown, drawn, log_q, temperature=how.temperature
        )
        return -found.value, found

    def step(carry: Any, _: None) -> tuple[Any, None]:
        slope, found = jax.grad(loss, has_aux=True)(carry[0])
        moves, after = adam.update(slope, carry[1], carry[0])
        new = optax.apply_updates(carry[0], moves), after
        return jax.tree.map(lambda a, b: jnp.where(found.effective > floor, a, b), new, carry), None

    (params, memory), _ = jax.lax.scan(step, (params, memory), None, length=how.steps)
    reward = eqx.combine(params, rest)
    log_w = returns(reward, drawn) / how.temperature - log_q
    return reward, memory, loss(params)[1], log_w


@eqx.filter_jit
def _log_prob(net: Any, drawn: Trajectories) -> Float[Array, "n"]:
    def one(seen: Array, act: Array) -> Scalar:
        return net.log_evidence(Datum(act[None].astype(jnp.float32), seen))

    return (jax.vmap(jax.vmap(one))(drawn.observations, drawn.actions) * drawn.real).sum(-1)


def _refitted(
    net: Any, parts: list[tuple[Trajectories, np.ndarray]], steps: int, *, key: PRNGKey
) -> CategoricalNet:
    """Return the policy climbed towards episodes by their weights."""
    import optax

    rows = [
        (part.observations.reshape(-1, part.observations.shape[-1]), part.actions.reshape(-1, 1))
        for part, _ in parts
    ]
    weights = np.concatenate([(part.real * weight[:, None]).ravel() for part, weight in parts])
    seen, acts = (np.concatenate(column) for column in zip(*rows, strict=True))
    made = Inference(net, Exact(), ELBO(), Analytic())
    data = Data(acts.astype(np.float32), cond=seen, weights=weights)
    fitted: Any = gradient(made, data, key=key, optimizer=optax.adam(1e-2), steps=steps)
    return fitted.inference.model
