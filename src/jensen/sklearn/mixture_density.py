"""Mixture density networks behind scikit-learn's interface."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils import Tags, check_consistent_length
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from jensen import fit, gradients, models, objectives, posteriors
from jensen.core import Datum, Inference
from jensen.sklearn.inputs import by_block, key_of, precision_of, reals, unchecked
from jensen.sklearn.networks import AbstractNetworkEstimator
from jensen.typing import Array, Float, PRNGKey, PRNGKeys


class MixtureDensityRegressor(RegressorMixin, AbstractNetworkEstimator):
    """Regression that gives the whole law of y: p(y | x) = Σ_k π_k(x) N(y; μ_k(x), Σ_k(x)), by one network.

    ``predict`` gives its mean, which lies between the branches where y is multimodal: then ask ``sample`` or
    ``log_density``.

    Args:
        n_components: Number K of components.
        covariance_type: ``"diag"``, or ``"full"`` for outputs that are correlated given x and component.
        hidden_layer_sizes: Widths of the hidden layers.
        activation: ``"tanh"``, ``"relu"``, ``"silu"`` or ``"gelu"``.
        batch_size: Rows a step; ``"auto"`` for 200, or all if they are fewer.
        learning_rate_init: Adam's.
        max_iter: Epochs.
        early_stopping: Whether to stop by log p(y | x) on held-out rows, and keep the best parameters.
        validation_fraction: Share of rows held out for it.
        n_iter_no_change: Epochs without a better one that end the fit.
        tol: Nats per row that count as better.
        random_state: Seed of everything.

    Attributes:
        parameters_: All fitted numbers, arrays by their place in the inference.
        n_iter_: Epochs run.
        loss_: Negative log p(y | x) over the last epoch, nats per row.
        loss_curve_: The same of every epoch.
        validation_scores_: log p(y | x) on held-out rows, with ``early_stopping``.
        best_validation_score_: The best of them.
        n_features_in_: Number of columns of X.
        n_outputs_: Number of columns of y.

    References:
        Bishop (1994), Mixture density networks.

    Example:
        >>> import numpy as np
        >>> X = np.linspace(-1.0, 1.0, 80)[:, None]
        >>> regressor = MixtureDensityRegressor(2, hidden_layer_sizes=(8,), max_iter=20, random_state=0)
        >>> mean, std = regressor.fit(X, X[:, 0] ** 2).predict(X, return_std=True)
        >>> mean.shape, std.shape, regressor.sample(X[:5], 3).shape
        ((80,), (80,), (5, 3))
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **AbstractNetworkEstimator._parameter_constraints,
        "covariance_type": [StrOptions({"diag", "full"})],
    }

    @unchecked
    def __init__(
        self,
        n_components: int = 5,
        *,
        covariance_type: str = "diag",
        hidden_layer_sizes: Any = (100,),
        activation: str = "tanh",
        batch_size: int | str = "auto",
        learning_rate_init: float = 1e-3,
        max_iter: int = 200,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        random_state: Any = None,
    ):
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> MixtureDensityRegressor:
        """Train the network on log p(y | x).

        Args:
            X: Rows (n_samples, n_features).
            y: Targets (n_samples,) or (n_samples, n_outputs).

        Returns:
            The fitted estimator.

        Raises:
            ValueError: If parameters or rows cannot be used.
        """
        self._validate_params()
        kinds: Any = [np.float64, np.float32]
        X, y = validate_data(self, X, y, dtype=kinds, multi_output=True, y_numeric=True, ensure_min_samples=2)
        self._flat = y.ndim == 1
        y = y.reshape(len(y), -1).astype(np.float64)
        self.n_outputs_ = y.shape[1]
        with precision_of(X.astype(np.float32)):
            self._train(lambda index: fit.Data(y[index], cond=X[index]), len(X))
        return self

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Return the mean of y given every row, and its standard deviation if asked for.

        Args:
            X: Rows (n_samples, n_features).
            return_std: Whether to return deviations too.

        Returns:
            (n_samples,) or (n_samples, n_outputs), as y was; or two such arrays.
        """
        moments = self._by_row(_moments, X)
        mean, std = (self._as_given(part) for part in (moments[:, 0], moments[:, 1]))
        return (mean, std) if return_std else mean

    def weights(self, X: Any) -> np.ndarray:
        """Return the weights of the components given every row, (n_samples, n_components).

        Args:
            X: Rows (n_samples, n_features).
        """
        return self._by_row(_weights, X)

    def sample(self, X: Any, n_samples: int = 1) -> np.ndarray:
        """Draw y given every row, (n_rows, n_samples) or (n_rows, n_samples, n_outputs).

        Args:
            X: Rows (n_rows, n_features).
            n_samples: Draws per row.
        """
        if n_samples < 1:
            raise ValueError(f"Invalid value for 'n_samples': {n_samples}; it must be at least 1")
        check_is_fitted(self)
        keys = np.asarray(jax.random.key_data(jax.random.split(key_of(self.random_state), len(X))))
        drawn = self._by_row(lambda inference, x, k: _drawn(inference, x, k, n_samples), X, keys)
        return drawn[..., 0] if self._flat else drawn

    def log_density(self, X: Any, y: Any) -> np.ndarray:
        """Return log p(y | x) of every row, in nats, (n_samples,).

        Args:
            X: Rows (n_samples, n_features).
            y: Targets, as in ``fit``.

        Raises:
            ValueError: If rows and targets differ in number, or outputs from those of ``fit``.
        """
        check_is_fitted(self)
        targets = reals(y)
        check_consistent_length(X, targets)
        targets = targets.reshape(len(targets), -1)
        if targets.shape[1] != self.n_outputs_:
            raise ValueError(f"y has {targets.shape[1]} outputs, but {self.n_outputs_} were seen in fit")
        return self._by_row(_log_density, X, targets)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _build(self, key: PRNGKey) -> Inference:
        model = models.MixtureDensity(
            self.n_outputs_,
            self.n_features_in_,
            self.n_components,
            covariance=self.covariance_type,
            net=None,
            widths=self._widths,
            key=key,
        )
        return Inference(model, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())

    def _as_given(self, values: np.ndarray) -> np.ndarray:
        return values[:, 0] if self._flat else values

    def _by_row(self, function: Any, X: Any, *others: np.ndarray) -> np.ndarray:
        check_is_fitted(self)
        kinds: Any = [np.float64, np.float32]
        X = validate_data(self, X, reset=False, dtype=kinds)
        with precision_of(X):
            inference = self._inference()
            got = by_block(lambda *arrays: function(inference, *arrays), X, *others)
        return got.astype(X.dtype)


@eqx.filter_jit
def _moments(inference: Inference, x: Float[Array, "n c"]) -> Array:
    def one(cond: Array) -> Array:
        model = inference.model
        logits, heads = model.heads(cond)
        weights = jax.nn.softmax(logits)
        mean = weights @ heads.means
        within = (heads.tril**2).sum(-1)
        variance = weights @ (within + (heads.means - mean) ** 2)
        return jnp.stack([model.frame.leave(mean), model.frame.scale * jnp.sqrt(variance)])

    return jax.vmap(one)(x)


@eqx.filter_jit
def _weights(inference: Inference, x: Float[Array, "n c"]) -> Array:
    return jax.vmap(lambda cond: inference.model.prior_of(cond).probs)(x)


@eqx.filter_jit
def _drawn(inference: Inference, x: Float[Array, "n c"], bits: Any, num: int) -> Array:
    def one(cond: Array, key: PRNGKey) -> Array:
        like = Datum(jnp.zeros(inference.model.data_dim), cond)
        return jax.vmap(lambda k: inference.model.simulate(like, key=k)[1])(jax.random.split(key, num))

    keys: PRNGKeys = jax.random.wrap_key_data(bits)
    return jax.vmap(one)(x, keys)


@eqx.filter_jit
def _log_density(inference: Inference, x: Float[Array, "n c"], y: Float[Array, "n d"]) -> Array:
    return jax.vmap(lambda cond, target: inference.model.log_evidence(Datum(target, cond)))(x, y)
