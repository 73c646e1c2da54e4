"""Bonuses from networks that predict: their disagreement, their error, and a random target's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.control.explore.gain import affine
from jensen.control.explore.moments import Moments
from jensen.control.explore.online import Memory, Online, flat_rows
from jensen.control.explore.transitions import AbstractBonus, Foresees, Transitions
from jensen.core import Inference
from jensen.errors import at_least, check_key
from jensen.gradients import Analytic
from jensen.models import HeteroscedasticNet
from jensen.nets import MLP
from jensen.objectives import ELBO
from jensen.posteriors import Exact
from jensen.typing import Array, Float, PRNGKey, PRNGKeys, Scalar, Shaped

if TYPE_CHECKING:
    import optax


def dynamics(
    observation_dim: int, action_dim: int, widths: Sequence[int] = (64,), *, key: PRNGKey
) -> Inference:
    """Return a network for o' − o given (1, o, a), by least squares (unit noise)."""
    net = HeteroscedasticNet(
        observation_dim, 1 + observation_dim + action_dim, widths=widths, variance="unit", key=key
    )
    return Inference(net, Exact(), ELBO(), Analytic())


class Disagreement(Foresees):
    """Variance over an ensemble of what comes next, averaged over columns (Pathak et al. 2019).

    Members start differently and draw their own batches; all learn in one executable. Noise makes them
    agree on its mean: it earns nothing in the end.

    Args:
        members: Inferences of p(o' − o | 1, o, a) of one structure, like `dynamics`.
        optimizer: An optax transformation.
        memory: Most transitions remembered.
        batch_size: Rows a step, of each member.
        steps: Steps an update.

    Raises:
        InputError: Fewer than two members.

    References:
        Pathak, Gandhi & Gupta 2019, Self-supervised exploration via disagreement.

    Example:
        >>> import optax
        >>> members = [dynamics(2, 1, (8,), key=jax.random.key(i)) for i in range(3)]
        >>> bonus = Disagreement(members, optax.adam(1e-2))
        >>> steps = Transitions(jnp.zeros((4, 2)), jnp.ones((4, 1)), jnp.ones((4, 2)))
        >>> bonus.update(steps, key=jax.random.key(1)).bonus(steps).shape
        (4,)
    """

    online: Online

    def __init__(
        self,
        members: Sequence[Inference],
        optimizer: optax.GradientTransformation,
        *,
        memory: int = 10_000,
        batch_size: int = 32,
        steps: int = 1,
    ):
        at_least("Disagreement", 2, members=len(members))
        stacked = jax.tree.map(
            lambda *leaves: jnp.stack(leaves) if eqx.is_array(leaves[0]) else leaves[0], *members
        )
        model = members[0].model
        rows = Memory.empty(memory, model.data_dim, model.cond_dim)
        self.online = eqx.filter_vmap(
            lambda member: Online(member, optimizer, rows, batch_size=batch_size, steps=steps)
        )(stacked)

    @property
    def num_members(self) -> int:
        """M."""
        return len(self.online.taken)

    def predictions(self, observation: Shaped[Array, "s"], action: Shaped[Array, "a"]) -> Float[Array, "m d"]:
        """Return every member's mean of o' − o."""
        cond = affine(observation, action)
        return eqx.filter_vmap(lambda member: member.inference.model.law(cond).mean)(self.online)

    def ahead(self, observation: Shaped[Array, "s"], action: Shaped[Array, "a"]) -> Scalar:
        """Return the variance."""
        return self.predictions(observation, action).var(0).mean()

    def bonus(self, transitions: Transitions) -> Float[Array, "n"]:
        """Return the same for every transition."""
        seen, action = (flat_rows(part) for part in transitions[:2])
        return transitions.earned(jax.vmap(self.ahead)(seen, action))

    def update(self, transitions: Transitions, *, key: PRNGKey) -> Disagreement:
        """Let all members learn."""
        seen, action, after = (flat_rows(part) for part in transitions[:3])
        cond, weight = jax.vmap(affine)(seen, action), transitions.happened

        def learned(member: Online, key: PRNGKey) -> Online:
            return member.learned(after - seen, cond, weight, key=key)

        keys: PRNGKeys = jax.random.split(key, self.num_members)
        return eqx.tree_at(lambda b: b.online, self, eqx.filter_vmap(learned)(self.online, keys))


