"""What the mixture estimators share: restarts, warm starts, expectation maximization, responsibilities."""

from __future__ import annotations

import time
import warnings
from abc import abstractmethod
from numbers import Integral, Real
from typing import Any, ClassVar

import equinox as eqx
import jax
import numpy as np
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from jensen.core import Datum
from jensen.fit.em import Blocks, ascent, entered, left
from jensen.nets import trainable
from jensen.sklearn.inputs import as_data, by_block, checked_rows, filled, precision_of
from jensen.typing import Array

UNCONVERGED = (
    "Best performing initialization did not converge. Try different init parameters, or increase max_iter, "
    "tol, or check for degenerate data."
)


class AbstractMixture(DensityMixin, BaseEstimator):
    """Estimators of Σ_k w_k p_k(x), fitted by jensen's expectation maximization."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0.0, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "init_params": [StrOptions({"kmeans", "random", "random_from_data", "k-means++"})],
        "weights_init": ["array-like", None],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
        "verbose_interval": [Interval(Integral, 1, None, closed="left")],
    }

    n_components: int
    tol: float
    max_iter: int
    n_init: int
    init_params: str
    random_state: Any
    warm_start: bool
    verbose: int
    verbose_interval: int
    weights_: np.ndarray

    @abstractmethod
    def _prepared(self, X: np.ndarray) -> np.ndarray:
        """Return rows as the model takes them."""

    @abstractmethod
    def _check_parameters(self, X: np.ndarray) -> None:
        """Refuse initial parameters of the wrong shape or range."""

    @abstractmethod
    def _initialize(self, X: np.ndarray, resp: np.ndarray | None) -> None:
        """Set the parameters from responsibilities, and from what the user gave."""

    @abstractmethod
    def _needs_resp(self) -> bool:
        """Say whether any parameter must come from responsibilities."""

    @abstractmethod
    def _model(self, like: Any = None) -> Any:
        """Return jensen's model of the parameters, in the frame of another one if there is one."""

    @abstractmethod
    def _check_stepped(self, model: Any) -> None:
        """Refuse a model from which no further step should have been taken."""

    @abstractmethod
    def _read(self, model: Any, dtype: Any) -> None:
        """Take the parameters from jensen's model."""

    @abstractmethod
    def _get_parameters(self) -> tuple[np.ndarray, ...]:
        """Return all parameters."""

    @abstractmethod
    def _set_parameters(self, params: tuple[np.ndarray, ...]) -> None:
        """Set all parameters and what follows from them."""

    @abstractmethod
    def _n_parameters(self) -> int:
        """Return the number of free parameters."""

    @abstractmethod
    def _draw(self, k: int, num: int, rng: np.random.RandomState) -> np.ndarray:
        """Draw rows from one component."""

    def fit(self, X: Any, y: Any = None) -> AbstractMixture:
        """Estimate the parameters by expectation maximization.

        The best of ``n_init`` starts is kept. With ``warm_start`` a second call goes on from the first.

        Args:
            X: Rows (n_samples, n_features); NaN marks a missing entry, which is integrated out.
            y: Ignored.

        Returns:
            The fitted estimator.

        Raises:
            ValueError: If parameters or rows cannot be used.
        """
        self._validate_params()
        X = checked_rows(self, X, reset=True, at_least=2)
        if len(X) < self.n_components:
            raise ValueError(
                f"Expected n_samples >= n_components but got n_components = {self.n_components}, "
                f"n_samples = {len(X)}"
            )
        self._check_parameters(X)
        X = self._prepared(X)
        with precision_of(X):
            self._fit(X)
        return self

    def fit_predict(self, X: Any, y: Any = None) -> np.ndarray:
        """Fit, and return the most probable component of every row, (n_samples,).

        Args:
            X: Rows (n_samples, n_features).
            y: Ignored.
        """
        return self.fit(X).predict(X)

    def score_samples(self, X: Any) -> np.ndarray:
        """Return log p(x) of every row in nats, (n_samples,), missing entries integrated out.

        Args:
            X: Rows (n_samples, n_features).
        """
        joint = self._log_joint(X)
        top = joint.max(1)
        return top + np.log(np.exp(joint - top[:, None]).sum(1))

    def score(self, X: Any, y: Any = None) -> float:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the mean log p(x), in nats per row.

        Args:
            X: Rows (n_samples, n_features).
            y: Ignored.
        """
        return float(self.score_samples(X).mean())

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable component of every row, (n_samples,).

        Args:
            X: Rows (n_samples, n_features).
        """
        return self._log_joint(X).argmax(1)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of every component given each row, (n_samples, n_components).

        Args:
            X: Rows (n_samples, n_features).
        """
        joint = self._log_joint(X)
        proba = np.exp(joint - joint.max(1, keepdims=True))
        return proba / proba.sum(1, keepdims=True)

    def sample(self, n_samples: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Draw rows and their components, sorted by component.

        Args:
            n_samples: How many.

        Returns:
            Rows (n_samples, n_features), and the component of each.
        """
        check_is_fitted(self)
        if n_samples < 1:
            raise ValueError(
                f"Invalid value for 'n_samples': {n_samples} . The sampling requires at least one sample."
            )
        rng = check_random_state(self.random_state)
        weights = np.asarray(self.weights_, np.float64)
        counts = rng.multinomial(n_samples, weights / weights.sum())
        X = np.concatenate([self._draw(k, int(num), rng) for k, num in enumerate(counts)])
        return X, np.repeat(np.arange(len(counts)), counts)

    def bic(self, X: Any) -> float:
        """Return the Bayesian information criterion; the lower the better.

        Args:
            X: Rows (n_samples, n_features).
        """
        log_p = self.score_samples(X)
        return float(-2 * log_p.sum() + self._n_parameters() * np.log(len(log_p)))

    def aic(self, X: Any) -> float:
        """Return the Akaike information criterion; the lower the better.

        Args:
            X: Rows (n_samples, n_features).
        """
        return float(-2 * self.score_samples(X).sum() + 2 * self._n_parameters())

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _fit(self, X: np.ndarray) -> None:
        """Climb from every start; keep the parameters with the highest bound."""
        rng, data = check_random_state(self.random_state), as_data(X)
        fresh = not (self.warm_start and "converged_" in vars(self))
        before = -np.inf if fresh else self.lower_bound_
        best: tuple[tuple[np.ndarray, ...], list[float], bool] | None = None
        top, like, blocks = -np.inf, None, None
        for init in range(self.n_init if fresh else 1):
            self._say(1, f"Initialization {init}")
            if fresh:
                self._initialize(
                    filled(X), self._responsibilities(filled(X), rng) if self._needs_resp() else None
                )
            if self.max_iter == 0:
                best = self._get_parameters(), [], False
                top = -np.inf
                break
            model = self._model(like)
            if like is None or blocks is None:
                like, blocks = model, Blocks.of(model, data)
            bounds, converged = self._climb(model, blocks, before, X.dtype)
            if best is None or bounds[-1] > top:
                best, top = (self._get_parameters(), bounds, converged), bounds[-1]
        assert best is not None  # there is one start at least
        params, self.lower_bounds_, self.converged_ = best
        if not self.converged_ and self.max_iter > 0:
            warnings.warn(UNCONVERGED, ConvergenceWarning, stacklevel=3)
        self._set_parameters(params)
        self.n_iter_, self.lower_bound_ = len(self.lower_bounds_), top

    def _climb(self, model: Any, blocks: Blocks, before: float, dtype: Any) -> tuple[list[float], bool]:
        """Take EM steps from a model and read the last one; return the bounds, and whether they settled."""
        bounds, last, converged, begun = [], (model, model), False, time.perf_counter()
        first = entered(model)
        for at, bound, new in ascent(first, trainable(first), blocks):
            last, change = (at, new), bound - (bounds[-1] if bounds else before)
            bounds.append(bound)
            if len(bounds) % self.verbose_interval == 0:
                self._say(2, f"  Iteration {len(bounds)}\t ll change {change:.5f}", 1)
            converged = bool(abs(change) < self.tol)
            if converged or len(bounds) == self.max_iter:
                break
        word = "converged" if converged else "did not converge"
        lapse = f" time lapse {time.perf_counter() - begun:.5f}s\t lower bound {bounds[-1]:.5f}."
        self._say(1, f"Initialization {word}." + (lapse if self.verbose > 1 else ""))
        self._check_stepped(last[0])
        self._read(left(last[1], model), dtype)
        return bounds, converged

    def _say(self, level: int, text: str, short: int | None = None) -> None:
        """Print for this verbosity; at ``short`` its first words only."""
        if self.verbose >= level:
            print(text)
        elif short is not None and self.verbose >= short:
            print(text.split("\t")[0])

    def _responsibilities(self, X: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
        """Choose which component begins with which rows, by the draws scikit-learn makes."""
        n, k = len(X), self.n_components
        resp = np.zeros((n, k), X.dtype)
        match self.init_params:
            case "kmeans":
                # their default, "auto", is what pyright reads as the type
                label = KMeans(n_clusters=k, n_init=1, random_state=rng).fit(X).labels_  # pyright: ignore[reportArgumentType]
                resp[np.arange(n), label] = 1
            case "random":
                resp = rng.uniform(size=(n, k)).astype(X.dtype)
                resp /= resp.sum(1, keepdims=True)
            case "random_from_data":
                resp[rng.choice(n, size=k, replace=False), np.arange(k)] = 1
            case _:
                resp[kmeans_plusplus(X, k, random_state=rng)[1], np.arange(k)] = 1
        return resp

    def _log_joint(self, X: Any) -> np.ndarray:
        """Return log p(x, k), (n_samples, n_components), in nats."""
        check_is_fitted(self)
        X = self._prepared(checked_rows(self, X))
        missing = np.isnan(X)
        with precision_of(X):
            model = self._model()
            if missing.any():
                rows = np.where(missing, 0.0, X)
                return by_block(lambda x, m: _joint(model, Datum(x, mask=m)), rows, ~missing).astype(X.dtype)
            return by_block(lambda x: _joint(model, Datum(x)), X).astype(X.dtype)


@eqx.filter_jit
def _joint(model: Any, rows: Datum) -> Array:
    return model.log_weights + jax.vmap(model.component_log_prob)(rows)
