"""Hidden Markov models."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.algorithms import hmm
from jensen.core import (
    ChecksData,
    Datum,
    HasExactConditional,
    HasExactPosterior,
    HasExpectationMaximization,
    HasMarkovLatents,
    InitializesFromData,
    Simulates,
)
from jensen.dist import AbstractDistribution, AbstractObservation, Categorical, MarkovPath
from jensen.errors import InputError, at_least, check_key, nearest
from jensen.models.sequence.emission_counts import CategoricalEmission, PoissonEmission
from jensen.models.sequence.emission_gaussian import GaussianEmission
from jensen.models.sequence.emissions import LOG_ZERO, AbstractEmission, as_logits, counted, log_probs
from jensen.models.sequence.hmm_data import check_sequences, flat_steps, guessed_transitions
from jensen.models.sequence.hmm_given import checked_chain, given_emission
from jensen.models.static.framed import HasFloor, HasFrame
from jensen.nets import Frame
from jensen.nets import trainable as all_trainable
from jensen.typing import Array, Bool, Float, Int, PRNGKey, PyTree, Scalar

BLOCK = 64
"""Steps whose likelihoods are evaluated together."""

EMISSIONS = ("gaussian", "categorical", "poisson")


class HMM(
    HasExpectationMaximization,
    HasExactPosterior,
    HasExactConditional,
    HasMarkovLatents,
    HasFrame,
    HasFloor,
    ChecksData,
    InitializesFromData,
    Simulates,
):
    r"""p(x, z) = p(z_1) ∏ p(z_{t+1} | z_t) ∏ p(x_t | z_t, u_t); the latent is the path of states 0..K−1.

    A datum is a sequence: ``x`` (T, D), ``steps`` of them real, ``mask`` for missing entries, and inputs
    u_t in ``cond`` (T, U) if the model has any. Paths hold −1 at padded steps. Gaussian parameters are held
    in standardized coordinates chosen at the first fit; everything read is in the data's own units.

    Args:
        num_states: Number K of states.
        data_dim: Number D of columns.
        emission: ``"gaussian"``, ``"categorical"`` (codes 0..C−1) or ``"poisson"``.
        covariance: Of Gaussian emissions: ``"full"``, ``"diag"``, ``"tied"`` or ``"spherical"``.
        num_categories: Number C of categories, for categorical emissions.
        input_dim: Number U of inputs a step; they move the means of Gaussians (fitted by EM or by gradient),
            the logits of categories or the log-rates of counts (by gradient).
        key: Randomness of the parameters before any data is seen.

    Raises:
        InputError: If a number is not positive, or a name is unknown.

    Example:
        >>> import jax, numpy as np
        >>> from jensen import fit
        >>> level = np.repeat([0.0, 6.0, 0.0, 6.0], 25)
        >>> x = (level + np.random.default_rng(0).normal(size=100))[None, :, None]
        >>> fitted = fit.em(HMM(2, 1, key=jax.random.key(0)), x, key=jax.random.key(1))
        >>> sorted(fitted.model.emission_parameters["means"].round()[:, 0].tolist())
        [0.0, 6.0]
    """

    posterior_law: ClassVar[type[AbstractDistribution]] = MarkovPath
    initial_logits: Float[Array, "k"]
    transition_logits: Float[Array, "k k"]
    emission: AbstractEmission
    frame: Frame
    num_states: int
    data_dim: int
    input_dim: int
    initialized: bool

    def __init__(
        self,
        num_states: int,
        data_dim: int,
        emission: str = "gaussian",
        *,
        covariance: str = "full",
        num_categories: int | None = None,
        input_dim: int = 0,
        key: PRNGKey,
    ):
        check_key(key)
        at_least("HMM", 1, num_states=num_states, data_dim=data_dim)
        at_least("HMM", 0, input_dim=input_dim)
        if emission not in EMISSIONS:
            raise InputError(f"HMM: emission {emission!r} is unknown{nearest(emission, EMISSIONS)}")
        if emission == "categorical" and num_categories is None:
            raise InputError("HMM: emission='categorical' needs num_categories=, C for the codes 0..C−1")
        if emission != "categorical" and num_categories is not None:
            raise InputError(f"HMM: num_categories goes with emission='categorical'; {emission!r} has none")
        sizes = num_states, data_dim, input_dim
        to_chain, to_emission = jax.random.split(key)
        if emission == "gaussian":
            self.emission = GaussianEmission.new(*sizes, covariance, key=to_emission)
        elif emission == "poisson":
            self.emission = PoissonEmission.new(*sizes, key=to_emission)
        else:
            if num_categories is None or num_categories < 2:
                raise InputError(f"HMM: num_categories is {num_categories}; it must be at least 2")
            self.emission = CategoricalEmission.new(*sizes, num_categories, key=to_emission)
        stay = np.log(0.8 * np.eye(num_states) + 0.2 / num_states)
        self.initial_logits = jnp.zeros(num_states)
        self.transition_logits = jnp.asarray(stay) + 0.1 * jax.random.normal(to_chain, stay.shape)
        self.frame = Frame.identity(data_dim)
        self.num_states, self.data_dim, self.input_dim = num_states, data_dim, input_dim
        self.initialized = False

    @classmethod
    def with_parameters(
        cls,
        initial_probs: Any,
        transition_matrix: Any,
        *,
        means: Any = None,
        covariances: Any = None,
        covariance: str = "full",
        probs: Any = None,
        rates: Any = None,
        input_weights: Any = None,
    ) -> HMM:
        """Return the model of these parameters, in the data's own units; fits start from it.

        Zeros among probabilities are kept by every fit: what is impossible stays so.

        Args:
            initial_probs: p(z_1), (K,).
            transition_matrix: p(z_{t+1} = j | z_t = i) in row i, (K, K).
            means: Gaussian emissions: (K, D), at inputs zero.
            covariances: Full (K, D, D); tied (D, D); diagonal (K, D); spherical (K,).
            covariance: Their structure.
            probs: Categorical emissions: (K, C), or (K, D, C).
            rates: Poisson emissions: (K, D), positive.
            input_weights: What a unit of input adds to means, log-rates (K, D, U) or logits (K, D, C, U).

        Raises:
            InputError: Naming the row that is not a distribution, the covariance that is not positive
                definite, or the shapes that disagree.
        """
        initial, transition = checked_chain(initial_probs, transition_matrix)
        values = {"means": means, "covariances": covariances, "probs": probs, "rates": rates}
        emission, frame = given_emission(len(initial), values, covariance, input_weights)
        categories = emission.logits.shape[-1] if isinstance(emission, CategoricalEmission) else None
        new = cls(
            len(initial), emission.data_dim, emission.kind, covariance=covariance,
            num_categories=categories, input_dim=emission.input_dim, key=jax.random.key(0),
        )  # fmt: skip
        return new._started(as_logits(initial), as_logits(transition), emission, frame)

    @property
    def initial_probs(self) -> np.ndarray:
        """p(z_1), (K,), float64."""
        return _probs(self.initial_logits)

    @property
    def transition_matrix(self) -> np.ndarray:
        """p(z_{t+1} = j | z_t = i) in row i, (K, K), float64."""
        return _probs(self.transition_logits)

    @property
    def emission_parameters(self) -> dict[str, np.ndarray]:
        """What the states emit, in the data's own units, float64.

        ``means`` (K, D) and ``covariances``, or ``probs`` (K, D, C), or ``rates`` (K, D); with inputs
        ``input_weights``, the others then being at inputs zero.
        """
        return self.emission.parameters(self.frame)

    @property
    def prior_law(self) -> type[AbstractDistribution]:
        """A Markov chain."""
        return MarkovPath

    def prior_of(self, cond: Any) -> MarkovPath:
        """Return p(z): a homogeneous chain, for paths of any length."""
        return MarkovPath(log_probs(self.initial_logits), log_probs(self.transition_logits))

    def log_likelihood(self, z: Int[Array, "t"], datum: Datum) -> Scalar:
        """Return log p(x | z) over the observed entries, in nats."""
        each = jnp.take_along_axis(self.log_likelihoods(datum), jnp.maximum(z, 0)[:, None], 1)[:, 0]
        return jnp.where(self._real(datum), each, 0.0).sum()

    def log_joint(self, z: Int[Array, "t"], datum: Datum) -> Scalar:
        """Return log p(x, z), in nats; entries of z beyond the real steps are not looked at."""
        z = jnp.where(self._real(datum), z, -1)
        return self.prior_of(datum.cond).log_prob(z).sum() + self.log_likelihood(z, datum)

    def log_likelihoods(self, datum: Datum) -> Float[Array, "t k"]:
        """Return log p(x_t | z_t = k) over the observed entries of every step, in nats; zero where padded."""
        t = datum.x.shape[0]
        # a loop over blocks of one shape, never unrolled: otherwise more rows would mean other rounding,
        # and padding would show in the last bits
        blocks = max(-(-t // BLOCK), 2)

        def cut(leaf: Any) -> Array:
            leaf = jnp.asarray(leaf)[:t]
            padding = ((0, blocks * BLOCK - len(leaf)),) + ((0, 0),) * (leaf.ndim - 1)
            return jnp.pad(leaf, padding).reshape(blocks, BLOCK, *leaf.shape[1:])

        rows = jax.tree.map(cut, (Datum(datum.x, datum.cond, mask=datum.mask), self._real(datum)))
        each = jax.lax.map(lambda block: self._log_p(*block), rows)
        return each.swapaxes(1, 2).reshape(blocks * BLOCK, -1)[:t]

    def log_evidence(self, datum: Datum) -> Scalar:
        """Return log p(x) over the observed entries of the real steps, in nats; 0 for no steps."""
        last = jnp.asarray(len(datum.x) if datum.steps is None else datum.steps)
        return hmm.evidence(*self._chain(), self.log_likelihoods(datum), last)

    def posterior(self, datum: Datum) -> MarkovPath:
        """Return p(z_{1:T} | x_{1:T}): a Markov chain with kernels of its own at every step."""
        initial, transition = self._chain()
        got = hmm.messages(initial, transition, self.log_likelihoods(datum), datum.steps)
        steps = None if datum.steps is None else jnp.asarray(datum.steps)
        return MarkovPath(got.first, transition + got.later[:, None], steps)

    def filtered(self, datum: Datum) -> hmm.Filtered:
        """Return log p(z_t | x_{1:t}) and log p(x_t | x_{1:t−1}) of every step."""
        return hmm.filtering(*self._chain(), self.log_likelihoods(datum), datum.steps)

    def conditional_mean(self, datum: Datum) -> Float[Array, "t d"]:
        """Return E[x_t | all observed entries], the observed ones and padded steps unchanged.

        Hidden categories are the likeliest ones.
        """
        if datum.mask is None:
            return jnp.asarray(datum.x)
        steps, mask = self._see(datum)
        log_p = self._in_units(steps.log_p, mask, self._real(datum)).T
        marginals = hmm.smooth(*self._chain(), log_p, datum.steps).marginals
        expected = self.frame.leave(self.emission.expected(steps, marginals.T))
        hidden = ~jnp.asarray(datum.mask) & self._real(datum)[:, None]
        return jnp.where(hidden, expected, datum.x)

    def initial(self, datum: Datum) -> Categorical:
        """Return p(z_1)."""
        return Categorical(self.initial_logits)

    def transition(self, z: Int[Array, ""], t: Int[Array, ""], datum: Datum) -> Categorical:
        """Return p(z_{t+1} | z_t)."""
        return Categorical(self.transition_logits[z])

    def log_likelihood_at(self, z: Int[Array, ""], t: Int[Array, ""], datum: Datum) -> Scalar:
        """Return log p(x_t | z_t) over the observed entries, in nats; zero for a padded step."""
        row = Datum(
            jnp.asarray(datum.x)[t][None],
            None if datum.cond is None else jnp.asarray(datum.cond)[t][None],
            mask=None if datum.mask is None else jnp.asarray(datum.mask)[t][None],
        )
        return self._log_p(row, self._real(datum)[t][None])[z, 0]

    def observation_at(self, z: Int[Array, ""], t: Int[Array, ""], datum: Datum) -> AbstractObservation:
        """Return p(x_t | z_t)."""
        inputs = jnp.asarray(datum.cond)[t] if self.input_dim else None
        return self.emission.observation(z, inputs, self.frame)

    def simulate(
        self, like: Datum | None = None, *, key: PRNGKey
    ) -> tuple[Int[Array, "t"], Float[Array, "t d"]]:
        """Draw a path and a sequence as long as ``like``; padded steps are zero.

        Raises:
            InputError: If ``like`` is missing: it lends the number of steps.
        """
        if like is None:
            raise InputError("HMM: simulate(like) needs a sequence to take the number of steps from")
        initial, transition = self._chain()
        length, real = like.x.shape[0], self._real(like)
        kernels = jnp.broadcast_to(transition, (length - 1, *transition.shape))
        to_path, to_rows = jax.random.split(key)
        z = hmm.sample_path(initial, kernels, real.sum(), key=to_path)

        def row(state: Array, t: Array) -> Array:
            law = self.observation_at(jnp.maximum(state, 0), t, like)
            return law.sample(key=jax.random.fold_in(to_rows, t))

        return z, jnp.where(real[:, None], jax.vmap(row)(z, jnp.arange(length)), 0.0)

    def expectation(self, rows: Datum) -> dict[str, Any]:
        """Sum expected transitions and moments over sequences.

        Args:
            rows: Stacked sequences, x of shape (N, T, D).

        Returns:
            ``log_evidence`` (nats) and ``weight``, and the sums the M-step needs.
        """
        n, t = rows.x.shape[:2]
        last = jnp.full(n, t) if rows.steps is None else jnp.asarray(rows.steps)
        weight = jnp.ones(n) if rows.weight is None else jnp.asarray(rows.weight)
        # time first and sequences last: the recursion then runs over sequences in its innermost loop
        turned = jax.tree.map(
            lambda leaf: jnp.asarray(leaf).swapaxes(0, 1).reshape(t * n, -1),
            Datum(rows.x, rows.cond, mask=rows.mask),
        )
        real = (jnp.arange(t)[:, None] < last).reshape(-1)
        steps, mask = self._see(turned, real)
        log_p = self._in_units(steps.log_p, mask, real)
        got = hmm.smooth(*self._chain(), log_p.reshape(-1, t, n).swapaxes(0, 1), last)
        gamma = got.marginals * weight
        r = gamma.swapaxes(0, 1).reshape(-1, t * n)
        moments = self.emission.moments(steps, r) | {"weight": r.sum()}
        return {
            "log_evidence": jnp.where(weight > 0, weight * got.log_evidence, 0.0).sum(),
            "weight": weight.sum(),
            "initial": gamma[0].sum(-1),
            "pairs": (got.pairs * weight).sum(-1),
            "emission": moments,
        }

    def maximization(self, statistics: PyTree, trainable: Any = None) -> HMM:
        """Return the model that maximizes the expected log-density of the sequences.

        Args:
            statistics: The sums from ``expectation`` of this very model.
            trainable: A tree like the model of booleans; what is False is held, and the rest maximized
                given it. All free by default.

        Raises:
            CombinationError: If categories or counts depend on inputs; fit by gradient.
        """
        free = all_trainable(self) if trainable is None else trainable
        initial, transition = self.initial_logits, self.transition_logits
        if free.initial_logits:
            initial = counted(initial, statistics["initial"])
        if free.transition_logits:
            transition = counted(transition, statistics["pairs"])
        emission = self.emission.maximized(statistics["emission"], free.emission)
        return eqx.tree_at(
            lambda m: (m.initial_logits, m.transition_logits, m.emission),
            self,
            (initial, transition, emission),
        )

    def at_floor(self) -> Bool[Array, "..."]:
        """Say which variances sit at the floor."""
        return self.emission.at_floor()

    def check_data(self, rows: Datum) -> None:
        """Refuse what are not sequences, values outside the support, and inputs that do not fit."""
        seen = check_sequences(rows, self.input_dim)
        self.emission.check(np.asarray(rows.x), seen)

    def initialize_from(self, rows: Datum, *, key: PRNGKey) -> HMM:
        """Start at clusters of the steps, and at the transitions between them.

        Raises:
            InputError: If there are fewer real steps than states.
        """
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        steps, ends = flat_steps(rows)
        if len(steps.x) < max(self.num_states, 2):
            raise InputError(f"HMM: {len(steps.x)} real steps for {self.num_states} states; give more data")
        emission, frame, label = self.emission.start(steps, rng)
        transition = guessed_transitions(label, ends, self.num_states, rng)
        initial = np.full(self.num_states, 1 / self.num_states)
        return self._started(as_logits(initial), as_logits(transition), emission, frame)

    def _started(self, initial: Array, transition: Array, emission: AbstractEmission, frame: Frame) -> HMM:
        return eqx.tree_at(
            lambda m: (m.initial_logits, m.transition_logits, m.emission, m.frame, m.initialized),
            self,
            (initial, transition, emission, frame, True),
        )

    def _chain(self) -> tuple[Float[Array, "k"], Float[Array, "k k"]]:
        return log_probs(self.initial_logits), log_probs(self.transition_logits)

    def _real(self, datum: Datum) -> Bool[Array, "t"]:
        length = datum.x.shape[0]
        return jnp.arange(length) < (length if datum.steps is None else datum.steps)

    def _see(self, datum: Datum, real: Array | None = None) -> tuple[Any, Bool[Array, "n d"] | None]:
        """Return steps as the emission sees them, whatever stands at hidden entries and padded steps."""
        real = self._real(datum) if real is None else real
        mask = None if datum.mask is None else jnp.asarray(datum.mask) & real[:, None]
        x = jnp.where(real[:, None] if mask is None else mask, self.frame.enter(jnp.asarray(datum.x)), 0.0)
        inputs = None
        if self.input_dim:
            inputs = jnp.where(real[:, None], jnp.asarray(datum.cond)[: len(real)], 0.0)
        return self.emission.see(x, mask, inputs), mask

    def _log_p(self, datum: Datum, real: Bool[Array, "n"]) -> Float[Array, "k n"]:
        steps, mask = self._see(datum, real)
        return self._in_units(steps.log_p, mask, real)

    def _in_units(self, log_p: Float[Array, "k n"], mask: Any, real: Bool[Array, "n"]) -> Float[Array, "k n"]:
        """Leave the frame, and silence padded steps."""
        leave = self.frame.log_scale() if mask is None else jax.vmap(self.frame.log_scale)(mask)
        return jnp.where(real, log_p - leave, 0.0)


def _probs(logits: Float[Array, "*b k"]) -> np.ndarray:
    values = np.asarray(logits, np.float64)
    probs = np.where(values > LOG_ZERO / 2, np.exp(values - values.max(-1, keepdims=True)), 0.0)
    return probs / probs.sum(-1, keepdims=True)