class PredictionError(AbstractBonus):
    """|o' − ô'|²/S of one network's mean (Stadie et al. 2015): it pays for noise for ever.

    Args:
        inference: Of p(o' − o | 1, o, a), like `dynamics`.
        optimizer: An optax transformation.
        memory: Most transitions remembered.
        batch_size: Rows a step.
        steps: Steps an update.
    """

    online: Online

    def __init__(
        self,
        inference: Inference,
        optimizer: optax.GradientTransformation,
        *,
        memory: int = 10_000,
        batch_size: int = 32,
        steps: int = 1,
    ):
        rows = Memory.empty(memory, inference.model.data_dim, inference.model.cond_dim)
        self.online = Online(inference, optimizer, rows, batch_size=batch_size, steps=steps)

    def bonus(self, transitions: Transitions) -> Float[Array, "n"]:
        """Return the squared error of each."""
        seen, action, after = (flat_rows(part) for part in transitions[:3])
        cond = jax.vmap(affine)(seen, action)
        mean = jax.vmap(lambda row: self.online.inference.model.law(row).mean)(cond)
        return transitions.earned(((after - seen - mean) ** 2).mean(-1))

    def update(self, transitions: Transitions, *, key: PRNGKey) -> PredictionError:
        """Let the network learn."""
        seen, action, after = (flat_rows(part) for part in transitions[:3])
        cond = jax.vmap(affine)(seen, action)
        online = self.online.learned(after - seen, cond, transitions.happened, key=key)
        return eqx.tree_at(lambda b: b.online, self, online)


class RandomNetworkDistillation(AbstractBonus):
    """|f(o') − f̂(o')|², f a random network and f̂ one that learns it (Burda et al. 2019).

    Observations enter standardized by what was seen so far and clipped at ±5.

    Args:
        observation_dim: S.
        optimizer: An optax transformation.
        widths: Hidden widths of both.
        outputs: Numbers f gives.
        memory: Most observations remembered.
        batch_size: Rows a step.
        steps: Steps an update.
        key: Randomness of both networks.

    References:
        Burda, Edwards, Storkey & Klimov 2019, Exploration by random network distillation.
    """

    target: Any
    online: Online
    seen: Moments

    def __init__(
        self,
        observation_dim: int,
        optimizer: optax.GradientTransformation,
        *,
        widths: Sequence[int] = (64,),
        outputs: int = 16,
        memory: int = 10_000,
        batch_size: int = 32,
        steps: int = 1,
        key: PRNGKey,
    ):
        check_key(key)
        to_target, to_learner = jax.random.split(key)
        self.target = MLP(observation_dim, outputs, widths, key=to_target)
        learner = HeteroscedasticNet(outputs, observation_dim, widths=widths, variance="unit", key=to_learner)
        rows = Memory.empty(memory, outputs, observation_dim)
        inference = Inference(learner, Exact(), ELBO(), Analytic())
        self.online = Online(inference, optimizer, rows, batch_size=batch_size, steps=steps)
        self.seen = Moments.none((observation_dim,))

    def bonus(self, transitions: Transitions) -> Float[Array, "n"]:
        """Return the squared error of each, averaged over outputs."""
        x = self._entered(flat_rows(transitions.next_observation))
        found = jax.vmap(lambda row: self.online.inference.model.law(row).mean)(x)
        return transitions.earned(((jax.vmap(self.target)(x) - found) ** 2).mean(-1))

    def update(self, transitions: Transitions, *, key: PRNGKey) -> RandomNetworkDistillation:
        """Let f̂ learn."""
        rows, weight = flat_rows(transitions.next_observation), transitions.happened
        moved = eqx.tree_at(lambda b: b.seen, self, self.seen.updated(rows, weight))
        x = moved._entered(rows)
        online = self.online.learned(jax.vmap(self.target)(x), x, weight, key=key)
        return eqx.tree_at(lambda b: b.online, moved, online)

    def _entered(self, rows: Float[Array, "n s"]) -> Float[Array, "n s"]:
        return jnp.clip((rows - self.seen.mean) / self.seen.scale(), -5.0, 5.0)
