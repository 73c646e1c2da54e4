"""Actors and critics, conditional models of actions and of returns, and how an actor is climbed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.control.policies.heads import MixtureHead, laws
from jensen.control.spaces import ActionSpace, BoxActions, DiscreteActions
from jensen.core import ChecksData, Datum, HasExactEvidence
from jensen.dist import CategoricalRow, Empty, GaussianRow
from jensen.errors import CombinationError
from jensen.models.conditional import CategoricalNet, HeteroscedasticNet
from jensen.models.conditional.condition import HasCondFrame
from jensen.models.conditional.regression import AbstractRegression
from jensen.nets import MLP
from jensen.typing import Array, Float, PRNGKey, Scalar

_QUIET = 0.1
"""What the last weights are multiplied by, so that both networks start near a constant."""


COLUMNS = 2
"""Of a critic: returns of rewards, and of entropies."""


class Act(NamedTuple):
    """One action drawn.

    Attributes:
        action: As the world reads it: in the space's own units, or a one-hot row.
        log_prob: log p(y | s) of the row y that the actor drew, in nats.
        entropy: Of the action given the state, or an estimate of it, in nats; see ``entropy``.
    """

    action: Float[Array, "a"]
    log_prob: Scalar
    entropy: Scalar


class AbstractActorGradient(eqx.Module):
    """How the gradient of an expected return in an actor's parameters is estimated."""

    @abstractmethod
    def held(self, y: Float[Array, "a"]) -> Float[Array, "a"]:
        """Return what the actor drew, as the world gets to see it."""

    @abstractmethod
    def surrogate(
        self,
        returns: Float[Array, "t"],
        baselines: Float[Array, "t"],
        log_probs: Float[Array, "t"],
        weights: Float[Array, "t"],
    ) -> Scalar:
        """Return a number whose gradient is that of E G_0.

        Args:
            returns: λ-returns G_t along an imagined path.
            baselines: V(s_t), a function of the state alone.
            log_probs: log p(y_t | s_t).
            weights: ∏_{s<t} λ γ c_s, what of G_t enters G_0.
        """

    @abstractmethod
    def check(self, actor: Any, space: ActionSpace) -> None:
        """Refuse an actor whose gradient cannot be had in this way."""


class Pathwise(AbstractActorGradient):
    r"""∇ E G_0 = E ∇ G_0(ε): through the actions and the world's dynamics, for real actions."""

    def held(self, y: Float[Array, "a"]) -> Float[Array, "a"]:
        """Return it as it is."""
        return y

    def surrogate(
        self,
        returns: Float[Array, "t"],
        baselines: Float[Array, "t"],
        log_probs: Float[Array, "t"],
        weights: Float[Array, "t"],
    ) -> Scalar:
        """Return G_0."""
        return returns[0]

    def check(self, actor: Any, space: ActionSpace) -> None:
        """Refuse choices, and components.

        Raises:
            CombinationError: Draws of the actor are no smooth function of its parameters.
        """
        prior, law = laws(actor)
        if not isinstance(prior, Empty) or not isinstance(law, GaussianRow):
            raise CombinationError(
                f"Pathwise: draws of {type(actor).__name__} are no smooth function of its parameters; use "
                "control.Score(), or models.HeteroscedasticNet as the actor"
            )


class Score(AbstractActorGradient):
    r"""∇ E G_0 = E Σ_t (∏_{s<t} λγc_s) (G_t − V(s_t)) ∇ log p(y_t | s_t), for any actions (Williams 1992).

    V, a function of the state, costs no bias.
    """

    def held(self, y: Float[Array, "a"]) -> Float[Array, "a"]:
        """Stop gradients: the world need not be smooth."""
        return jax.lax.stop_gradient(y)

    def surrogate(
        self,
        returns: Float[Array, "t"],
        baselines: Float[Array, "t"],
        log_probs: Float[Array, "t"],
        weights: Float[Array, "t"],
    ) -> Scalar:
        """Return G_0, through which entropies are differentiated, and the score's terms."""
        ahead = jax.lax.stop_gradient(weights * (returns - baselines))
        return returns[0] + ahead @ log_probs

    def check(self, actor: Any, space: ActionSpace) -> None:
        """Take any actor that has a density."""


