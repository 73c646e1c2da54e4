"""Worlds that were learned: a fitted recurrent model to act in."""

from __future__ import annotations

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.control.worlds.base import Belief, Latent, ObservedWorld, nothing_seen, seen
from jensen.core import AbstractWorld, CarriesOn, Datum, HasRecurrence, Inference, Moved, real_steps_of
from jensen.dist import AbstractRelaxable, draw
from jensen.errors import InputError, nearest
from jensen.fit import Data, Fitted
from jensen.models.likelihoods import Bernoulli, Joined
from jensen.typing import Array, Bool, Float, PRNGKey

LATENTS = ("sample", "mean")

_BLOCK = 64
"""Episodes whose states are inferred in one compiled call."""


class ModelWorld(ObservedWorld):
    """A fitted recurrent model as a world: z' ~ p(z' | carry'), its reward read off a head.

    Columns of x after those of the observation are heads: ``reward`` holds r(s_{t−1}, a_{t−1}), which arrived
    with o_t, in the environment's units, and ``continues`` 0 at an observation that ended the episode, else
    1. What is believed is the posterior one step at a time: a path is drawn as observations come, and
    ``belief.law`` is q(z_t | carry_t, o_t) along it.

    Args:
        fitted: What ``fit.gradient`` returned, or an ``Inference``: models.RSSM, or another recurrent model
            with ``heads``, under ``posteriors.Filtering``.
        reward: Column of the reward, counted from the first after the observation.
        continues: Column that says whether the episode goes on; by default that of the first Bernoulli head.
            Without one nothing ends.
        latent: ``"sample"`` draws z', and categories pass the gradient of their mean; ``"mean"`` takes the
            mean, so that nothing is random.

    Raises:
        InputError: A model without recurrence or without a reward head, a posterior that cannot go on from
            step to step, a column that is not there.

    References:
        Hafner et al. 2019.

    Example:
        >>> import jax, jax.numpy as jnp, jensen as jn
        >>> gaussian = jn.families.DiagGaussian(2)
        >>> model = jn.models.RSSM(
        ...     3, 1, deter_dim=8, latent=gaussian, heads=(jn.models.likelihoods.Gaussian(1),),
        ...     key=jax.random.key(0))
        >>> q = jn.posteriors.Filtering(gaussian, like=model, key=jax.random.key(1))
        >>> world = ModelWorld(jn.Inference(model, q, jn.objectives.ELBO(), jn.gradients.Reparam()))
        >>> key, still = jax.random.key(2), jnp.zeros(1)
        >>> belief = world.observe(world.begin(), jnp.ones(3), still, key=key)
        >>> moved = world.step(world.drawn(belief, key=key), still, key=key)
        >>> moved.reward.shape, float(moved.continues)
        ((), 1.0)
    """

    inference: Any
    reward: int
    continues: int | None
    latent: str

    def __init__(self, fitted: Any, *, reward: int = 0, continues: int | None = None, latent: str = "sample"):
        inference = fitted.inference if isinstance(fitted, Fitted) else fitted
        if isinstance(inference, AbstractWorld):
            raise InputError(
                f"{type(inference).__name__} is a world whose states are not seen; to plan in it, "
                "control.SeenWorld(world, read, width) reads them off an observation"
            )
        if not isinstance(inference, Inference):
            raise InputError(f"ModelWorld takes what a fit returned, or an Inference, not {type(fitted)}")
        if latent not in LATENTS:
            raise InputError(f"ModelWorld: latent={latent!r} is unknown{nearest(latent, LATENTS)}")
        _check_recurrent(inference)
        heads = inference.model.data_dim - inference.model.seen_dim
        if not heads:
            raise InputError(
                f"ModelWorld: {type(inference.model).__name__} has no reward head, and a planner needs one; "
                "make it with heads=(likelihoods.Gaussian(1),), rewards in the column after the observation"
            )
        continues = _first_bernoulli(inference.model) if continues is None else continues
        for name, column in (("reward", reward), ("continues", continues)):
            if column is not None and not 0 <= column < heads:
                raise InputError(f"ModelWorld: {name}={column}, but the model has {heads} columns of heads")
        self.inference = inference
        self.reward, self.continues, self.latent = reward, continues, latent

    @property
    def model(self) -> Any:
        """The model."""
        return self.inference.bound_model()

    @property
    def action_dim(self) -> int:
        """Columns of an action."""
        return self.inference.model.cond_dim

    @property
    def observation_dim(self) -> int:
        """Columns of an observation."""
        return self.inference.model.seen_dim

    def step(self, state: Latent, action: Float[Array, "a"], *, key: PRNGKey) -> Moved:
        """Return the next state, and the reward and end it foresees."""
        model = self.model
        # the model's own word for a step that is not the first, with this action before it
        entry = jax.tree.map(lambda leaf: leaf[1], model.inputs(jnp.stack([action, action]), 2))
        carry = model.advance(*state, entry)
        law = model.prior_from(carry)
        if self.latent == "mean":
            z = law.mean
        else:
            law = law.straight_through() if isinstance(law, AbstractRelaxable) else law
            z, _ = law.sample_and_log_prob(key=key)
        heads = model.observation_from(z, carry).mean[model.seen_dim :]
        goes_on = jnp.ones(()) if self.continues is None else heads[self.continues]
        return Moved(Latent(carry, z), heads[self.reward], goes_on)

    def features(self, state: Latent) -> Float[Array, "f"]:
        """Return a state as the vector that networks read: the carry's features, and z."""
        return jnp.concatenate([self.model.features(state.carry), state.z.reshape(-1)])

    def pictured(self, state: Latent) -> Float[Array, "s"]:
        """Return E[o | state]."""
        model = self.model
        return model.observation_from(state.z, state.carry).mean[: model.seen_dim]

    def begin(self) -> Belief:
        """Return the start of an episode: nothing was seen."""
        return nothing_seen(self.inference)

    def observe(
        self, belief: Belief, observation: Float[Array, "s"], action: Float[Array, "a"], *, key: PRNGKey
    ) -> Belief:
        """Take the posterior one step on."""
        return seen(self.inference, belief, observation, action, key=key)

    def expected(self, belief: Belief) -> Latent:
        """Return the carry and the mean of z_t."""
        return Latent(belief.end.state[0], belief.law.mean)

    def drawn(self, belief: Belief, *, key: PRNGKey) -> Latent:
        """Return the carry and a draw of z_t."""
        return Latent(belief.end.state[0], belief.law.sample_and_log_prob(key=key)[0])

    def states(self, data: Any, *, key: PRNGKey) -> Latent:
        """Infer the states of recorded episodes, to imagine onwards from.

        States at which an episode ended (``continues`` is 0 there) are left out: no step follows them, and a
        model that never saw one imagines anything.

        Args:
            data: What the model was fitted to, or like it: ``fit.Data`` or arrays (N, T, D).
            key: Randomness; one path is drawn an episode.

        Returns:
            The states of all other real steps, episode after episode, stacked on a leading axis.

        Raises:
            InputError: No state is left.
        """
        rows = Data.of(data).rows()
        parts = []
        for first in range(0, len(rows.x), _BLOCK):
            part = jax.tree.map(lambda leaf, i=first: jnp.asarray(leaf[i : i + _BLOCK]), rows)
            keys = jax.vmap(partial(jax.random.fold_in, key))(first + jnp.arange(len(part.x)))
            walked = jax.tree.map(np.asarray, _inferred(self.inference, part, keys))
            real = np.asarray(real_steps_of(part)) & self._goes_on(part)
            parts.append(jax.tree.map(lambda leaf, real=real: leaf[real], walked))
        if not any(len(jax.tree.leaves(part)[0]) for part in parts):
            raise InputError(
                "ModelWorld: continues is 0 at every step of the data; there is nothing to go on from"
            )
        return jax.tree.map(lambda *leaves: jnp.asarray(np.concatenate(leaves)), *parts)

    def _goes_on(self, rows: Datum) -> Bool[np.ndarray, "n t"]:
        """Return which steps did not end their episode, as far as the data say."""
        if self.continues is None:
            return np.ones(np.shape(rows.x)[:2], bool)
        column = self.observation_dim + self.continues
        over = np.asarray(rows.x)[..., column] == 0
        return ~over if rows.mask is None else ~(over & np.asarray(rows.mask, bool)[..., column])


@eqx.filter_jit
def _inferred(inference: Inference, rows: Datum, keys: Array) -> Latent:
    def one(datum: Datum, key: PRNGKey) -> Latent:
        to_q, to_z = jax.random.split(key)
        drawn = draw(inference.posterior(inference.bound_model(), datum, key=to_q), key=to_z)
        return Latent(drawn.carry.carries, drawn.z)

    return jax.vmap(one)(rows, keys)


def _check_recurrent(inference: Inference) -> None:
    model, posterior = inference.model, inference.posterior
    if not isinstance(model, HasRecurrence):
        raise InputError(f"ModelWorld: {type(model).__name__} has no dynamics to act in; use models.RSSM")
    if not isinstance(posterior, CarriesOn):
        raise InputError(
            f"ModelWorld: {type(posterior).__name__} cannot follow an episode as it happens; fit with "
            "posteriors.Filtering"
        )


def _first_bernoulli(model: Any) -> int | None:
    """Return the column, counted from the first head, of the first Bernoulli head."""
    parts = model.likelihood_family.parts if isinstance(model.likelihood_family, Joined) else ()
    column = 0
    for part in parts[1:]:
        if isinstance(part, Bernoulli):
            return column
        column += part.data_dim
    return None
