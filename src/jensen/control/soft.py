"""Control as inference: the policy that is even odds, revised by the evidence that all went well."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jensen.algorithms import mdp as tables
from jensen.algorithms import soft_bellman
from jensen.algorithms.mdp import MDP
from jensen.algorithms.soft_bellman import Soft
from jensen.control.policies.tabular import TabularPolicy
from jensen.errors import InputError, nearest
from jensen.typing import Float

OUTLOOKS = {"variational": soft_bellman.expected, "exact": soft_bellman.optimistic}
"""Posteriors by name: what a chance event is worth."""

_UNSOLVED, _ENDLESS = 1e-4, 1e4
"""Share of the greatest value that the Bellman equation may be off by; steps after which nothing ends."""

_NEVER = 1e12
"""Visits in all that float64 cannot tell from endless ones: 1 − P is then singular to its last digits."""


@dataclass(frozen=True, eq=False)
class SoftControl:
    """A solved problem: soft values, messages and the policy.

    Attributes:
        mdp: The problem.
        soft: Values, action values and log-policy; with a leading axis of steps over a horizon.
        temperature: τ, in the rewards' units per nat.
        discount: γ.
        horizon: Steps; None without.
        posterior: ``"variational"`` or ``"exact"``.
    """

    mdp: MDP
    soft: Soft
    temperature: float
    discount: float
    horizon: int | None
    posterior: str

    @property
    def policy(self) -> Float[np.ndarray, "*t s a"]:
        """π(a | s), rows of zeros where no action is allowed."""
        return np.asarray(self.soft.policy)

    @property
    def values(self) -> Float[np.ndarray, "*t s"]:
        """V(s), in the rewards' units, entropy included."""
        return np.asarray(self.soft.values)

    @property
    def messages(self) -> tuple[Float[np.ndarray, "*t s"], Float[np.ndarray, "*t s a"]]:
        """Log β(s) and log β(s, a), nats.

        Raises:
            InputError: The temperature is 0, at which messages are infinite.
        """
        if self.temperature == 0:
            raise InputError("messages: the temperature is 0, at which log β is infinite; look at values")
        states, pairs = self.soft.messages(self.temperature)
        return np.asarray(states), np.asarray(pairs)

    @property
    def occupancy(self) -> Float[np.ndarray, "s a"]:
        """How often the policy is where, Σ_t γ^t p(s_t, a_t), under the true dynamics."""
        return visited(self.mdp, self.policy, discount=self.discount)

    @property
    def expected_return(self) -> float:
        """E Σ_t γ^t r_t of the policy from the start, entropy not included."""
        return earned(self.mdp, self.policy, discount=self.discount)

    def acting(self, *, seed: int = 0) -> TabularPolicy:
        """Return a policy that acts in environments whose observations are states.

        Raises:
            InputError: A state where no action is allowed.
        """
        return TabularPolicy(self.policy, seed=seed)

    def __repr__(self) -> str:
        how = f"{self.horizon} steps" if self.horizon is not None else "no horizon"
        size = f"{self.mdp.num_states} states, {self.mdp.num_actions} actions"
        return (
            f"SoftControl({size}, {how}, discount {self.discount:g}, temperature {self.temperature:g}, "
            f"{self.posterior} posterior: return {self.expected_return:.4g})"
        )


def soft_control(
    mdp: MDP,
    *,
    temperature: float,
    horizon: int | None = None,
    discount: float = 1.0,
    posterior: str = "variational",
) -> SoftControl:
    """Solve a problem in tables by inference of its actions.

    Args:
        mdp: Transitions, rewards, start.
        temperature: τ ≥ 0: what a nat of entropy is worth, in the rewards' units; 0 is dynamic programming.
        horizon: Number of steps; None for an episode without one, which needs γ < 1 or ends by itself.
        discount: γ.
        posterior: ``"variational"``, which chooses actions and leaves chance as it is; or ``"exact"``,
            p(a | s, optimal), which supposes good luck where chance decides. Without chance they are one.

    Raises:
        InputError: No problem (which entry), a negative temperature, a horizon of zero, γ outside [0, 1], an
            unknown posterior, or values that are not finite, or too large for float32.

    Example:
        >>> import jax.numpy as jnp
        >>> stay, go = jnp.eye(2), jnp.eye(2)[::-1]
        >>> rewards = jnp.array([[0.0, 0.0], [0.0, 1.0]])
        >>> problem = MDP(jnp.stack([stay, go], 1), rewards, jnp.array([1.0, 0.0]))
        >>> policy = soft_control(problem, temperature=0.1, horizon=4).policy
        >>> [[round(p, 2) for p in row] for row in policy[0].tolist()]
        [[0.0, 1.0], [0.2, 0.8]]
    """
    check_control(temperature, horizon, discount)
    if posterior not in OUTLOOKS:
        raise InputError(f"soft_control: posterior={posterior!r} is unknown{nearest(posterior, OUTLOOKS)}")
    problem = tables.checked(mdp)
    if horizon is None and discount == 1 and not tables.ends(problem).all():
        stuck = int(np.argmin(tables.ends(problem)))
        raise InputError(
            f"soft_control: without a horizon and with discount 1 no value is finite: from state {stuck} an "
            "episode never ends; give horizon=, or a discount below 1"
        )
    # in float32 1 − γ alone has lost four digits at γ = 0.9999
    with jax.enable_x64(True):
        soft, error, steps = _solved(tables.exact_rows(mdp), temperature, discount, horizon, posterior)
        soft = jax.tree.map(np.asarray, soft)
    if not (float(error) < _UNSOLVED and (discount < 1 or float(steps) < _ENDLESS)):
        raise InputError(
            f"soft_control: no finite values at temperature {temperature:g} and discount {discount:g}: going "
            "on earns more entropy than ending; lower either, or give horizon="
        )
    _check_size(soft)
    soft = jax.tree.map(jnp.asarray, soft)
    return SoftControl(problem, soft, float(temperature), float(discount), horizon, posterior)