def check_actor(actor: Any, space: ActionSpace, width: int) -> None:
    """Refuse what cannot act.

    Raises:
        CombinationError: No exact density, or sizes that do not fit; what to use instead.
    """
    name = type(actor).__name__
    if not isinstance(actor, HasExactEvidence) or not isinstance(actor, HasCondFrame):
        raise CombinationError(
            f"an actor needs log p(a | s) exactly, which {name} does not give; use models.CategoricalNet, "
            "HeteroscedasticNet or MixtureDensity"
        )
    discrete = isinstance(laws(actor)[1], CategoricalRow)
    if discrete != isinstance(space, DiscreteActions):
        use = "CategoricalNet" if not discrete else "HeteroscedasticNet"
        raise CombinationError(f"the actor {name} does not fit actions of {space!r}; use models.{use}")
    columns = actor.data_dim if isinstance(actor, ChecksData) else space.size
    if columns != space.size or actor.cond_dim != width:
        raise CombinationError(
            f"the actor {name} turns {actor.cond_dim} numbers into {columns}; a state has {width} features, "
            f"an action {space.size} columns"
        )


def act(
    gradient: AbstractActorGradient,
    actor: Any,
    space: ActionSpace,
    features: Float[Array, "f"],
    *,
    key: PRNGKey,
) -> Act:
    """Draw an action.

    Args:
        gradient: How the actor is trained.
        actor: p(y | features).
        space: What y means.
        features: Of the state.
        key: Randomness.
    """
    to_z, to_y = jax.random.split(key)
    head = MixtureHead(actor, "sample")
    y = gradient.held(head.propose(head.begin(features, key=to_z), features, key=to_y))
    log_prob = actor.log_evidence(Datum(y, features))
    return Act(acted(space, y), log_prob, entropy(actor, space, features, y, log_prob))


def acted(space: ActionSpace, y: Float[Array, "c"]) -> Float[Array, "a"]:
    """Return an actor's row as worlds read actions."""
    if isinstance(space, DiscreteActions):
        return jax.nn.one_hot(y[0].astype(jnp.int32), space.n)
    return space.to_action(y)


def entropy(
    actor: Any, space: ActionSpace, features: Float[Array, "f"], y: Float[Array, "a"], log_prob: Scalar
) -> Scalar:
    """Return the entropy of an action given the state, in nats.

    Of choices it is exact. Of real actions it is −log p of the one that was drawn, an unbiased estimate: in a
    squashed space of the action in coordinates whose bounds are ±1, at most log 2 a column; in a clipped one
    of y, before it is clipped.
    """
    if isinstance(space, DiscreteActions):
        log_p = jax.nn.log_softmax(actor.law(features).logits)
        return -jnp.sum(jnp.exp(log_p) * log_p)
    if isinstance(space, BoxActions) and space.bounds == "squash":
        # log (1 − tanh² y), without 1 − 1
        return jnp.sum(2 * (np.log(2.0) - y - jax.nn.softplus(-2 * y))) - log_prob
    return -log_prob


def default_gradient(space: ActionSpace) -> AbstractActorGradient:
    """Return ``Score`` for choices, ``Pathwise`` for numbers."""
    return Score() if isinstance(space, DiscreteActions) else Pathwise()


def default_actor(space: ActionSpace, width: int, widths: Sequence[int], *, key: PRNGKey) -> Any:
    """Return a network for the odds of choices, or for the mean and noise of numbers, near one law."""
    if isinstance(space, DiscreteActions):
        net = MLP(width, space.n, widths, activation=jax.nn.silu, key=key).quiet(_QUIET)
        return CategoricalNet(1, space.n, width, net=net, key=key)
    net = MLP(width, 2 * space.size, widths, activation=jax.nn.silu, key=key).quiet(_QUIET)
    return HeteroscedasticNet(space.size, width, net=net, key=key)


def default_critic(width: int, widths: Sequence[int], *, key: PRNGKey) -> AbstractRegression:
    """Return a network for E[G | s], of rewards and of entropies; its maximum likelihood is least squares."""
    net = MLP(width, COLUMNS, widths, activation=jax.nn.silu, key=key).quiet(_QUIET)
    return HeteroscedasticNet(COLUMNS, width, net=net, variance="unit", key=key)


def check_critic(critic: Any) -> None:
    """Refuse a critic of other columns.

    Raises:
        CombinationError: It predicts another number of returns than two.
    """
    if critic.data_dim != COLUMNS:
        raise CombinationError(
            f"imagine: the critic predicts {critic.data_dim} returns, not {COLUMNS}, of rewards and of "
            f"entropies; give it data_dim={COLUMNS}"
        )


def ahead(critic: AbstractRegression, features: Float[Array, "f"]) -> Float[Array, "2"]:
    """Return the critic's mean: the rewards to come, and the entropies, nats."""
    return critic.law(features).mean
