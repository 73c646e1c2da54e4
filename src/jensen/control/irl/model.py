"""A soft-optimal agent as a conditional model: its actions given its states, with a reward as parameters."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jensen.algorithms import mdp as tables
from jensen.algorithms import soft_bellman
from jensen.algorithms.mdp import MDP
from jensen.algorithms.soft_bellman import Soft
from jensen.control.irl.rewards import AbstractReward
from jensen.control.soft import SoftControl, check_control, soft_control
from jensen.core import Datum
from jensen.dist import CategoricalRow, log_prob_observed
from jensen.errors import InputError
from jensen.models.conditional.condition import check_cond
from jensen.models.conditional.regression import AbstractRegression
from jensen.nets import Fixed, Frame
from jensen.typing import Array, Bool, Float, PRNGKey, Scalar


class Dynamics(Fixed):
    """How a world moves, which is known; never trained.

    Attributes:
        transitions: p(s' | s, a), (S, A, S).
        start: p(s_0), (S,).
    """

    transitions: Float[Array, "s a s"]
    start: Float[Array, "s"]


class Allowed(Fixed):
    """Which actions are allowed where, (S, A)."""

    values: Bool[Array, "s a"]


class SoftOptimal(AbstractRegression):
    r"""p(a | s) ∝ exp(Q(s, a)/τ): an agent that does well, more or less, by a reward we do not know.

    A conditional model like any other: x is an action, cond the state (and the step, over a horizon), the
    parameters are the reward's, and ``fit.gradient`` with ``posteriors.Exact`` and ``gradients.Analytic``
    climbs the exact likelihood. With rows weighted by γ^t that is maximum causal entropy inverse
    reinforcement learning (Ziebart 2010): at the optimum the agent's discounted occupancy is the
    demonstrations', as far as the reward's features can tell.

    Args:
        mdp: The world; its rewards are not looked at, but for −∞, which forbids an action.
        reward: What the agent may want.
        temperature: τ > 0; only r/τ tells, so it fixes the reward's units.
        horizon: Steps of an episode, if the agent knows of them; cond is then (state, step).
        discount: γ, the agent's and the demonstrations'.

    Raises:
        InputError: No problem, a reward of another size, or options that make no finite values.

    References:
        Ziebart (2010), Modeling purposeful adaptive behavior with the principle of maximum causal entropy.
        Gleave and Toyer (2022), A primer on maximum causal entropy inverse reinforcement learning.

    Example:
        >>> from jensen.control import irl
        >>> stay, go = jnp.eye(2), jnp.eye(2)[::-1]
        >>> world = MDP(jnp.stack([stay, go], 1), jnp.zeros((2, 2)), jnp.array([1.0, 0.0]))
        >>> agent = SoftOptimal(world, irl.StateReward(2), discount=0.5)
        >>> agent.law(jnp.array([1.0])).mean.tolist()
        [[0.5, 0.5]]
    """

    dynamics: Dynamics
    allowed: Allowed
    reward: AbstractReward
    temperature: float
    horizon: int | None
    discount: float
    cond_frame: Frame
    data_dim: int
    cond_dim: int
    initialized: bool

    def __init__(
        self,
        mdp: MDP,
        reward: AbstractReward,
        *,
        temperature: float = 1.0,
        horizon: int | None = None,
        discount: float = 1.0,
    ):
        check_control(temperature, horizon, discount)
        if temperature == 0:
            raise InputError("SoftOptimal: temperature is 0; an agent that never errs has no likelihood")
        problem = tables.checked(mdp)
        if horizon is None and discount == 1 and not tables.ends(problem).all():
            raise InputError(
                "SoftOptimal: without a horizon and with discount 1 no value is finite; give horizon=, or a "
                "discount below 1"
            )
        shape, wanted = jax.eval_shape(reward.table).shape, problem.rewards.shape
        if shape not in (wanted, (wanted[0], 1)):
            raise InputError(
                f"SoftOptimal: {type(reward).__name__} gives rewards {shape}, the world has {wanted[0]} "
                f"states and {wanted[1]} actions"
            )
        self.dynamics = Dynamics(problem.transitions, problem.start)
        self.allowed = Allowed(jnp.isfinite(problem.rewards))
        self.reward = reward
        self.temperature, self.horizon, self.discount = float(temperature), horizon, float(discount)
        self.cond_dim = 1 if horizon is None else 2
        self.cond_frame = Frame.identity(self.cond_dim)
        self.data_dim = 1
        self.initialized = True

    @property
    def num_states(self) -> int:
        """S."""
        return self.dynamics.transitions.shape[0]

    @property
    def num_actions(self) -> int:
        """A."""
        return self.dynamics.transitions.shape[1]

    def problem(self) -> MDP:
        """Return the world with the reward as it is."""
        transitions, start = jax.lax.stop_gradient((self.dynamics.transitions, self.dynamics.start))
        rewards = jnp.broadcast_to(self.reward.table(), transitions.shape[:2])
        return MDP(transitions, jnp.where(self.allowed.values, rewards, -jnp.inf), start)

    def soft(self) -> Soft:
        """Return the agent's values and policy; over a horizon one a step."""
        world, heat, discount = self.problem(), self.temperature, self.discount
        if self.horizon is None:
            return soft_bellman.solve(world, temperature=heat, discount=discount)
        return soft_bellman.backward(world, self.horizon, temperature=heat, discount=discount)

    def control(self, mdp: MDP | None = None) -> SoftControl:
        """Return what the agent does, here or in a changed world.

        Args:
            mdp: Another world with the same states and actions; its rewards are replaced by the agent's.
        """
        own = self.problem()
        world = own if mdp is None else tables.checked(mdp)
        if world.rewards.shape != own.rewards.shape:
            raise InputError(
                f"the world has rewards {world.rewards.shape}, the agent's are {own.rewards.shape}; the "
                "states and actions must be the same"
            )
        rewards = jnp.where(jnp.isfinite(world.rewards), own.rewards, -jnp.inf)
        return soft_control(
            world._replace(rewards=rewards),
            temperature=self.temperature,
            horizon=self.horizon,
            discount=self.discount,
        )

    def law(self, cond: Any) -> CategoricalRow:
        """Return p(a | s), or p(a | s, t)."""
        codes = jnp.round(self.entered(cond)).astype(jnp.int32)
        # the table does not depend on the row: under a map over rows it is made once
        table = self.soft().log_policy
        row = table[codes[0]] if self.horizon is None else table[codes[1], codes[0]]
        return CategoricalRow(row[None])

    def log_evidence(self, datum: Datum) -> Scalar:
        """Return log p(a | s), in nats."""
        return log_prob_observed(self.law(datum.cond), datum.x, datum.mask)

    def check_data(self, rows: Datum) -> None:
        """Refuse states, steps and actions that the world does not have, and actions it forbids."""
        check_cond(self, rows)
        actions = whole(rows.x, self.num_actions, "actions")[:, 0]
        states = whole(np.asarray(rows.cond)[:, :1], self.num_states, "states")[:, 0]
        if self.horizon is not None:
            whole(np.asarray(rows.cond)[:, 1:], self.horizon, "steps")
        forbidden = ~np.asarray(self.allowed.values)[states, actions]
        if forbidden.any():
            row = int(forbidden.argmax())
            raise InputError(
                f"SoftOptimal: row {row} takes action {actions[row]} in state {states[row]}, where it is "
                "forbidden"
            )

    def initialize_from(self, rows: Datum, *, key: PRNGKey) -> SoftOptimal:
        """Nothing is chosen from the data."""
        return self


def whole(codes: Any, count: int, name: str) -> np.ndarray:
    """Return codes 0..count−1 as integers.

    Raises:
        InputError: Others: which row.
    """
    given = np.asarray(codes, np.float64)
    wrong = (given != np.floor(given)) | (given < 0) | (given >= count)
    if wrong.any():
        row = int(np.argwhere(wrong)[0][0])
        raise InputError(
            f"SoftOptimal: {name} are whole numbers 0..{count - 1}; row {row} has {given[row, 0]:g}"
        )
    return given.astype(np.int64)
