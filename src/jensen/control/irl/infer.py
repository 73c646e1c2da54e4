"""From demonstrations to what was wanted, in one call."""

from __future__ import annotations

import os
import time
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import equinox as eqx
import numpy as np

from jensen.algorithms import mdp as tables
from jensen.algorithms.mdp import MDP
from jensen.control.irl.demonstrations import Demonstrations, demonstrated
from jensen.control.irl.model import SoftOptimal
from jensen.control.irl.rewards import PairReward
from jensen.control.soft import SoftControl, visited
from jensen.core import Inference
from jensen.errors import InputError, JensenWarning, check_key
from jensen.fit import Fitted, Run, gradient
from jensen.gradients import Analytic
from jensen.objectives import ELBO
from jensen.posteriors import Exact
from jensen.typing import Float, PRNGKey

NOTHING = 1e-3
"""Nats per action by which a reward must beat even odds to say anything."""


@dataclass(frozen=True, eq=False)
class Inferred:
    """A reward, the agent that has it, and how far it explains what was seen.

    Attributes:
        agent: The fitted model of actions; its ``reward`` is the answer.
        fitted: The fit: history, why it stopped.
        demonstrations: What was explained.
        notes: What the user should know of the answer; each was also a warning.
        seconds: Wall time of the fit.
    """

    agent: SoftOptimal
    fitted: Fitted
    demonstrations: Demonstrations
    notes: tuple[str, ...]
    seconds: float

    @property
    def rewards(self) -> Float[np.ndarray, "s a"]:
        """The inferred reward, (S, A), in units of the temperature; of a state, equal columns."""
        return np.asarray(self.agent.problem().rewards)

    @cached_property
    def control(self) -> SoftControl:
        """What the agent does in the world of the demonstrations."""
        return self.agent.control()

    @property
    def policy(self) -> Float[np.ndarray, "*t s a"]:
        """π(a | s); over a horizon one table a step."""
        return self.control.policy

    @property
    def occupancy(self) -> Float[np.ndarray, "s a"]:
        """Discounted share of each state and action under the policy, sums to 1."""
        visits = visited(self.control.mdp, self.policy, discount=self.agent.discount)
        return visits / visits.sum()

    @property
    def occupancy_error(self) -> float:
        """Total variation between the policy's occupancy and the demonstrations'.

        Of finitely many episodes a part is chance, and of episodes cut off early another part is the cut.
        """
        return float(np.abs(self.occupancy - self.demonstrations.occupancy).sum() / 2)

    @property
    def nll(self) -> float:
        """−log π per demonstrated action, nats."""
        return self.demonstrations.nll(self.policy)

    def transferred(self, mdp: MDP) -> SoftControl:
        """Return what an agent of this reward does under other dynamics.

        Args:
            mdp: A world of the same states and actions; its rewards are not looked at.

        Raises:
            InputError: Another number of states or actions.
        """
        return self.agent.control(mdp)

    def __repr__(self) -> str:
        even = np.log(self.demonstrations.shape[1])
        lines = [
            f"Inferred: {type(self.agent.reward).__name__}, temperature {self.agent.temperature:g}, discount "
            f"{self.agent.discount:g}",
            f"−log π: {self.nll:.4f} nats per action (even odds {even:.4f})",
            f"occupancy error: {self.occupancy_error:.2g}",
            f"stopped: {self.fitted.stop_reason}, {self.seconds:.1f} s",
        ]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def infer(
    agent: SoftOptimal,
    demonstrations: Any,
    *,
    key: PRNGKey,
    prior_scale: float | None = None,
    steps: int = 500,
    learning_rate: float | None = None,
    run: Run | str | os.PathLike[str] | None = None,
) -> Inferred:
    """Infer what an agent wants from what it does: maximum causal entropy inverse reinforcement learning.

    The exact likelihood of the actions, weighted by γ^t, is climbed from the agent's reward as it is, by Adam
    with a falling rate. Without a prior a reward may grow for ever where demonstrations never err.

    Args:
        agent: The world, the form of the reward, temperature, horizon, discount.
        demonstrations: ``Demonstrations``, or what ``demonstrated`` reads.
        key: Randomness of the fit; without minibatches it changes nothing.
        prior_scale: Standard deviation of a Gaussian prior on the reward's parameters, in their units; None
            for maximum likelihood.
        steps: Gradient steps.
        learning_rate: Where it begins; by default what suits the reward's form.
        run: A run directory.

    Returns:
        The reward, policy, and how well they fit; warnings where the answer says little.

    Raises:
        InputError: Demonstrations that the world could not have shown, or made with another discount, or
            exact ones without a horizon for an agent that has one.

    Example:
        >>> import jax, jax.numpy as jnp, numpy as np
        >>> stay, go = jnp.eye(2), jnp.eye(2)[::-1]
        >>> world = MDP(jnp.stack([stay, go], 1), jnp.zeros((2, 2)), jnp.array([0.5, 0.5]))
        >>> from jensen.control import irl
        >>> agent = irl.SoftOptimal(world, irl.StateReward(2), discount=0.5)
        >>> states = [np.array([0, 1, 1, 1]), np.array([1, 1, 0, 1])]
        >>> actions = [np.array([1, 0, 0]), np.array([0, 1, 1])]
        >>> found = irl.infer(agent, (states, actions), prior_scale=1.0, steps=50, key=jax.random.key(0))
        >>> bool(found.rewards[1, 0] > found.rewards[0, 0])
        True
    """
    check_key(key)
    if prior_scale is not None and not prior_scale > 0:
        raise InputError(f"infer: prior_scale is {prior_scale}; it must be above 0, or None for no prior")
    rate = agent.reward.step_size * agent.temperature if learning_rate is None else learning_rate
    if steps < 1 or not rate > 0:
        raise InputError(f"infer: steps is {steps}, learning_rate {rate}; both must be above 0")
    world = agent.problem()
    seen = read(agent, demonstrations)
    began = time.perf_counter()
    fitted = gradient(
        Inference(agent, Exact(), ELBO(), Analytic()),
        seen.data(agent.horizon),
        key=key,
        optimizer=_optimizer(steps, rate, seen, prior_scale),
        steps=steps,
        run=run if run is None or isinstance(run, Run) else Run(os.fspath(run)),
    )
    found = fitted.inference.model
    notes = tuple(notes_of(world, found, np.asarray(_log_policy(found)), seen))
    for note in notes:
        warnings.warn(f"infer: {note}", JensenWarning, stacklevel=2)
    return Inferred(found, fitted, seen, notes, time.perf_counter() - began)


