"""Variational autoencoders behind scikit-learn's interface."""

from __future__ import annotations

import zlib
from numbers import Integral
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from jensen import families, gradients, models, objectives, posteriors, use
from jensen.core import Datum, Inference, independent_draws
from jensen.dist import means_by_kind
from jensen.models.likelihoods import NAMED, AbstractLikelihood
from jensen.sklearn.inputs import as_data, by_block, checked_rows, precision_of, reals, unchecked
from jensen.sklearn.networks import ACTIVATIONS, AbstractNetworkEstimator
from jensen.typing import Array, Float, PRNGKey, Shaped


class VAE(ClassNamePrefixFeaturesOutMixin, TransformerMixin, AbstractNetworkEstimator):
    """Variational autoencoder: a perceptron each way, a diagonal Gaussian posterior, Adam on the ELBO.

    ``transform`` gives the posterior means, which may feed any estimator in a pipeline. NaN marks missing
    entries: the encoder reads the column mean there, and they drop out of the likelihood. What is not offered
    here (other posteriors, objectives, gradients, networks) is a few lines of ``jensen.fit.gradient`` away.

    Args:
        n_components: Length of the latent z.
        hidden_layer_sizes: Widths of the encoder's hidden layers; the decoder has them in reverse.
        activation: ``"tanh"``, ``"relu"``, ``"silu"`` or ``"gelu"``.
        likelihood: ``"gaussian"`` (one learned scale a column), ``"bernoulli"`` (X of 0 and 1),
            ``"student_t"``, ``"poisson"``, ``"negative_binomial"``, ``"beta_binomial"``,
            ``"discretized_logistic"`` (both of 0..255), or a member of ``models.likelihoods`` that counts or
            measures; categories have no column means to give back.
        batch_size: Rows a step; ``"auto"`` for 200, or all if they are fewer.
        learning_rate_init: Adam's.
        max_iter: Epochs.
        early_stopping: Whether to stop by the bound on held-out rows, and keep the best parameters.
        validation_fraction: Share of rows held out for it.
        n_iter_no_change: Epochs without a better bound that end the fit.
        tol: Nats per row that count as better.
        n_draws: Draws of z per row in ``score_samples``, and in ``reconstruct``.
        random_state: Seed of everything.

    Attributes:
        parameters_: All fitted numbers, arrays by their place in the inference.
        n_iter_: Epochs run.
        loss_: Negative ELBO over the last epoch, nats per row.
        loss_curve_: The same of every epoch.
        validation_scores_: The bound on held-out rows, with ``early_stopping``.
        best_validation_score_: The best of them.
        n_features_in_: Number of columns.

    References:
        Kingma & Welling (2014), Auto-encoding variational Bayes; Burda et al. (2016), Importance weighted
        autoencoders, for ``score_samples``.

    Example:
        >>> import numpy as np
        >>> X = np.random.default_rng(0).normal(size=(60, 1)) * [1.0, 2.0, -1.0]
        >>> vae = VAE(n_components=1, hidden_layer_sizes=(8,), max_iter=5, random_state=0).fit(X)
        >>> vae.transform(X).shape, vae.inverse_transform(vae.transform(X)).shape
        ((60, 1), (60, 3))
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **AbstractNetworkEstimator._parameter_constraints,
        "likelihood": [StrOptions(set(NAMED)), AbstractLikelihood],
        "n_draws": [Interval(Integral, 1, None, closed="left")],
    }

    @unchecked
    def __init__(
        self,
        n_components: int = 2,
        *,
        hidden_layer_sizes: Any = (100,),
        activation: str = "tanh",
        likelihood: Any = "gaussian",
        batch_size: int | str = "auto",
        learning_rate_init: float = 1e-3,
        max_iter: int = 200,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        n_draws: int = 512,
        random_state: Any = None,
    ):
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.likelihood = likelihood
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.n_draws = n_draws
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> VAE:
        """Train encoder and decoder.

        Args:
            X: Rows (n_samples, n_features); NaN marks a missing entry.
            y: Ignored.

        Returns:
            The fitted estimator.

        Raises:
            ValueError: If parameters or rows cannot be used.
        """
        self._validate_params()
        X = checked_rows(self, X, reset=True, at_least=2)
        with precision_of(X.astype(np.float32)):
            self._train(lambda index: as_data(X[index]), len(X))
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return the posterior means E[z | x], (n_samples, n_components).

        Args:
            X: Rows (n_samples, n_features).
        """
        return self._by_row(lambda inference, rows, bits: _encoded(inference, rows), X)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Return the rows that latents stand for, E[x | z], (n_samples, n_features).

        Args:
            X: Latents, (n_samples, n_components).
        """
        check_is_fitted(self)
        Z = reals(X, rows=True)
        if Z.shape[1] != self.n_components:
            raise ValueError(f"X has {Z.shape[1]} columns, but the latents have {self.n_components}")
        with precision_of(Z):
            model = self._inference().model
            return by_block(lambda z: _decoded(model, z), Z).astype(Z.dtype)

    def reconstruct(self, X: Any) -> np.ndarray:
        """Return the mean of E[x | z] over the posterior of every row, (n_samples, n_features).

        Args:
            X: Rows (n_samples, n_features); missing entries come back filled in.
        """
        num = self.n_draws
        return self._by_row(lambda inference, rows, bits: _reconstructed(inference, rows, bits, num), X)

    def score_samples(self, X: Any) -> np.ndarray:
        """Return a lower bound on log p(x) of every row, in nats, (n_samples,).

        It is the importance-weighted bound log (1/K) Σ p(x, zₖ)/q(zₖ | x) with K = ``n_draws``, whose mean
        rises with K to log p(x). The draws follow from ``random_state`` and from the row itself, so that a
        row's score does not depend on the others.

        Args:
            X: Rows (n_samples, n_features).
        """
        num = self.n_draws
        return self._by_row(lambda inference, rows, bits: _bounds(inference, rows, bits, num), X)

    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean of ``score_samples``, in nats per row.

        Args:
            X: Rows (n_samples, n_features).
            y: Ignored.
        """
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1) -> np.ndarray:
        """Draw rows, (n_samples, n_features).

        Args:
            n_samples: How many.
        """
        check_is_fitted(self)
        if n_samples < 1:
            raise ValueError(f"Invalid value for 'n_samples': {n_samples}; it must be at least 1")
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        drawn = use.sample(self._inference(), n_samples, key=jax.random.key(seed))
        return drawn.astype(np.float64)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return self.n_components

    def _build(self, key: PRNGKey) -> Inference:
        to_model, to_posterior = jax.random.split(key)
        widths, dim, activation = self._widths, self.n_features_in_, ACTIVATIONS[self.activation]
        model = models.Decoder(
            dim,
            self.n_components,
            likelihood=self.likelihood,
            widths=widths[::-1],
            activation=activation,
            key=to_model,
        )
        posterior = posteriors.Amortized(
            families.DiagGaussian(self.n_components),
            data_dim=dim,
            widths=widths,
            activation=activation,
            key=to_posterior,
        )
        return Inference(model, posterior, objectives.ELBO(), gradients.Reparam())

    def _by_row(self, function: Any, X: Any) -> np.ndarray:
        check_is_fitted(self)
        X = checked_rows(self, X)
        missing = np.isnan(X)
        with precision_of(X):
            inference, rows = self._inference(), np.where(missing, 0.0, X)
            inference.model.check_data(Datum(rows, mask=~missing))
            bits = _bits(X, self.random_state)
            if not missing.any():
                return by_block(lambda x, b: function(inference, Datum(x), b), X, bits).astype(X.dtype)
            got = by_block(lambda x, m, b: function(inference, Datum(x, mask=m), b), rows, ~missing, bits)
            return got.astype(X.dtype)


