"""How a fitted model proposes actions: z ~ p(z | s), then y from p(y | s, z)."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.core import HasCondition, HasObservation, HoldsLatent
from jensen.dist import AbstractEnumerable, AbstractObservation, CategoricalRow, Empty
from jensen.errors import InputError, nearest
from jensen.models.conditional.episode_decoder import EpisodeDecoder
from jensen.typing import Array, Float, PRNGKey, PyTree

CHOICES = ("sample", "component", "likeliest", "mean")


class AbstractHead(eqx.Module):
    """A model with a rule for choosing among what it holds possible; traced by JAX, one state at a time."""

    model: eqx.AbstractVar[Any]

    @abstractmethod
    def begin(self, state: Float[Array, "s"], *, key: PRNGKey) -> PyTree:
        """Choose z."""

    @abstractmethod
    def propose(self, z: PyTree, state: Float[Array, "s"], *, key: PRNGKey) -> Float[Array, "d"]:
        """Choose y given z."""


class MixtureHead(AbstractHead):
    """z and y anew each time.

    Attributes:
        model: p(y | s) with an enumerable latent, or none.
        choose: ``"sample"``, ``"component"``, ``"likeliest"`` or ``"mean"``.
    """

    model: Any
    choose: str

    def begin(self, state: Float[Array, "s"], *, key: PRNGKey) -> PyTree:
        """Draw the component, or take the likeliest."""
        prior = self.model.prior_of(state)
        if self.choose != "likeliest" or isinstance(prior, Empty):
            return prior.sample_and_log_prob(key=key)[0]
        support = prior.support()
        best = jnp.argmax(jax.vmap(lambda z: jnp.sum(prior.log_prob(z)))(support))
        return jax.tree.map(lambda leaf: leaf[best], support)

    def propose(self, z: PyTree, state: Float[Array, "s"], *, key: PRNGKey) -> Float[Array, "d"]:
        """Draw y given the component, take its mean, or the mean over all components."""
        if self.choose == "sample":
            return self.model.likelihood(z, state).sample(key=key)
        if self.choose != "mean":
            return self.model.likelihood(z, state).mode
        prior = self.model.prior_of(state)
        support = prior.support()
        weights = jax.vmap(lambda z: jnp.exp(jnp.sum(prior.log_prob(z))))(support)
        return weights @ jax.vmap(lambda z: self.model.likelihood(z, state).mean)(support)


class LatentHead(AbstractHead):
    """z is chosen once for as long as it is held; y given z.

    Attributes:
        model: p(y | s, z) p(z | s).
        choose: ``"mean"`` (of categories: the likeliest) or ``"sample"``, given z.
        latent: ``"sample"``, or ``"zero"`` to act as if z were 0.
    """

    model: Any
    choose: str
    latent: str

    def begin(self, state: Float[Array, "s"], *, key: PRNGKey) -> PyTree:
        """Draw z ~ p(z | s)."""
        z, _ = self.model.prior_of(_as_cond(self.model, state)).sample_and_log_prob(key=key)
        return jax.tree.map(jnp.zeros_like, z) if self.latent == "zero" else z

    def propose(self, z: PyTree, state: Float[Array, "s"], *, key: PRNGKey) -> Float[Array, "d"]:
        """Decode."""
        law = _law(self.model, z, state)
        return law.sample(key=key) if self.choose == "sample" else law.mode


def _as_cond(model: Any, state: Float[Array, "s"]) -> Array:
    """Return a state as the first of a unit of steps, where models take units."""
    return state[None] if isinstance(model, HoldsLatent) else state


def _law(model: Any, z: Any, state: Float[Array, "s"]) -> AbstractObservation:
    return model.step(z, state) if isinstance(model, EpisodeDecoder) else model.likelihood(z, state)


def check_model(model: Any, who: str) -> None:
    """Refuse a model that is not a conditional one.

    Raises:
        InputError: It does not condition on anything, or cannot say p(y | s, z).
    """
    if not isinstance(model, HasCondition) or not isinstance(model, HasObservation | HoldsLatent):
        raise InputError(
            f"{who}: {type(model).__name__} is not a model of actions given states; fit one of models."
            "MixtureDensity, ConditionalDecoder, EpisodeDecoder, HeteroscedasticNet, CategoricalNet"
        )


def check_choice(choose: str, model: Any, who: str) -> None:
    """Refuse a way to choose that is unknown, or not to be had from this model.

    Raises:
        InputError: Saying why.
    """
    if choose not in CHOICES:
        raise InputError(f"{who}: choose={choose!r} is unknown{nearest(choose, CHOICES)}")
    prior, law = laws(model)
    if not isinstance(prior, AbstractEnumerable):
        raise InputError(
            f"{who}: the latent of {type(model).__name__} is {type(prior).__name__}, not a component; "
            "use control.LatentPolicy"
        )
    if choose == "mean" and isinstance(law, CategoricalRow):
        raise InputError(f"{who}: discrete actions have no mean; use choose='likeliest' or 'sample'")


def laws(model: Any) -> tuple[Any, AbstractObservation]:
    """Return the structure of p(z | s) and p(y | s, z), without their numbers."""
    state = jax.ShapeDtypeStruct((model.cond_dim,), jnp.result_type(float))

    def both(state: Array, key: PRNGKey) -> tuple[Any, Any]:
        cond = _as_cond(model, state)
        prior = model.prior_of(cond)
        return prior, _law(model, prior.sample_and_log_prob(key=key)[0], state)

    return eqx.filter_eval_shape(both, state, jax.random.key(0))
