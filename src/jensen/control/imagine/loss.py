"""What an actor-critic descends: paths imagined in a world, λ-returns, and two losses in one gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.algorithms.returns import lambda_returns, survival
from jensen.control.imagine.actors import AbstractActorGradient, act, ahead
from jensen.control.spaces import ActionSpace
from jensen.core import Datum
from jensen.errors import InputError, nearest
from jensen.typing import Array, Float, PRNGKey, PyTree, Scalar

UNITS = ("returns", "rewards")

_SPREAD_RATE = 0.01
"""Share of each batch in the running spread of returns."""

_LEAST_SPREAD = 1e-2
"""Least spread of returns, in units of the critic's: where all returns are alike, noise is not blown up."""


@dataclass(frozen=True)
class Settings:
    """How to learn from imagined paths.

    Attributes:
        steps: Gradient steps.
        batch_size: Start states a step.
        horizon: H, imagined actions from each.
        discount: γ.
        decay: λ of the returns.
        temperature: What a nat of the policy's entropy is worth.
        temperature_in: ``"returns"``: in running spreads of the returns of rewards (from the 5th to the 95th
            percentile). ``"rewards"``: in the units of rewards; the actor then seeks the soft-optimal policy.
        actor_rate: Learning rate of the actor; falls to zero along a cosine.
        critic_rate: That of the critic; likewise.
        slow_rate: Share of the critic in the slow critic, a step; 1 for no slow critic.
        clip: Greatest norm of a gradient.
        widths: Hidden widths of both networks.
    """

    steps: int = 2_000
    batch_size: int = 128
    horizon: int = 15
    discount: float = 0.99
    decay: float = 0.95
    temperature: float = 1e-3
    temperature_in: str = "returns"
    actor_rate: float = 1e-3
    critic_rate: float = 2e-3
    slow_rate: float = 0.05
    clip: float = 10.0
    widths: tuple[int, ...] = (64, 64)

    @classmethod
    def of(cls, options: dict[str, Any]) -> Settings:
        """Read options by name.

        Raises:
            InputError: An unknown option, with the nearest, or a value out of range.
        """
        known = cls.__dataclass_fields__
        if unknown := [name for name in options if name not in known]:
            raise InputError(f"imagine: option {unknown[0]!r} is unknown{nearest(unknown[0], known)}")
        given = {**options}
        if "widths" in given:
            given["widths"] = tuple(given["widths"])
        settings = cls(**given)
        settings._check()
        return settings

    def _check(self) -> None:
        for name in ("steps", "batch_size", "horizon"):
            if getattr(self, name) < 1:
                raise InputError(f"imagine: {name} is {getattr(self, name)}; it must be at least 1")
        for name in ("discount", "decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"imagine: {name} is {getattr(self, name)}; it must be from 0 to 1")
        if not 0 < self.slow_rate <= 1:
            raise InputError(f"imagine: slow_rate is {self.slow_rate}; it must be above 0, and at most 1")
        if not self.temperature >= 0:
            raise InputError(f"imagine: temperature is {self.temperature}; it must be 0 or more")
        for name in ("actor_rate", "critic_rate", "clip"):
            if not getattr(self, name) > 0:
                raise InputError(f"imagine: {name} is {getattr(self, name)}; it must be above 0")
        if self.temperature_in not in UNITS:
            raise InputError(
                f"imagine: temperature_in={self.temperature_in!r} is unknown"
                f"{nearest(self.temperature_in, UNITS)}"
            )


class ActorCritic(eqx.Module):
    """What is learnt, and how.

    Attributes:
        actor: p(y | features), a conditional model with an exact density.
        critic: p(G | features), a regression of two columns: the return of rewards, and that of the policy's
            entropies, nats. Its mean is what both are worth from s on.
        gradient: How the actor's gradient is estimated.
    """

    actor: Any
    critic: Any
    gradient: AbstractActorGradient


class Learner(eqx.Module):
    """An actor-critic in its world.

    Attributes:
        learned: Actor and critic.
        world: Where paths are imagined.
        features: State to what actor and critic read; None where the world itself says.
    """

    learned: Any
    world: Any
    features: Any

    def seen(self, state: PyTree) -> Any:
        """Return the features of a state."""
        return self.world.features(state) if self.features is None else self.features(state)


class Path(NamedTuple):
    """H imagined steps from one state.

    Attributes:
        features: Of s_0 … s_H, (H + 1, F).
        rewards: (H,).
        continues: (H,).
        log_probs: log p(y_t | s_t), (H,), nats.
        entropies: (H,), nats.
    """

    features: Float[Array, "*n h1 f"]
    rewards: Float[Array, "*n h"]
    continues: Float[Array, "*n h"]
    log_probs: Float[Array, "*n h"]
    entropies: Float[Array, "*n h"]


def imagined(learner: Learner, space: ActionSpace, start: PyTree, horizon: int, *, key: PRNGKey) -> Path:
    """Follow the actor from one state."""
    learned, world = learner.learned, learner.world

    def step(at: tuple[PyTree, Array], key: PRNGKey) -> tuple[tuple[PyTree, Array], tuple[Array, ...]]:
        state, features = at
        to_act, to_move = jax.random.split(key)
        drawn = act(learned.gradient, learned.actor, space, features, key=to_act)
        moved = world.step(state, drawn.action, key=to_move)
        after = learner.seen(moved.state)
        made = (after, moved.reward, moved.continues, drawn.log_prob, drawn.entropy)
        return (moved.state, after), tuple(jnp.asarray(part, jnp.result_type(float)) for part in made)

    first = jnp.asarray(learner.seen(start), jnp.result_type(float))
    _, (after, *rest) = jax.lax.scan(step, (start, first), jax.random.split(key, horizon))
    return Path(jnp.concatenate([first[None], after]), *rest)


MEASURES = ("imagined_return", "entropy", "critic_error", "spread")
"""Columns of ``Memory.course``: mean λ-return of start states, of rewards alone; mean entropy of imagined
steps, nats; root mean squared error of V, in rewards' units; running spread of the returns of rewards. Steps
past an end do not count."""

_LOOKS = 100
"""Rows of ``Memory.course`` in a fit of that many steps or more."""


class Memory(NamedTuple):
    """What goes on from step to step besides parameters.

    Attributes:
        slow: The slow critic's parameters.
        spread: Running spread of returns.
        course: ``MEASURES`` at equal distances of steps, (L, 4).
    """

    slow: PyTree
    spread: Scalar
    course: Float[Array, "l m"]

    @classmethod
    def begun(cls, critic: PyTree, unit: float, steps: int) -> Memory:
        """Return the memory before the first step: the slow critic is the critic."""
        return cls(critic, jnp.asarray(float(unit)), jnp.zeros((min(steps, _LOOKS), len(MEASURES))))


@dataclass(frozen=True)
class ImagineLoss:
    """The actor's loss and the critic's, each of which stops at the other.

    Attributes:
        static: What of the learner is not an array.
        space: The action space.
        settings: How to learn.
        unit: Unit of returns.
    """

    static: Any
    space: Any
    settings: Settings
    unit: float

    def __call__(
        self, params: PyTree, frozen: PyTree, rows: Datum, *, key: PRNGKey, step: Any, memory: Memory
    ) -> tuple[Scalar, tuple[Scalar, Memory, None]]:
        """Return the loss; the mean imagined return, the memory, and no lanes."""
        how, learner = self.settings, self.join(params, frozen)
        paths = self.paths(learner, rows, key=key)
        slow = self.join(eqx.tree_at(_critic, params, memory.slow), frozen).learned.critic
        values = jax.vmap(jax.vmap(lambda features: ahead(slow, features)))(paths.features)
        earned = self._returns(paths.rewards, paths, values[..., 0])
        entropies = self._returns(paths.entropies, paths, values[..., 1])
        heat = how.temperature * (memory.spread if how.temperature_in == "returns" else 1.0)
        alive = jax.vmap(lambda c: survival(c, discount=1.0))(paths.continues)

        spread = self._spread(jax.lax.stop_gradient(earned), alive, memory.spread, step)
        weights = jax.vmap(lambda c: survival(c, discount=how.discount * how.decay))(paths.continues)
        climbed = jax.vmap(learner.learned.gradient.surrogate)(
            earned + heat * entropies,
            (values[..., 0] + heat * values[..., 1])[:, :-1],
            paths.log_probs,
            jax.lax.stop_gradient(weights),
        )
        targets = jax.lax.stop_gradient(jnp.stack([earned, entropies], -1))
        off, critic_loss = self._critic(learner.learned.critic, paths, targets, alive, heat)
        loss = critic_loss - climbed.mean() / spread
        entropy = (alive * paths.entropies).sum() / alive.sum()
        seen = jax.lax.stop_gradient(jnp.stack([earned[:, 0].mean(), entropy, off, spread]))
        course = memory.course.at[step * len(memory.course) // how.steps].set(seen)
        return loss, (seen[0], Memory(self._slower(memory.slow, _critic(params)), spread, course), None)

    def paths(self, learner: Learner, rows: Datum, *, key: PRNGKey) -> Path:
        """Imagine one path from each start."""

        def follow(start: PyTree, key: PRNGKey) -> Path:
            return imagined(learner, self.space.value, start, self.settings.horizon, key=key)

        return jax.vmap(follow)(rows.cond, jax.random.split(key, rows.x.shape[0]))

    def join(self, params: PyTree, frozen: PyTree) -> Learner:
        """Put the learner together."""
        return eqx.combine(params, frozen, self.static.value)

    def _returns(
        self, rewards: Float[Array, "n h"], paths: Path, values: Float[Array, "n h1"]
    ) -> Float[Array, "n h"]:
        def one(rewards: Array, continues: Array, values: Array) -> Array:
            how = self.settings
            return lambda_returns(rewards, continues, values, discount=how.discount, decay=how.decay)

        return jax.vmap(one)(rewards, paths.continues, values[:, 1:])

    def _critic(
        self, critic: Any, paths: Path, targets: Float[Array, "n h 2"], alive: Float[Array, "n h"], heat: Any
    ) -> tuple[Scalar, Scalar]:
        """Return the error of V, and −log p of the returns, steps past an end left out as they are likely."""
        features, alive = jax.lax.stop_gradient((paths.features[:, :-1], alive.reshape(-1)))
        flat = features.reshape(-1, features.shape[-1]), targets.reshape(-1, 2)
        nll = jax.vmap(lambda f, g: -critic.log_evidence(Datum(g, f)))(*flat)
        off = jax.lax.stop_gradient(jax.vmap(lambda f: ahead(critic, f))(flat[0])) - flat[1]
        weight = alive / jnp.maximum(alive.sum(), 1.0)
        return jnp.sqrt(weight @ (off[:, 0] + heat * off[:, 1]) ** 2), weight @ nll

    def _spread(
        self, returns: Float[Array, "n h"], alive: Float[Array, "n h"], before: Scalar, step: Any
    ) -> Scalar:
        low, high = quantiles(returns.reshape(-1), alive.reshape(-1), jnp.array([0.05, 0.95]))
        now = jnp.maximum(high - low, _LEAST_SPREAD * self.unit)
        return jnp.where(step == 0, now, before + _SPREAD_RATE * (now - before))

    def _slower(self, slow: PyTree, critic: PyTree) -> PyTree:
        rate = self.settings.slow_rate
        return jax.tree.map(lambda old, new: old + rate * (jax.lax.stop_gradient(new) - old), slow, critic)


def _critic(params: PyTree) -> PyTree:
    return params.learned.critic


def quantiles(
    values: Float[Array, "n"], weights: Float[Array, "n"], at: Float[Array, "q"]
) -> Float[Array, "q"]:
    """Return the least values with so much of the weight at or below them; ``at`` above 0.

    Example:
        >>> import jax.numpy as jnp
        >>> weights = jnp.array([1.0, 0.0, 1.0, 1.0])
        >>> quantiles(jnp.array([3.0, jnp.inf, 1.0, 2.0]), weights, jnp.array([0.1, 0.5, 1.0])).tolist()
        [1.0, 2.0, 3.0]
    """
    order = jnp.argsort(values)
    below = jnp.cumsum(weights[order])
    return values[order][jnp.searchsorted(below, at * below[-1])]