def _bits(X: np.ndarray, random_state: Any) -> np.ndarray:
    """Return one seed a row, from its own bytes."""
    seed = random_state if isinstance(random_state, int | np.integer) else 0
    return np.array([zlib.crc32(row.tobytes(), int(seed)) for row in X], np.uint32)


@eqx.filter_jit
def _encoded(inference: Inference, rows: Datum) -> Array:
    def one(datum: Datum) -> Array:
        q: Any = inference.q(datum, key=jax.random.key(0))
        return q.mean

    return jax.vmap(one)(rows)


@eqx.filter_jit
def _decoded(model: models.Decoder, z: Float[Array, "n r"]) -> Array:
    return jax.vmap(lambda one: _mean(model, one))(z)


@eqx.filter_jit
def _reconstructed(inference: Inference, rows: Datum, bits: Shaped[Array, "n"], num: int) -> Array:
    def one(datum: Datum, seed: Array) -> Array:
        q = inference.q(datum, key=jax.random.key(0))

        def drawn(key: PRNGKey) -> Array:
            return _mean(inference.model, q.sample_and_log_prob(key=key)[0])

        return jax.lax.map(drawn, jax.random.split(jax.random.key(seed), num), batch_size=16).mean(0)

    return jax.vmap(one)(rows, bits)


@eqx.filter_jit
def _bounds(inference: Inference, rows: Datum, bits: Shaped[Array, "n"], num: int) -> Array:
    def one(datum: Datum, seed: Array) -> Array:
        model, q = inference.bound_model(), inference.q(datum, key=jax.random.key(0))

        def log_w(key: PRNGKey) -> Array:
            return independent_draws(model, q, datum, 1, key=key).log_w[0]

        # a few draws at a time: all decoders at once would not fit the cache
        each = jax.lax.map(log_w, jax.random.split(jax.random.key(seed), num), batch_size=16)
        return logsumexp(each) - jnp.log(1.0 * num)

    return jax.vmap(one)(rows, bits)


def _mean(model: models.Decoder, z: Float[Array, "r"]) -> Array:
    return means_by_kind(model.likelihood(z, None))[0]