def read(agent: SoftOptimal, demonstrations: Any) -> Demonstrations:
    """Return demonstrations as the agent looks at them.

    Raises:
        InputError: Those that its world could not have shown, or that are weighted or counted otherwise.
    """
    if not isinstance(demonstrations, Demonstrations):
        return demonstrated(agent.problem(), demonstrations, discount=agent.discount, horizon=agent.horizon)
    if demonstrations.discount != agent.discount:
        raise InputError(
            f"infer: demonstrations are weighted with discount {demonstrations.discount:g}, the agent's is "
            f"{agent.discount:g}; they must agree"
        )
    if agent.horizon is not None and demonstrations.horizon is None and np.isinf(demonstrations.size):
        raise InputError(
            f"infer: the demonstrations are exact ones without a horizon, the agent has {agent.horizon} "
            f"steps; make them by exact_demonstrations(..., horizon={agent.horizon})"
        )
    return demonstrations


def _optimizer(steps: int, rate: float, seen: Demonstrations, prior_scale: float | None) -> Any:
    import optax

    # gradients are exact, so a short memory of their size suffices
    adam = optax.adam(optax.cosine_decay_schedule(rate, steps), b2=0.99)
    if prior_scale is None or not np.isfinite(seen.size):
        return adam
    # the loss is a mean over actions: the prior's share of one action
    return optax.chain(optax.add_decayed_weights(1 / (prior_scale**2 * seen.weights.sum())), adam)


def notes_of(
    world: MDP, agent: SoftOptimal, log_policy: Float[np.ndarray, "*t s a"], seen: Demonstrations
) -> list[str]:
    """Say what the answer, an agent and its log π, cannot be asked."""
    notes = []
    hidden = np.flatnonzero(~tables.reachable(world))
    if len(hidden):
        some = ", ".join(map(str, hidden[:5])) + (" …" if len(hidden) > 5 else "")
        notes.append(
            f"{len(hidden)} state{'s' * (len(hidden) > 1)} cannot be reached from the start ({some}): "
            "nothing is learnt of their reward"
        )
    rewards = np.asarray(agent.problem().rewards)
    spread = np.ptp(rewards[np.isfinite(rewards)])
    even = np.log(np.isfinite(rewards).sum(1))[seen.states]
    weight = seen.weights / seen.weights.sum()
    table = log_policy if log_policy.ndim == 3 else log_policy[None]
    step = np.minimum(seen.steps, len(table) - 1)
    gain = float((weight * (even + table[step, seen.states, seen.actions])).sum())
    if gain < NOTHING or spread < NOTHING * agent.temperature:
        told = f"the reward says nothing ({gain:.1g} nats per action above even odds)"
        notes.append(f"{told}: {_why(agent, seen)}")
    return notes


def _why(agent: SoftOptimal, seen: Demonstrations) -> str:
    moves = np.asarray(agent.dynamics.transitions)[np.unique(seen.states)]
    alike = np.abs(moves - moves[:, :1]).max() < 1e-6
    if alike and not isinstance(agent.reward, PairReward):
        return (
            "no action changes what comes next in the states seen, so none tells of a state's reward; "
            "use irl.PairReward"
        )
    return "actions were chosen as by even odds, or this form of reward cannot tell them apart"


@eqx.filter_jit
def _log_policy(agent: SoftOptimal) -> Any:
    return agent.soft().log_policy
