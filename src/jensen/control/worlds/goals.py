"""Goals given as observations: a fitted state-space model as a world that rewards being near one in z."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jensen.control.worlds.base import ObservedWorld
from jensen.core import Datum, HasMarkovLatents, Inference, Moved
from jensen.dist import draw
from jensen.errors import InputError
from jensen.fit import Fitted
from jensen.posteriors import Filtering, OpenLoop
from jensen.typing import Array, Float, PRNGKey


class GoalWorld(ObservedWorld):
    r"""z' = E[z' | z, a], with reward −state_cost |z' − z*|² − action_cost |a|²; z* = E_q[z | goal].

    Made for ``models.EmbedToControl``, whose dynamics the planner ``ILQR`` knows how to use.

    Args:
        fitted: What ``fit.gradient`` returned, or an ``Inference``: a model with Markov latents under
            ``posteriors.Filtering(..., memory=0)``, which infers z from one observation.
        goal: An observation of where to go, (D,).
        state_cost: Weight of the squared distance in z.
        action_cost: Weight of the squared action.

    Raises:
        InputError: A model or posterior of another kind, a goal of another shape or not finite.

    References:
        Watter et al. 2015.

    Example:
        >>> import jax, jax.numpy as jnp, jensen as jn
        >>> e2c = jn.models.EmbedToControl(4, 1, 2, decoder=(8,), widths=(8,), key=jax.random.key(0))
        >>> q = jn.posteriors.Filtering(
        ...     jn.families.DiagGaussian(2), like=e2c, memory=0, widths=(8,), key=jax.random.key(1))
        >>> inference = jn.Inference(e2c, q, jn.objectives.ELBO(), jn.gradients.Reparam())
        >>> world = GoalWorld(inference, jnp.ones(4))
        >>> there = world.encode(jnp.ones(4))
        >>> world.step(there, jnp.zeros(1), key=jax.random.key(2)).state.shape
        (2,)
    """

    inference: Any
    goal: Float[Array, "d"]
    state_cost: float
    action_cost: float

    def __init__(self, fitted: Any, goal: Any, *, state_cost: float = 1.0, action_cost: float = 1e-2):
        inference = fitted.inference if isinstance(fitted, Fitted) else fitted
        if not isinstance(inference, Inference) or not isinstance(inference.model, HasMarkovLatents):
            raise InputError("GoalWorld takes a fit of models.EmbedToControl, or of another Markov model")
        posterior: Any = inference.posterior
        posterior = posterior.base if isinstance(posterior, OpenLoop) else posterior
        if not isinstance(posterior, Filtering) or posterior.gru is not None:
            raise InputError(
                "GoalWorld: a goal is one observation, and this posterior needs those before it; fit with "
                "posteriors.Filtering(..., memory=0)"
            )
        model: Any = inference.model
        goal, wanted = np.asarray(goal, np.float32), model.seen_dim
        if goal.shape != (wanted,) or not np.isfinite(goal).all():
            raise InputError(
                f"GoalWorld: the goal has shape {goal.shape}; it must be one observation of {wanted} finite "
                "numbers"
            )
        self.inference = inference
        self.state_cost, self.action_cost = state_cost, action_cost
        self.goal = self.encode(jnp.asarray(goal))

    @property
    def action_dim(self) -> int:
        """Columns of an action."""
        return self.inference.model.cond_dim

    @property
    def observation_dim(self) -> int:
        """Columns of an observation."""
        return self.inference.model.seen_dim

    def encode(self, observation: Float[Array, "s"]) -> Float[Array, "d"]:
        """Return E_q[z | o]."""
        return encoded(self.inference, observation)

    def step(self, state: Float[Array, "d"], action: Float[Array, "a"], *, key: PRNGKey) -> Moved:
        """Return the mean of what the model foresees; nothing is random, nothing ends."""
        model = self.inference.bound_model()
        here = Datum(jnp.zeros((2, self.observation_dim)), jnp.asarray(action)[None])
        z = model.transition(state, jnp.zeros((), jnp.int32), here).mean
        cost = self.state_cost * jnp.sum((z - self.goal) ** 2) + self.action_cost * jnp.sum(action**2)
        return Moved(z, -cost, jnp.ones(()))

    def begin(self) -> Float[Array, "d"]:
        """Return a state nobody looks at."""
        return jnp.zeros(self.inference.model.latent_dim)

    def observe(
        self, belief: Any, observation: Float[Array, "s"], action: Float[Array, "a"], *, key: PRNGKey
    ) -> Float[Array, "d"]:
        """Encode the observation: what was before it is not needed."""
        return self.encode(observation)

    def expected(self, belief: Float[Array, "d"]) -> Float[Array, "d"]:
        """Return the mean of z."""
        return belief

    def drawn(self, belief: Float[Array, "d"], *, key: PRNGKey) -> Float[Array, "d"]:
        """Return the mean of z, too."""
        return belief


def encoded(inference: Inference, observation: Float[Array, "s"]) -> Float[Array, "d"]:
    """Return E_q[z | o] of one observation, that is of a sequence of one."""
    model, key = inference.bound_model(), jax.random.key(0)
    more = jnp.zeros(model.data_dim - model.seen_dim, observation.dtype)
    datum = Datum(jnp.concatenate([observation, more])[None], jnp.zeros((1, model.cond_dim)))
    q = inference.posterior(model, datum, key=key)
    return draw(q, key=key).carry.laws.mean[0]
