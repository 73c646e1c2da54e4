"""How firmly an agent of known rewards acts: one number, searched for."""

from __future__ import annotations

import warnings
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize_scalar

from jensen.algorithms import mdp as tables
from jensen.algorithms.mdp import MDP
from jensen.control.irl.infer import NOTHING, notes_of, read
from jensen.control.irl.model import SoftOptimal
from jensen.control.irl.rewards import ScaledReward
from jensen.control.soft import SoftControl, soft_control
from jensen.errors import InputError, JensenWarning, check_key
from jensen.typing import PRNGKey

_POWERS = np.arange(-15.0, 16.0)
"""Powers of e, of the rewards' deviation, at which a search begins."""

_SURE = 1e-4
"""How near it comes to log τ."""


def infer_temperature(
    mdp: MDP,
    demonstrations: Any,
    *,
    key: PRNGKey,
    horizon: int | None = None,
    discount: float = 1.0,
    prior_scale: float | None = None,
    steps: int = 500,
) -> float:
    """Return the temperature at which an agent of known rewards does best explain what was done.

    The exact likelihood of the actions, weighted by γ^t, is taken at the rewards' deviation times powers of
    e, and climbed from the best of them, in float64, to four digits of τ.

    Args:
        mdp: The world, with the agent's true rewards.
        demonstrations: As in ``infer``.
        key: Nothing is random here; taken as all fits take it.
        horizon: Steps of an episode, if the agent knows of them.
        discount: γ.
        prior_scale: Standard deviation of a Gaussian prior on log τ, about the log of the rewards' deviation;
            None for maximum likelihood, which goes to 0 where demonstrations never err.
        steps: Steps of the climb at most; a dozen or two suffice.

    Raises:
        InputError: As ``infer``; rewards that are all equal, which tell of no temperature.

    Example:
        >>> import jax
        >>> from jensen.control import irl
        >>> world = MDP(jnp.zeros((1, 2, 1)), jnp.array([[0.0, 1.0]]), jnp.ones(1))  # one step, two actions
        >>> shown = irl.exact_demonstrations(world, soft_control(world, temperature=0.2, horizon=1).policy[0])
        >>> round(irl.infer_temperature(world, shown, key=jax.random.key(0)), 3)
        0.2
    """
    check_key(key)
    if prior_scale is not None and not prior_scale > 0:
        raise InputError(
            f"infer_temperature: prior_scale is {prior_scale}; it must be above 0, or None for no prior"
        )
    if steps < 1:
        raise InputError(f"infer_temperature: steps is {steps}; it must be at least 1")
    rewards = np.asarray(tables.checked(mdp).rewards)
    finite = rewards[np.isfinite(rewards)]
    unit = float(finite.std()) if len(finite) else 0.0
    if not unit > 0:
        raise InputError("infer_temperature: all rewards are equal, so behaviour tells of no temperature")
    scaled = ScaledReward(np.where(np.isfinite(rewards), rewards, 0.0) / unit)
    agent = SoftOptimal(mdp, scaled, horizon=horizon, discount=discount)
    seen = read(agent, demonstrations)
    agent.check_data(seen.data(horizon).rows())
    weight = seen.weights / seen.weights.sum()
    tells = weight > 0
    share = 0.0
    if prior_scale is not None and np.isfinite(seen.size):
        share = 1 / (2 * prior_scale**2 * seen.weights.sum())

    def solved(power: float) -> SoftControl:
        return soft_control(mdp, temperature=unit * np.exp(power), horizon=horizon, discount=discount)

    def loss(power: float) -> float:
        """Return −log π per action less the prior's part of one, nats."""
        try:
            found = solved(power)
        except InputError:  # at this temperature going on earns more than ending, and no value is finite
            return np.inf
        table = np.asarray(found.soft.log_policy, np.float64)
        table = table[None] if table.ndim == 2 else table
        each = table[np.minimum(seen.steps, len(table) - 1), seen.states, seen.actions]
        return float(share * power**2 - (weight * each)[tells].sum())

    losses = np.array([loss(power) for power in _POWERS])
    # where all of the coldest explain alike, the coldest
    best = int(np.argmax(losses <= losses.min() + 1e-9))
    if losses[best] == np.inf:
        raise InputError(
            "infer_temperature: at no temperature does an agent of these rewards do what was shown: some "
            "action leads where nothing is allowed, or no value is finite; correct the world, or the episodes"
        )
    ends = _POWERS[max(best - 1, 0)], _POWERS[min(best + 1, len(_POWERS) - 1)]
    options = {"xatol": _SURE, "maxiter": steps}
    climb: Any = minimize_scalar(loss, bounds=ends, method="bounded", options=options)
    power = float(climb.x) if climb.fun <= losses[best] else float(_POWERS[best])
    scale = jnp.asarray(-power, jnp.result_type(float))
    held = eqx.tree_at(lambda agent: agent.reward.log_scale, agent, scale)
    notes = notes_of(held.problem(), held, np.asarray(solved(power).soft.log_policy), seen)
    if best == 0:
        same = unit * np.exp(_POWERS[losses < losses[0] + NOTHING].max())
        notes.append(
            f"nothing that was shown is an error to this agent: every temperature below {same:.2g} explains "
            "it as well; give prior_scale=, or more demonstrations"
        )
    if not climb.success:
        notes.append(f"the search stopped after {steps} steps, short of four digits; give more steps")
    for note in notes:
        warnings.warn(f"infer_temperature: {note}", JensenWarning, stacklevel=2)
    return unit * float(np.exp(power))
