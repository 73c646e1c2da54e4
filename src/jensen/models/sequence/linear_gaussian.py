"""Linear-Gaussian state-space models."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.algorithms import kalman, kalman_moments
from jensen.algorithms.kalman_engines import ENGINES
from jensen.core import (
    AbstractCarryModel,
    ChecksData,
    Datum,
    HasExactConditional,
    HasExactPosterior,
    HasExpectationMaximization,
    HasLatentDim,
    InitializesFromData,
    Simulates,
)
from jensen.dist import AbstractDistribution, Draw
from jensen.dist.path_gaussian import GaussianChain, GaussianPath
from jensen.errors import InputError, at_least, nearest
from jensen.models.sequence.linear_gaussian_chain import HasChain, steps_of
from jensen.models.sequence.linear_gaussian_em import expected_sums
from jensen.models.sequence.linear_gaussian_given import given
from jensen.models.sequence.linear_gaussian_parts import Dynamics, Emission, Initial, Noise
from jensen.models.sequence.linear_gaussian_start import check_sequences, started
from jensen.models.sequence.linear_gaussian_steps import first
from jensen.models.sequence.linear_gaussian_units import HasSpectralRadius
from jensen.models.static.framed import HasFloor
from jensen.nets import Frame
from jensen.nets import trainable as all_trainable
from jensen.typing import Array, Bool, Float, PRNGKey, PyTree, Scalar

INPUT_TO = ("both", "transition")


class LinearGaussianSSM(
    HasChain,
    HasSpectralRadius,
    HasExpectationMaximization,
    HasExactPosterior,
    HasExactConditional,
    AbstractCarryModel,
    HasLatentDim,
    HasFloor,
    ChecksData,
    InitializesFromData,
    Simulates,
):
    r"""z_1 ~ N(m, P), z_{t+1} = A z_t + B u_t + b + N(0, Q), x_t = C z_t + D u_t + d + N(0, R), R diagonal.

    A datum is a sequence: ``x`` (T, D), ``steps`` of them real, ``mask`` for missing entries, and inputs u_t
    in ``cond``. The latent is the path (T, n), zero at padded steps. Evidence, posterior, EM and imputation
    are exact. The emission is held in standardized coordinates; what is read is in the data's own.

    Args:
        latent_dim: Number n of states.
        data_dim: Number D of columns.
        input_dim: Number U of inputs a step.
        input_to: ``"both"``, or ``"transition"`` for D = 0; then T − 1 rows of inputs are enough.
        engine: ``"serial"``, or ``"parallel"`` for all steps at once: on many cores, where sequences are long
            and few. The two agree up to rounding; only the serial one keeps every bit under padding.
        key: Randomness of the parameters before any data is seen.

    Raises:
        InputError: If a number is not positive, or ``input_to`` or ``engine`` is unknown.

    Example:
        >>> import jax, numpy as np
        >>> from jensen import fit
        >>> x = np.cumsum(np.random.default_rng(0).normal(size=(1, 60, 1)), axis=1)
        >>> fitted = fit.em(LinearGaussianSSM(1, 1, key=jax.random.key(0)), x, steps=20)
        >>> 0.8 < fitted.model.spectral_radius < 1.1
        True
    """

    posterior_law: ClassVar[type[AbstractDistribution]] = GaussianPath
    start: Initial
    dynamics: Dynamics
    emission: Emission
    frame: Frame
    input_frame: Frame
    latent_dim: int
    data_dim: int
    input_dim: int
    input_to: str
    engine: str
    initialized: bool

    def __init__(
        self,
        latent_dim: int,
        data_dim: int,
        input_dim: int = 0,
        *,
        input_to: str = "both",
        engine: str = "serial",
        key: PRNGKey,
    ):
        at_least("LinearGaussianSSM", 1, latent_dim=latent_dim, data_dim=data_dim)
        at_least("LinearGaussianSSM", 0, input_dim=input_dim)
        if input_to not in INPUT_TO:
            raise InputError(
                f"LinearGaussianSSM: input_to {input_to!r} is unknown{nearest(input_to, INPUT_TO)}"
            )
        if engine not in ENGINES:
            raise InputError(f"LinearGaussianSSM: engine {engine!r} is unknown{nearest(engine, ENGINES)}")
        n, eye = latent_dim, jnp.eye(latent_dim)
        seen = input_dim if input_to == "both" else 0
        self.start = Initial(jnp.zeros(n), Noise.of(eye))
        self.dynamics = Dynamics(
            0.9 * eye, jnp.zeros((n, input_dim)), jnp.zeros(n), Noise.of(0.19**0.5 * eye)
        )
        loadings = jax.random.normal(key, (data_dim, n)) / n**0.5
        self.emission = Emission(
            loadings, jnp.zeros((data_dim, seen)), jnp.zeros(data_dim), jnp.zeros(data_dim)
        )
        self.frame, self.input_frame = Frame.identity(data_dim), Frame.identity(input_dim)
        self.latent_dim, self.data_dim, self.input_dim = latent_dim, data_dim, input_dim
        self.input_to, self.engine = input_to, engine
        self.initialized = False

    @classmethod
    def with_parameters(
        cls,
        transition_matrix: Any,
        transition_covariance: Any,
        emission_matrix: Any,
        emission_variances: Any,
        *,
        initial: tuple[Any, Any],
        inputs: tuple[Any, Any] | None = None,
        offsets: tuple[Any, Any] | None = None,
        engine: str = "serial",
    ) -> LinearGaussianSSM:
        """Return the model of these parameters, in the data's own units; fits start from it.

        What changes from step to step has a leading axis: T − 1 transitions, T emissions. Fits hold it as
        given; sequences of fewer steps take the first of them.

        Args:
            transition_matrix: A, (n, n) or (T − 1, n, n).
            transition_covariance: Q, (n, n) or (T − 1, n, n).
            emission_matrix: C, (D, n) or (T, D, n).
            emission_variances: The diagonal of R, (D,) or (T, D).
            initial: m (n,) and P (n, n).
            inputs: B (n, U) and D (D, U), the latter ``None`` where inputs do not reach x.
            offsets: b (n,) or (T − 1, n), and d (D,) or (T, D).
            engine: As of the model.

        Raises:
            InputError: If shapes or numbers of steps disagree, or a covariance is not positive semi-definite
                (named).
        """
        parts = given(
            transition_matrix,
            transition_covariance,
            emission_matrix,
            emission_variances,
            initial,
            inputs,
            offsets,
        )
        d, n = parts[2].inputs.shape[0], parts[1].inputs.shape[0]
        direct = parts[2].inputs.shape[1] > 0
        width = parts[1].inputs.shape[1]
        input_to = "both" if direct or not width else "transition"
        new = cls(n, d, width, input_to=input_to, engine=engine, key=jax.random.key(0))
        return eqx.tree_at(
            lambda m: (m.start, m.dynamics, m.emission, m.frame, m.initialized), new, (*parts, True)
        )

    @property
    def prior_law(self) -> type[AbstractDistribution]:
        """A linear-Gaussian chain."""
        return GaussianChain

    def prior_given(self, draw: Draw, datum: Datum) -> GaussianChain:
        """Return p(z | u) over the real steps."""
        return self.prior_path(self.drift(datum), steps_of(datum))

    def log_likelihood_given(self, draw: Draw, datum: Datum) -> Scalar:
        """Return log p(x | z) over the observed entries, in nats."""
        return self.log_likelihood(draw.z, datum)

    def log_likelihood(self, z: Float[Array, "t n"], datum: Datum) -> Scalar:
        """Return log p(x | z) over the observed entries of the real steps, in nats."""
        chain = self.chain(datum)
        white = chain.observation - kalman.apply(chain.emission, z)
        return -0.5 * jnp.where(self.seen(datum), white**2, 0.0).sum() - self.log_scale(datum)

    def log_joint(self, z: Float[Array, "t n"], datum: Datum) -> Scalar:
        """Return log p(z) + log p(x | z), in nats."""
        return self.prior_path(self.drift(datum), steps_of(datum)).log_prob(z).sum() + self.log_likelihood(
            z, datum
        )

    def log_evidence(self, datum: Datum) -> Scalar:
        """Return log p(x) over the observed entries of the real steps, in nats; 0 for no steps.

        Its gradient is that of the expected complete log-density, by one smoother.
        """
        likelihood = kalman_moments.log_likelihood(self.chain(datum), steps_of(datum), self.engine)
        return likelihood - self.log_scale(datum)

    def posterior(self, datum: Datum) -> GaussianPath:
        """Return p(z_{1:T} | x_{1:T}); it samples paths and has smoothed moments."""
        return GaussianPath(self.filtered(datum), steps_of(datum), self.engine)

    def filtered(self, datum: Datum) -> kalman.Filtered:
        """Return moments of z_t and z_{t+1} given x_{1:t}, for every step."""
        return ENGINES[self.engine].filter(self.chain(datum), steps_of(datum))

    def conditional_mean(self, datum: Datum) -> Float[Array, "t d"]:
        """Return E[x_t | all observed entries], the observed ones and padded steps unchanged."""
        if datum.mask is None:
            return jnp.asarray(datum.x)
        mean = self.posterior(datum).mean
        expected = kalman.apply(first(self.emission, len(mean)).matrix, mean) + self.shift(datum)
        hidden = ~jnp.asarray(datum.mask) & self.real(datum)[:, None]
        return jnp.where(hidden, self.frame.leave(expected), datum.x)

    def simulate(
        self, like: Datum | None = None, *, key: PRNGKey
    ) -> tuple[Float[Array, "t n"], Float[Array, "t d"]]:
        """Draw a path and a sequence as long as ``like``; padded steps are zero.

        Raises:
            InputError: If ``like`` is missing: it lends the number of steps.
        """
        if like is None:
            raise InputError("LinearGaussianSSM: simulate(like) takes the number of steps from a sequence")
        to_z, to_x = jax.random.split(key)
        z, _ = self.prior_path(self.drift(like), steps_of(like)).sample_and_log_prob(key=to_z)
        noise = jax.random.normal(to_x, (len(z), self.data_dim))
        emission = first(self.emission, len(z))
        y = kalman.apply(emission.matrix, z) + self.shift(like) + emission.scale * noise
        return z, jnp.where(self.real(like)[:, None], self.frame.leave(y), 0.0)

    def expectation(self, rows: Datum) -> dict[str, Any]:
        """Sum moments of the whitened noises over sequences; missing entries are integrated out.

        Args:
            rows: Stacked sequences, x of shape (N, T, D).

        Returns:
            ``log_evidence`` (nats) and ``weight``, and the sums the M-step needs.
        """
        weight = jnp.ones(len(rows.x)) if rows.weight is None else jnp.asarray(rows.weight)
        rows = Datum(rows.x, rows.cond, mask=rows.mask, steps=rows.steps)

        def one(datum: Datum) -> dict[str, Any]:
            steps, chain, u = steps_of(datum), self.chain(datum), self.inputs(datum)
            engine, direct = ENGINES[self.engine], self.emission.inputs.shape[1]
            filtered = engine.filter(chain, steps)
            smoothed = engine.smooth(filtered, steps)
            sums = expected_sums(chain, filtered, smoothed, u, direct, self.seen(datum), steps)
            evidence = filtered.log_likelihood - self.log_scale(datum)
            return sums | {"log_evidence": evidence, "weight": jnp.ones(())}

        return jax.tree.map(lambda leaf: jnp.tensordot(weight, leaf, 1), jax.vmap(one)(rows))

    def maximization(self, statistics: PyTree, trainable: Any = None) -> LinearGaussianSSM:
        """Return the model that maximizes the expected complete log-density, over everything jointly.

        Args:
            statistics: The sums from ``expectation`` of this very model.
            trainable: A tree like the model of booleans; what is False is held, and the rest maximized
                given it. All free by default.
        """
        free = all_trainable(self) if trainable is None else trainable
        new = (
            self.start.maximized(statistics["initial"], free.start),
            self.dynamics.maximized(statistics["dynamics"], free.dynamics),
            self.emission.maximized(statistics["emission"], free.emission),
        )
        return eqx.tree_at(lambda m: (m.start, m.dynamics, m.emission), self, new)

    def at_floor(self) -> Bool[Array, "*t d"]:
        """Say which noise variances of x sit at the floor."""
        return self.emission.at_floor()

    def check_data(self, rows: Datum) -> None:
        """Refuse rows that are not sequences, lengths out of range, and inputs of another shape."""
        check_sequences(self, rows)

    def initialize_from(self, rows: Datum, *, key: PRNGKey) -> LinearGaussianSSM:
        """Start at a subspace estimate: states are what the past tells of the future.

        After Van Overschee & De Moor (1996), with ridge regressions. Where sequences are too short for that,
        the model's own random start stays, in the units of the data.
        """
        parts = started(self, rows)
        where = lambda m: (m.start, m.dynamics, m.emission, m.frame, m.input_frame, m.initialized)  # noqa: E731
        return eqx.tree_at(where, self, (*parts, True))
