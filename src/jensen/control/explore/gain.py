"""Information gain in closed form: how far one transition moves a belief about the dynamics."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import digamma

from jensen.algorithms.linalg import qr, solve_lower
from jensen.control.explore.transitions import Foresees, Transitions
from jensen.errors import InputError, at_least, positive
from jensen.typing import Array, Float, Int, PRNGKey, Scalar, Shaped


class InformationGain(Foresees):
    """KL(p(θ | past, this transition) ‖ p(θ | past)) in nats, θ the dynamics (Lindley 1956).

    ``bonus`` is what a transition has told; ``ahead`` what an action will tell on average, the mutual
    information between θ and the next observation. Neither pays for noise that is known to be noise.
    """

    @abstractmethod
    def gain(
        self, observation: Shaped[Array, "*s"], action: Shaped[Array, "*a"], after: Shaped[Array, "*s"]
    ) -> Scalar:
        """Return the gain of one transition."""

    def bonus(self, transitions: Transitions) -> Float[Array, "n"]:
        """Return the gain of each."""
        seen, action, after = (jnp.asarray(part) for part in transitions[:3])
        return transitions.earned(jax.vmap(self.gain)(seen, action, after))


def dirichlet_gain(concentration: Float[Array, "k"], outcome: Int[Array, ""]) -> Scalar:
    """Return KL(Dir(α + e_k) ‖ Dir(α)) = log α₀/α_k + ψ(α_k + 1) − ψ(α₀ + 1), in nats."""
    return _above_log(concentration[outcome]) - _above_log(concentration.sum())


def dirichlet_information(concentration: Float[Array, "k"]) -> Scalar:
    """Return I(π; x), x ~ Categorical(π), π ~ Dir(α): the mean of ``dirichlet_gain`` over x, in nats."""
    gains = jax.vmap(lambda k: dirichlet_gain(concentration, k))(jnp.arange(len(concentration)))
    return (concentration / concentration.sum()) @ gains


class DirichletGain(InformationGain):
    """Gain of a Dirichlet belief about every (s, a)'s next outcome; states and actions are codes.

    An outcome outside 0..K−1, like the −1 shown after an end, is worth nothing and is not counted; to have
    ends counted, let ``outcome`` give them a code of their own.

    Args:
        num_states: S.
        num_actions: A.
        num_outcomes: K; by default the next state is the outcome, K = S.
        outcome: (s, s') to a code 0..K−1, where few s' can follow each s: a direction moved, say.
        prior: α of every outcome before the first visit.

    Raises:
        InputError: A number that is not positive; outcomes without a function that names them.

    Example:
        >>> belief = DirichletGain(2, 1)
        >>> step = Transitions(jnp.array([0]), jnp.array([0]), jnp.array([1]))
        >>> round(float(belief.bonus(step)[0]), 4)  # log 2 + ψ(2) − ψ(3)
        0.1931
    """

    concentration: Float[Array, "s a k"]
    outcome: Callable[[Array, Array], Array]

    def __init__(
        self,
        num_states: int,
        num_actions: int,
        num_outcomes: int | None = None,
        *,
        outcome: Callable[[Array, Array], Array] | None = None,
        prior: float = 1.0,
    ):
        at_least("DirichletGain", 1, num_states=num_states, num_actions=num_actions)
        check_outcomes("DirichletGain", num_outcomes, outcome)
        positive("DirichletGain", prior=prior)
        self.concentration = jnp.full((num_states, num_actions, num_outcomes or num_states), float(prior))
        self.outcome = next_state if outcome is None else outcome

    def gain(self, observation: Shaped[Array, ""], action: Shaped[Array, ""], after: Array) -> Scalar:
        """Return ``dirichlet_gain`` of the belief about (s, a); 0 of an outcome outside 0..K−1."""
        belief = self.concentration[observation, action]
        place = place_of(self.outcome(observation, after), len(belief))
        return jnp.where(place < len(belief), dirichlet_gain(belief, place), 0.0)

    def ahead(self, observation: Shaped[Array, ""], action: Shaped[Array, ""]) -> Scalar:
        """Return ``dirichlet_information`` of the belief about (s, a)."""
        return dirichlet_information(self.concentration[observation, action])

    def bonus(self, transitions: Transitions) -> Float[Array, "n"]:
        """Return the gain of each."""
        codes = transitions.codes("DirichletGain", *self.concentration.shape[:2])
        return transitions.earned(jax.vmap(self.gain)(*codes))

    def update(self, transitions: Transitions, *, key: PRNGKey) -> DirichletGain:
        """Count outcomes."""
        seen, action, after = transitions.codes("DirichletGain", *self.concentration.shape[:2])
        place = place_of(jax.vmap(self.outcome)(seen, after), self.concentration.shape[2])
        where = (seen, action, place)
        counted = self.concentration.at[where].add(transitions.happened)
        return eqx.tree_at(lambda b: b.concentration, self, counted)


class LinearGain(InformationGain):
    r"""Gain of a Bayesian regression o' = Wᵀ φ(o, a) + ε, ε ~ N(0, σ² I), W matrix-normal.

    With κ = φᵀ Λ⁻¹ φ, e the residual and D outputs, a transition tells
    ½ [D log(1 + κ) − D κ/(1 + κ) + |e|² κ / (σ (1 + κ))²], and an action ½ D log(1 + κ) on average.

    Kept are R and R⁻ᵀ B, Λ = Rᵀ R and B = Φᵀ O': rows are folded in by a QR factorization, and Λ, whose
    condition number is the square of R's, is never summed. In float32 that holds for 10⁶ rows and more.

    Args:
        features: (o, a) to φ, (F,); ``affine`` is the linear one.
        num_features: F.
        data_dim: D, numbers in an observation.
        noise: σ, in the observations' units.
        prior_scale: Standard deviation of W's entries before the first row, in units of σ.

    Raises:
        InputError: A number that is not positive.

    Example:
        >>> belief = LinearGain(affine, 3, data_dim=1, noise=0.1)
        >>> step = Transitions(jnp.ones((1, 1)), jnp.ones((1, 1)), jnp.ones((1, 1)))
        >>> round(float(belief.ahead(jnp.ones(1), jnp.ones(1))), 4)  # ½ log(1 + 3)
        0.6931
    """

    features: Callable[[Array, Array], Array]
    root: Float[Array, "f f"]
    white: Float[Array, "f d"]
    noise: float

    def __init__(
        self,
        features: Callable[[Array, Array], Array],
        num_features: int,
        *,
        data_dim: int,
        noise: float,
        prior_scale: float = 1.0,
    ):
        at_least("LinearGain", 1, num_features=num_features, data_dim=data_dim)
        positive("LinearGain", noise=noise, prior_scale=prior_scale)
        self.features = features
        self.root = jnp.eye(num_features) / prior_scale
        self.white = jnp.zeros((num_features, data_dim))
        self.noise = noise

    @property
    def precision(self) -> Float[Array, "f f"]:
        """Λ = Rᵀ R, in units of 1/σ²."""
        return self.root.T @ self.root

    @property
    def moment(self) -> Float[Array, "f d"]:
        """B, the sum of φ o'ᵀ; Λ⁻¹ B is the mean of W."""
        return self.root.T @ self.white

    def gain(self, observation: Array, action: Array, after: Array) -> Scalar:
        """Return the gain of one transition."""
        white = self._whitened(self.features(observation, action))
        spread = white @ white
        error = (after - white @ self.white) / self.noise
        moved = (error @ error) * spread / (1 + spread) ** 2
        return 0.5 * (len(after) * (jnp.log1p(spread) - spread / (1 + spread)) + moved)

    def ahead(self, observation: Array, action: Array) -> Scalar:
        """Return ½ D log(1 + κ)."""
        white = self._whitened(self.features(observation, action))
        return 0.5 * self.white.shape[1] * jnp.log1p(white @ white)

    def update(self, transitions: Transitions, *, key: PRNGKey) -> LinearGain:
        """Fold the rows in, those that are finite."""
        seen, action, after = (jnp.asarray(part, jnp.float32) for part in transitions[:3])
        rows = jnp.concatenate([jax.vmap(self.features)(seen, action), after], 1)
        kept = (transitions.happened > 0) & jnp.isfinite(rows).all(1)
        rows = jnp.where(kept[:, None], jnp.sqrt(transitions.happened)[:, None] * rows, 0.0)
        below = jnp.zeros((self.white.shape[1], rows.shape[1]))  # at least as many rows as columns
        upper = qr(jnp.concatenate([jnp.concatenate([self.root, self.white], 1), rows, below]))[1]
        size = len(self.root)
        return eqx.tree_at(lambda b: (b.root, b.white), self, (upper[:size, :size], upper[:size, size:]))

    def _whitened(self, phi: Float[Array, "f"]) -> Float[Array, "f"]:
        """Return R⁻ᵀ φ: its product with R⁻ᵀ B is φᵀ Λ⁻¹ B."""
        return solve_lower(self.root.T, phi[:, None])[:, 0]


def affine(observation: Array, action: Array) -> Float[Array, "f"]:
    """Return (1, o, a)."""
    return jnp.concatenate([jnp.ones(1), jnp.ravel(observation), jnp.ravel(action)])


def _above_log(x: Scalar) -> Scalar:
    """Return ψ(x + 1) − log x, of large x by its series: the two agree to all digits of float32 there."""
    large = jnp.maximum(x, 8.0)
    square = large**-2
    series = 0.5 / large - square * (1 / 12 - square * (1 / 120 - square / 252))
    small = jnp.minimum(x, 8.0)
    return jnp.where(x < 8, digamma(small + 1) - jnp.log(small), series)


def next_state(state: Any, after: Any) -> Any:
    """Return the next state: the outcome where nobody names another."""
    return after


def place_of(outcome: Int[Array, "*n"], num: int) -> Int[Array, "*n"]:
    """Return where outcomes are counted; ``num`` or more, where JAX writes nothing, if outside 0..num−1."""
    return jnp.where(outcome < 0, num, outcome)


def check_outcomes(who: str, num_outcomes: int | None, outcome: Any) -> None:
    """Refuse a number of outcomes that nobody names, or names without a number.

    Raises:
        InputError: One is missing.
    """
    if (num_outcomes is None) != (outcome is None):
        raise InputError(
            f"{who}: num_outcomes and outcome go together; give both, or neither for the next state"
        )
    if num_outcomes is not None:
        at_least(who, 1, num_outcomes=num_outcomes)
