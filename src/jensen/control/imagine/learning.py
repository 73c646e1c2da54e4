"""Actor-critic in imagination: a policy learnt in a world, simulated or fitted, without acting outside it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import equinox as eqx
import jax
import numpy as np

from jensen.control.imagine.actors import ahead
from jensen.control.imagine.climb import climb
from jensen.control.imagine.loss import MEASURES, ActorCritic, Learner, Settings
from jensen.control.imagine.policy import ActorPolicy
from jensen.control.imagine.start import begun, features_of, fitting_space, starting_states
from jensen.control.policies.base import Policy
from jensen.control.policies.fitted import MixturePolicy
from jensen.control.spaces import ActionSpace, space_from
from jensen.control.worlds.base import ObservedWorld
from jensen.control.worlds.model import ModelWorld
from jensen.core import AbstractWorld
from jensen.errors import check_key
from jensen.fit import History, Run
from jensen.fit.persist import load_tree, save_tree
from jensen.typing import PRNGKey, Scalar

_NAME = "imagined"
"""Stem of the files that hold a learnt actor-critic."""


class StateValue(eqx.Module):
    """V(s) of a world's state.

    Attributes:
        critic: p(G | features).
        features: Of a state.
        heat: What a nat of entropy is worth, in rewards' units.
    """

    critic: Any
    features: Any
    heat: Any

    def __call__(self, state: Any) -> Scalar:
        """Return what the policy is worth from there on, its entropies included, in rewards' units."""
        rewards, entropies = ahead(self.critic, self.features(state))
        return rewards + self.heat * entropies