def check_control(temperature: float, horizon: int | None, discount: float) -> None:
    """Refuse options that make no problem.

    Raises:
        InputError: Which, and what it may be.
    """
    if not (math.isfinite(temperature) and temperature >= 0):
        raise InputError(f"temperature is {temperature}; it must be 0 (no entropy) or more")
    if horizon is not None and horizon < 1:
        raise InputError(f"horizon is {horizon}; it must be at least 1 step, or None for no horizon")
    if not 0 <= discount <= 1:
        raise InputError(f"discount is {discount}; it must lie in [0, 1]")


def _check_size(soft: Soft) -> None:
    """Refuse finite values that the type in use would take for infinite, and so for what is forbidden."""
    kind = jnp.finfo(jnp.result_type(float))
    size = max(np.abs(part[np.isfinite(part)]).max(initial=0.0) for part in (soft.values, soft.action_values))
    if size > kind.max:
        raise InputError(
            f"soft_control: values reach {size:.2g}, more than {kind.dtype} holds ({float(kind.max):.2g}); "
            "divide rewards and temperature by a number"
        )


def visited(
    mdp: MDP, policy: Any, *, discount: float = 1.0, horizon: int | None = None
) -> Float[np.ndarray, "s a"]:
    """Return Σ_t γ^t p(s_t = s, a_t = a) of a policy.

    Args:
        mdp: The world; its rewards are not looked at.
        policy: π(a | s), (S, A); or (H, S, A), one table a step, for H steps.
        discount: γ.
        horizon: Steps of an episode, for a policy (S, A); None for none.

    Raises:
        InputError: A policy of another shape, or episodes that would go on for ever with γ = 1.
    """
    table = np.asarray(policy, np.float64)
    shape = (mdp.num_states, mdp.num_actions)
    if table.shape[-2:] != shape or (table.ndim == 3 and horizon not in (None, len(table))):
        wanted = shape if horizon is None else (horizon, *shape)
        raise InputError(f"the policy has shape {table.shape}; it must be {shape}, or {wanted} step by step")
    if table.ndim == 2 and horizon is not None:
        table = np.broadcast_to(table, (horizon, *shape))
    if table.ndim == 2 and discount == 1 and not tables.ends(mdp).all():
        raise InputError(
            "without a horizon and with discount 1 visits are infinite; give horizon=, or a discount"
        )
    with jax.enable_x64(True):
        visits = np.asarray(_visits(tables.exact_rows(mdp), tables.whole(table), discount))
    if not (np.isfinite(visits).all() and visits.min() > -1 and visits.sum() < _NEVER):
        raise InputError(
            "the policy never ends some episodes, and with discount 1 its visits are then infinite; give "
            "horizon=, or a discount"
        )
    return visits


def earned(mdp: MDP, policy: Any, *, discount: float = 1.0, horizon: int | None = None) -> float:
    """Return the expected return of a policy from the start, in the rewards' units.

    It is −∞ where the policy may come, before the horizon, to a state in which it has no action: a row of
    zeros, as where nothing is allowed. An episode that has ended, or stays where it is, is no such dead end.

    Args:
        mdp: The problem, with the rewards to count.
        policy: As in ``visited``.
        discount: γ.
        horizon: Steps of an episode, for a policy (S, A); None for none.

    Raises:
        InputError: As ``visited``.
    """
    visits = visited(mdp, policy, discount=discount, horizon=horizon)
    if _stranded(mdp, np.asarray(policy), horizon if discount > 0 else 1):
        return -math.inf
    rewards = np.asarray(mdp.rewards, np.float64)
    return float((visits * np.where(visits > 0, rewards, 0.0)).sum())


def _stranded(mdp: MDP, policy: np.ndarray, horizon: int | None) -> bool:
    """Return whether a policy can come, within the horizon, to a state where its row is empty."""
    taken = policy > 0
    if taken.any(-1).all():
        return False
    if taken.ndim == 2:  # what can be reached at all is reached in fewer steps than there are states
        longest = mdp.num_states if horizon is None else min(horizon, mdp.num_states)
        taken = np.broadcast_to(taken, (longest, *taken.shape))
    possible, there = np.asarray(mdp.transitions) > 0, np.asarray(mdp.start) > 0
    for now in taken[:horizon]:
        if (there & ~now.any(-1)).any():
            return True
        there = (possible[there] & now[there][..., None]).any((0, 1))
    return False


@partial(jax.jit, static_argnames=("horizon", "posterior"))
def _solved(mdp: MDP, temperature: Any, discount: Any, horizon: int | None, posterior: str) -> Any:
    outlook = OUTLOOKS[posterior]
    how = {"temperature": temperature, "discount": discount, "outlook": outlook}
    if horizon is not None:
        return soft_bellman.backward(mdp, horizon, **how), 0.0, horizon
    soft = soft_bellman.solve(mdp, **how)
    return soft, soft_bellman.residual(mdp, soft, **how), soft_bellman.duration(mdp, soft, **how)


@jax.jit
def _visits(mdp: MDP, policy: Any, discount: Any) -> Any:
    if policy.ndim == 3:
        return tables.occupancy_over(mdp, policy, discount=discount).sum(0)
    return tables.occupancy(mdp, policy, discount=discount)
