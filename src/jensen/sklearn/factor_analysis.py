"""Factor analysis behind scikit-learn's interface."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar

import equinox as eqx
import jax
import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from jensen import fit, models
from jensen.core import Datum
from jensen.sklearn.inputs import as_data, by_block, checked_rows, precision_of, reals, unchecked
from jensen.sklearn.rotation import rotated
from jensen.typing import Array


class FactorAnalysis(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Factor analysis, x = μ + Wᵀz + noise of its own variance in every column, with missing entries allowed.

    Parameters and attributes are ``sklearn.decomposition.FactorAnalysis``'s, without those of its singular
    value decomposition (``svd_method``, ``iterated_power``) and without ``copy``, as X is never changed. NaN
    marks missing entries, which are integrated out exactly. Factors are ordered by what they explain, and
    each has its largest loading positive. Noise variances stay above 1e-6 of the columns'.

    Args:
        n_components: Number R of factors; as many as columns by default.
        tol: Stop when a step gains less log-likelihood, in nats of all rows together.
        max_iter: Most steps.
        noise_variance_init: Initial noise variances, (n_features,).
        rotation: ``"varimax"``, ``"quartimax"`` or None.
        random_state: Seed of ``sample``.

    Attributes:
        components_: Loadings W, (R, n_features).
        noise_variance_: (n_features,).
        mean_: (n_features,).
        loglike_: Log-likelihood of all rows at the start and after every step, in nats.
        n_iter_: Steps taken.
        n_features_in_: Number of columns.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(100, 1)) * [1.0, 2.0, 0.5] + 0.1 * rng.normal(size=(100, 3))
        >>> X[::7, 1] = np.nan
        >>> factors = FactorAnalysis(n_components=1).fit(X)
        >>> factors.transform(X).shape
        (100, 1)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "tol": [Interval(Real, 0.0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "noise_variance_init": ["array-like", None],
        "rotation": [StrOptions({"varimax", "quartimax"}), None],
        "random_state": ["random_state"],
    }

    @unchecked
    def __init__(
        self,
        n_components: int | None = None,
        *,
        tol: float = 1e-2,
        max_iter: int = 1000,
        noise_variance_init: Any = None,
        rotation: str | None = None,
        random_state: Any = 0,
    ):
        self.n_components = n_components
        self.tol = tol
        self.max_iter = max_iter
        self.noise_variance_init = noise_variance_init
        self.rotation = rotation
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> FactorAnalysis:
        """Estimate mean, loadings and noise by expectation maximization.

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
        n, d = X.shape
        rank = d if self.n_components is None else self.n_components
        if rank > d:
            raise ValueError(f"n_components={rank} must be at most n_features={d}")
        with precision_of(X):
            start, data = self._start(X, rank), as_data(X)
            fitted = fit.em(start, data, steps=self.max_iter, tolerance=self.tol / n, key=jax.random.key(0))
            loadings, noise, mean = fitted.model.loadings.T, fitted.model.noise_variance, fitted.model.mean
        if fitted.stop_reason != "converged" and self.tol > 0:
            warnings.warn(
                "FactorAnalysis did not converge. You might want to increase the number of iterations.",
                ConvergenceWarning,
                stacklevel=2,
            )
        if self.rotation is not None:
            loadings = rotated(loadings, self.rotation)
        top = np.abs(loadings).argmax(1)
        sign = np.where(loadings[np.arange(rank), top] < 0, -1.0, 1.0)
        self.components_ = (sign[:, None] * loadings).astype(X.dtype)
        self.noise_variance_ = noise.astype(X.dtype)
        self.mean_ = mean.astype(X.dtype)
        self.loglike_ = [float(n * bound) for bound in fitted.history.bound]
        self.n_iter_ = max(len(self.loglike_) - 1, 1)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return the posterior mean of the factors given what is observed, (n_samples, n_components).

        Args:
            X: Rows (n_samples, n_features).
        """
        return self._by_row(_encoded, X)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Return the rows that factors stand for, μ + Wᵀz, (n_samples, n_features).

        Args:
            X: Factors, (n_samples, n_components).
        """
        check_is_fitted(self)
        return reals(X, rows=True) @ self.components_ + self.mean_

    def score_samples(self, X: Any) -> np.ndarray:
        """Return log p(x) of what is observed of every row, in nats, (n_samples,).

        Args:
            X: Rows (n_samples, n_features).
        """
        return self._by_row(_log_evidence, X)

    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean log p(x), in nats per row.

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
        rng, (rank, d) = check_random_state(self.random_state), self.components_.shape
        noise = rng.standard_normal((n_samples, d)) * np.sqrt(self.noise_variance_)
        return self.mean_ + rng.standard_normal((n_samples, rank)) @ self.components_ + noise

    def get_covariance(self) -> np.ndarray:
        """Return WᵀW + diag(noise_variance_), (n_features, n_features)."""
        check_is_fitted(self)
        return self.components_.T @ self.components_ + np.diag(self.noise_variance_)

    def get_precision(self) -> np.ndarray:
        """Return the inverse of the covariance, through a matrix of the factors' size."""
        check_is_fitted(self)
        scaled = self.components_ / self.noise_variance_
        inner = np.eye(len(scaled)) + scaled @ self.components_.T
        return np.diag(1 / self.noise_variance_) - scaled.T @ np.linalg.solve(inner, scaled)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def _start(self, X: np.ndarray, rank: int) -> models.FactorAnalysis:
        if self.noise_variance_init is None:
            return models.FactorAnalysis(X.shape[1], rank, key=jax.random.key(0))
        noise = np.asarray(self.noise_variance_init, np.float64)
        if noise.shape != X.shape[1:]:
            raise ValueError(f"noise_variance_init has shape {noise.shape}, but X has {X.shape[1]} features")
        # the first step finds the loadings that are best given this noise
        return models.FactorAnalysis.with_parameters(
            np.zeros((len(noise), rank)), noise, np.nanmean(X, axis=0)
        )

    def _by_row(self, function: Any, X: Any) -> np.ndarray:
        check_is_fitted(self)
        X = checked_rows(self, X)
        missing = np.isnan(X)
        with precision_of(X):
            parts = self.components_.T, self.noise_variance_, self.mean_
            model = models.FactorAnalysis.with_parameters(*parts)
            if missing.any():
                rows = np.where(missing, 0.0, X)
                return by_block(lambda x, m: function(model, Datum(x, mask=m)), rows, ~missing).astype(
                    X.dtype
                )
            return by_block(lambda x: function(model, Datum(x)), X).astype(X.dtype)


@eqx.filter_jit
def _encoded(model: models.FactorAnalysis, rows: Datum) -> Array:
    return jax.vmap(lambda datum: model.posterior(datum).mean)(rows)


@eqx.filter_jit
def _log_evidence(model: models.FactorAnalysis, rows: Datum) -> Array:
    return jax.vmap(model.log_evidence)(rows)