@dataclass(frozen=True, eq=False)
class Imagined:
    """A policy learnt in imagination, and how it was learnt.

    Attributes:
        learned: Actor and critic.
        world: The world whose beliefs the actor reads; None where it reads observations as they are.
        features: State to what it reads; None where the world says.
        space: Of actions.
        settings: How it was learnt.
        history: λ-return of the start states at each step, of rewards alone, in place of a bound.
        measures: By name, see ``MEASURES``, arrays (L, ) over the steps at equal distances.
        stop_reason: ``"steps"`` or ``"interrupted"``.
        key: Randomness of the policy.
    """

    learned: ActorCritic
    world: ObservedWorld | None
    features: Callable[[Any], Any] | None
    space: ActionSpace
    settings: Settings
    history: History
    measures: dict[str, np.ndarray]
    stop_reason: str
    key: PRNGKey

    @property
    def policy(self) -> Policy:
        """Acts by the actor's mean, of choices the likeliest."""
        return self.acting()

    def acting(self, choose: str = "likeliest") -> Policy:
        """Return a policy.

        Args:
            choose: ``"likeliest"``, the actor's mean or its likeliest choice, or ``"sample"``.
        """
        if self.world is None:
            return MixturePolicy(self.learned.actor, self.space, choose=choose, key=self.key)
        actor, features = self.learned.actor, self.features
        return ActorPolicy(actor, self.world, self.space, features=features, choose=choose, key=self.key)

    @property
    def value(self) -> StateValue:
        """What a state is worth: for a planner, whose plans it ends."""
        features, how = self.features, self.settings
        if features is None and isinstance(self.world, ModelWorld):
            features = self.world.features
        unit = float(np.nan_to_num(self._last("spread"))) if how.temperature_in == "returns" else 1.0
        return StateValue(self.learned.critic, features, how.temperature * unit)

    def _last(self, name: str) -> float:
        """Return a measure at the end; NaN where not a step was taken."""
        return float(self.measures[name][-1]) if len(self.measures[name]) else float("nan")

    @property
    def seconds(self) -> float:
        """Wall time of training."""
        return self.history.seconds

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Save to a folder, which ``load_imagined`` reads; of worlds, learned ones are saved.

        Raises:
            InputError: A part has no name to be saved by, or the files cannot be written.
        """
        history = self.history
        course = {"step": history.step, "bound": history.bound, **self.measures}
        note = {
            "settings": {**asdict(self.settings), "widths": list(self.settings.widths)},
            "space": self.space.facts(),
            "stop_reason": self.stop_reason,
            "history": {"events": list(history.events), "seconds": history.seconds, "chunk": history.chunk},
        }
        world = self.world if isinstance(self.world, ModelWorld) else None
        tree = {"learned": self.learned, "world": world, "course": course}
        save_tree(os.fspath(folder), _NAME, tree, extra=note)

    def __repr__(self) -> str:
        last = {name: self._last(name) for name in MEASURES}
        by = type(self.learned.gradient).__name__
        return "\n".join(
            [
                f"Imagined: {type(self.learned.actor).__name__} by {by}, actions {self.space}",
                f"stopped: {self.stop_reason}, {len(self.history.step):,} steps in {self.seconds:.1f} s",
                f"imagined return {last['imagined_return']:.4g} (γ = {self.settings.discount:g}), entropy "
                f"{last['entropy']:.3g} nats, error of V {last['critic_error']:.3g}",
            ]
        )


def imagine(
    world: Any,
    starts: Any,
    space: Any,
    *,
    key: PRNGKey,
    features: Callable[[Any], Any] | None = None,
    learned: ActorCritic | None = None,
    run: Run | str | os.PathLike[str] | None = None,
    **settings: Any,
) -> Imagined:
    r"""Learn a policy from paths imagined in a world.

    From start states the actor acts in the world for H steps. The critic learns the λ-returns met on the way,
    of rewards and of entropies apart, each path ended by a slow copy of the critic; the actor climbs E G_0:
    the rewards of a path, the temperature times its entropies, and the value of its end.

    Args:
        world: A fitted model with a reward head, a ``ModelWorld`` made of it, or a simulator's world.
        starts: States stacked on a leading axis, as ``ModelWorld.states`` gives them; of a fitted model also
            ``fit.Data``, every real step of which is a start.
        space: The environment's action space. A Box is squashed into by tanh where it is bounded.
        key: Randomness: weights, batches, paths, the policy's own.
        features: State to the vector that actor and critic read; a ModelWorld has its own. Where the world is
            no ``ObservedWorld``, the policy takes observations to be these vectors.
        learned: An actor-critic to go on with, such as ``Imagined.learned``, or of your own networks.
        run: A run directory: checkpoints, metrics, and the result, see ``load_imagined``.
        settings: Anything in ``Settings``: ``steps``, ``horizon``, ``discount``, ``temperature``, ...

    Returns:
        The policy, and how it was learnt. Ctrl-C ends early and keeps what was learnt.

    Raises:
        InputError: In one line: unknown options, values out of range, start states that are not finite,
            an action space that does not fit the world.
        CombinationError: An actor that does not fit the space or the gradient.
        NonFiniteError: Rewards, features or densities stay NaN or infinite: which step of imagination.

    References:
        Hafner et al. 2020 (imagined λ-returns), 2021 (discrete latents), 2023 (returns' spread).

    Example:
        >>> import jax, jax.numpy as jnp, jensen as jn
        >>> class Line(jn.core.AbstractWorld):
        ...     action_dim: int = 1
        ...     def step(self, state, action, *, key):
        ...         return jn.core.Moved(state + action, -((state + action) ** 2).sum(), jnp.ones(()))
        >>> box = jn.control.BoxActions(
        ...     np.array([-1.0]), np.array([1.0]), (1,), np.dtype("float32"), bounds="squash")
        >>> learnt = imagine(
        ...     Line(), jnp.linspace(-2, 2, 64)[:, None], box, features=lambda state: state, steps=20,
        ...     horizon=3, batch_size=16, widths=(8,), key=jax.random.key(0))
        >>> learnt.policy.predict(np.zeros((3, 1))).shape
        (3, 1)
    """
    check_key(key)
    how = Settings.of(settings)
    to_states, to_start, to_fit, to_policy = jax.random.split(key, 4)
    world = world if isinstance(world, AbstractWorld) else ModelWorld(world)
    valid, seen = fitting_space(space, world), features_of(world, features)
    states = starting_states(world, starts, key=to_states)
    learner, unit = begun(Learner(learned, world, seen), states, valid, how, key=to_start)
    keeping = Run(os.fspath(run)) if isinstance(run, str | os.PathLike) else run
    ready = climb(learner, states, valid, how, unit, run=keeping, key=to_fit)
    outcome = ready.run()
    state, step = outcome.state, int(outcome.state.step)
    looked = np.asarray(state.memory.course)[: -(-step * len(state.memory.course) // how.steps)]
    whole = ready.split.join(jax.tree.map(jax.numpy.asarray, state.params))
    result = Imagined(
        whole.learned,
        world if isinstance(world, ObservedWorld) else None,
        seen,
        valid,
        how,
        ready.course.history(step),
        dict(zip(MEASURES, looked.T, strict=True)),
        outcome.reason or "steps",
        to_policy,
    )
    if keeping is not None:
        result.save(keeping.folder)
    return result


def load_imagined(
    folder: str | os.PathLike[str],
    *,
    key: PRNGKey,
    world: ObservedWorld | None = None,
    features: Callable[[Any], Any] | None = None,
) -> Imagined:
    """Return what ``imagine(..., run=folder)`` or ``Imagined.save`` kept.

    Args:
        folder: Where, or a run of ``jensen control imagine``, which keeps it in ``actor``.
        key: Randomness of the policy.
        world: As it was given, where it was neither a ModelWorld, which is saved, nor unneeded.
        features: As they were given.

    Raises:
        CorruptRunError: The files are missing or damaged.
    """
    inner = os.path.join(folder, "actor")
    tree, note = load_tree(inner if os.path.isdir(inner) else os.fspath(folder), _NAME)
    course = {name: np.asarray(values) for name, values in tree["course"].items()}
    facts = {**note["history"], "events": tuple(note["history"]["events"])}
    return Imagined(
        tree["learned"],
        tree["world"] if world is None else world,
        features,
        space_from(note["space"]),
        Settings.of(note["settings"]),
        History(step=course.pop("step"), bound=course.pop("bound"), **facts),
        course,
        note["stop_reason"],
        key,
    )
