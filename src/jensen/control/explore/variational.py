"""Information gain about the weights of a network: a Bayesian dynamics model by mean-field inference."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.control.explore.gain import affine
from jensen.control.explore.online import Memory, Online, flat_rows
from jensen.control.explore.transitions import AbstractBonus, Transitions
from jensen.core import AbstractLatentModel, Datum, HasCondition, HasLatentDim, Inference
from jensen.dist import AbstractDistribution, DiagGaussian, kl_divergence
from jensen.errors import InputError, at_least, check_key, nearest, positive
from jensen.families import DiagGaussian as DiagGaussianFamily
from jensen.gradients import Reparam
from jensen.objectives import ELBO
from jensen.posteriors import Global
from jensen.typing import Array, Float, PRNGKey, PyTree, Scalar, Shaped

if TYPE_CHECKING:
    import optax

MEASURES = ("second-order", "exact")


class WeightPrior(HasCondition, HasLatentDim, AbstractLatentModel):
    r"""p(y | x, w) = N(y; net_w(x), σ² I), w ~ N(0, 1/fan-in), biases N(0, 1); z is w in units of its prior.

    Args:
        data_dim: D, numbers in y.
        cond_dim: C, numbers in x.
        widths: Hidden widths.
        noise: σ, in y's units.
    """

    prior_law: ClassVar[type[AbstractDistribution]] = DiagGaussian
    shapes: tuple[tuple[int, int], ...]
    noise: float
    data_dim: int
    cond_dim: int
    latent_dim: int

    def __init__(self, data_dim: int, cond_dim: int, widths: Sequence[int], *, noise: float):
        at_least("WeightPrior", 1, data_dim=data_dim, cond_dim=cond_dim)
        positive("WeightPrior", noise=noise)
        sizes = [cond_dim, *widths, data_dim]
        self.shapes = tuple((b, a + 1) for a, b in itertools.pairwise(sizes))
        self.data_dim, self.cond_dim, self.noise = data_dim, cond_dim, noise
        self.latent_dim = sum(rows * columns for rows, columns in self.shapes)

    def __call__(self, z: Float[Array, "p"], x: Float[Array, "c"]) -> Float[Array, "d"]:
        """Return net_w(x)."""
        ends = np.cumsum([rows * columns for rows, columns in self.shapes])[:-1]
        layers = [w.reshape(s) for w, s in zip(jnp.split(z, ends), self.shapes, strict=True)]
        for depth, layer in enumerate(layers):
            x = layer[:, :-1] @ x / (layer.shape[1] - 1) ** 0.5 + layer[:, -1]
            x = x if depth == len(layers) - 1 else jnp.tanh(x)
        return x

    def prior_of(self, cond: Any) -> DiagGaussian:
        """Return the standard normal."""
        return DiagGaussian(jnp.zeros(self.latent_dim), jnp.ones(self.latent_dim))

    def log_likelihood(self, z: Any, datum: Datum) -> Scalar:
        """Return log N(y; net_w(x), σ² I), in nats."""
        off = (jnp.asarray(datum.x) - self(z, jnp.asarray(datum.cond))) / self.noise
        return -0.5 * (off @ off) - self.data_dim * (np.log(self.noise) + 0.5 * np.log(2 * np.pi))

    def log_joint(self, z: Any, datum: Datum) -> Scalar:
        """Return log p(y, w | x), in nats."""
        return self.prior_of(datum.cond).log_prob(z) + self.log_likelihood(z, datum)


class Step(eqx.Module):
    """A move of a diagonal Gaussian: of its means, and of its log-scales."""

    loc: Float[Array, "p"]
    log_scale: Float[Array, "p"]


def newton_step(q: DiagGaussian, slope: Step, step_size: float | Scalar) -> Step:
    """Return λ H⁻¹ g, H the Hessian of KL(q' ‖ q) at q' = q: 1/σ² of a mean, 2 of a log-scale."""
    return Step(step_size * q.scale**2 * slope.loc, step_size * slope.log_scale / 2)


def second_order_gain(q: DiagGaussian, step: Step) -> Scalar:
    """Return ½ Δᵀ H Δ, KL(q' ‖ q) to second order in the step, in nats (Houthooft et al. 2016, eq. 12)."""
    return 0.5 * ((step.loc / q.scale) ** 2).sum() + (step.log_scale**2).sum()


def exact_gain(q: DiagGaussian, step: Step) -> Scalar:
    """Return KL(q' ‖ q), in nats."""
    # beyond a factor e⁵ the step has left any region in which it could be trusted
    factor = jnp.exp(jnp.clip(step.log_scale, -5.0, 5.0))
    found = kl_divergence(DiagGaussian(q.loc + step.loc, q.scale * factor), q, None)
    assert found is not None
    return found.sum()


class VariationalGain(AbstractBonus):
    r"""KL(q' ‖ q), q the posterior over a network's weights and q' the same after one step on a transition.

    The network predicts o' − o from (o, a). q is a diagonal Gaussian that climbs the ELBO on a memory of
    transitions, a `jensen.Inference` like any other; q' is one natural step λ H⁻¹ ∇E_q[log p(o' | o, a, w)]
    away. ``measure="second-order"`` is ½ λ² gᵀ H⁻¹ g, with no second pass; ``"exact"`` the KL itself.

    Args:
        observation_dim: S, of vectors (pictures laid out).
        action_dim: Columns of an action.
        optimizer: An optax transformation for the ELBO.
        noise: σ of o' − o given the weights, in its units.
        widths: Hidden widths.
        step_size: λ.
        measure: Which KL.
        draws: Of the weights, for the expected likelihood's slope; the same for all transitions at a time.
        memory: Most transitions remembered.
        batch_size: Rows a step of learning.
        steps: Steps of learning an update.
        key: Randomness of starts and draws.

    Raises:
        InputError: A number that is not positive, or an unknown measure.

    References:
        Houthooft et al. 2016, VIME: Variational information maximizing exploration.

    Example:
        >>> import optax
        >>> gain = VariationalGain(2, 1, optax.adam(1e-2), noise=0.1, widths=(8,), key=jax.random.key(0))
        >>> steps = Transitions(jnp.zeros((3, 2)), jnp.ones((3, 1)), jnp.ones((3, 2)))
        >>> gain.update(steps, key=jax.random.key(1)).bonus(steps).shape
        (3,)
    """

    online: Online
    bits: Array
    step_size: float
    measure: str
    draws: int

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        optimizer: optax.GradientTransformation,
        *,
        noise: float,
        widths: Sequence[int] = (32,),
        step_size: float = 1e-2,
        measure: str = "second-order",
        draws: int = 8,
        memory: int = 10_000,
        batch_size: int = 32,
        steps: int = 1,
        key: PRNGKey,
    ):
        check_key(key)
        if measure not in MEASURES:
            raise InputError(f"VariationalGain: measure {measure!r} is unknown{nearest(measure, MEASURES)}")
        positive("VariationalGain", step_size=step_size)
        at_least("VariationalGain", 1, draws=draws)
        cond_dim = 1 + observation_dim + action_dim
        model = WeightPrior(observation_dim, cond_dim, widths, noise=noise)
        to_start, to_draws = jax.random.split(key)
        inference = Inference(model, _begun(model, to_start), ELBO(), Reparam())
        rows = Memory.empty(memory, observation_dim, cond_dim)
        self.online = Online(inference, optimizer, rows, batch_size=batch_size, steps=steps)
        self.bits = jax.random.key_data(to_draws)
        self.step_size, self.measure, self.draws = step_size, measure, draws

    def posterior(self) -> DiagGaussian:
        """Return q(w)."""
        q = self.online.inference.posterior
        return q.family(q.params)

    def step(self, observation: Array, action: Array, after: Array) -> Step:
        """Return how one transition moves q."""
        q, model = self.posterior(), self.online.inference.model
        datum = Datum(after - observation, cond=affine(observation, action))
        noise = jax.random.normal(jax.random.wrap_key_data(self.bits), (self.draws, model.latent_dim))

        def fit(move: Step) -> Scalar:
            z = q.loc + move.loc + q.scale * jnp.exp(move.log_scale) * noise
            return jax.vmap(lambda z: model.log_likelihood(z, datum))(z).mean()

        still = Step(jnp.zeros(model.latent_dim), jnp.zeros(model.latent_dim))
        return newton_step(q, jax.grad(fit)(still), self.step_size)

    def gain(self, observation: Shaped[Array, "s"], action: Shaped[Array, "a"], after: Array) -> Scalar:
        """Return the gain of one transition, in nats."""
        measure = second_order_gain if self.measure == "second-order" else exact_gain
        return measure(self.posterior(), self.step(observation, action, after))

    def bonus(self, transitions: Transitions) -> Float[Array, "n"]:
        """Return the gain of each."""
        rows = (flat_rows(part) for part in transitions[:3])
        return transitions.earned(jax.vmap(self.gain)(*rows))

    def update(self, transitions: Transitions, *, key: PRNGKey) -> VariationalGain:
        """Remember the transitions and climb the ELBO; fresh draws from now on."""
        seen, action, after = (flat_rows(part) for part in transitions[:3])
        to_online, to_draws = jax.random.split(key)
        cond = jax.vmap(affine)(seen, action)
        online = self.online.learned(after - seen, cond, transitions.happened, key=to_online)
        new = (online, jax.random.key_data(to_draws))
        return eqx.tree_at(lambda b: (b.online, b.bits), self, new)


def _begun(model: WeightPrior, key: PRNGKey) -> PyTree:
    """Return a posterior that starts at a draw of the prior's, narrower than it: equal units never part."""
    q = Global(DiagGaussianFamily(model.latent_dim), key=key)
    loc = jax.random.normal(key, (model.latent_dim,))
    return eqx.tree_at(lambda q: q.params, q, jnp.concatenate([loc, jnp.full_like(loc, -2.0)]))
