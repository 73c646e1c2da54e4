"""Bernoulli mixtures behind scikit-learn's interface."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval

from jensen import models
from jensen.sklearn.gaussian_parameters import check_shape, checked_weights
from jensen.sklearn.inputs import reals, unchecked
from jensen.sklearn.mixture import AbstractMixture


class BernoulliMixture(AbstractMixture):
    """Mixture of independent Bernoulli columns by expectation maximization, missing entries allowed.

    Its parameters are those of ``GaussianMixture`` as far as they apply, with ``binarize`` as in
    ``sklearn.naive_bayes.BernoulliNB``.

    Args:
        n_components: Number K of components.
        binarize: Entries above it are 1, the others 0; ``None`` for X of 0 and 1 already.
        min_prob: Least probability of a 1, and of a 0, in the M-step; at least the spacing of the rows' own
            precision at 1, 1.2e-7 in float32.
        tol: Stop when the mean log p(x) changes by less, in nats per row.
        max_iter: Most EM steps.
        n_init: Starts, of which the best is kept.
        init_params: ``"kmeans"``, ``"k-means++"``, ``"random"`` or ``"random_from_data"``.
        weights_init: Initial weights, (K,).
        probs_init: Initial probabilities of a 1, (K, n_features).
        random_state: Seed of the starts and of ``sample``.
        warm_start: Whether a second fit goes on where the first ended.
        verbose: 1 for a line a start and every ``verbose_interval`` steps, 2 for numbers too.
        verbose_interval: Steps between the lines.

    Attributes:
        weights_: (K,).
        probs_: Probabilities of a 1, (K, n_features).
        converged_: Whether the best start met ``tol``.
        n_iter_: Its EM steps.
        lower_bound_: Its mean log p(x) before the last step, in nats per row.
        lower_bounds_: The same before every step.
        n_features_in_: Number of columns.

    Example:
        >>> import numpy as np
        >>> X = np.array([[1, 1, 0], [0, 0, 1]] * 20)
        >>> mixture = BernoulliMixture(2, random_state=0).fit(X)
        >>> np.sort(mixture.probs_[:, 0]).round(3).tolist()
        [0.001, 0.999]
        >>> np.unique(mixture.predict([[1.0, np.nan, 0.0], [np.nan, 0.0, 1.0]])).tolist()
        [0, 1]
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **AbstractMixture._parameter_constraints,
        "binarize": [Interval(Real, None, None, closed="neither"), None],
        "min_prob": [Interval(Real, 0.0, 0.5, closed="neither")],
        "probs_init": ["array-like", None],
    }

    @unchecked
    def __init__(
        self,
        n_components: int = 1,
        *,
        binarize: float | None = 0.0,
        min_prob: float = 1e-3,
        tol: float = 1e-3,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: str = "kmeans",
        weights_init: Any = None,
        probs_init: Any = None,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
    ):
        self.n_components = n_components
        self.binarize = binarize
        self.min_prob = min_prob
        self.tol = tol
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weights_init = weights_init
        self.probs_init = probs_init
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval

    def _prepared(self, X: np.ndarray) -> np.ndarray:
        if self.binarize is not None:
            return np.where(np.isnan(X), np.nan, self.binarize < X).astype(X.dtype)
        if not ((X == 0) | (X == 1) | np.isnan(X)).all():
            raise ValueError("BernoulliMixture with binarize=None takes entries 0 and 1 only; set binarize")
        return X

    def _check_parameters(self, X: np.ndarray) -> None:
        if self.weights_init is not None:
            checked_weights(self.weights_init, self.n_components)
        if self.probs_init is not None:
            probs = reals(self.probs_init)
            check_shape(probs, (self.n_components, X.shape[1]), "probs")
            if not ((probs > 0) & (probs < 1)).all():
                raise ValueError("The parameter 'probs' should be in the range (0, 1)")

    def _needs_resp(self) -> bool:
        return self.weights_init is None or self.probs_init is None

    def _initialize(self, X: np.ndarray, resp: np.ndarray | None) -> None:
        weights, probs = self.weights_init, self.probs_init
        if resp is not None:
            count, mean = resp.sum(0), np.clip(X.mean(0), 0.01, 0.99)
            weights = count / len(X) if weights is None else weights
            probs = (resp.T @ X + mean) / (count[:, None] + 1) if probs is None else probs
        self.weights_, self.probs_ = np.asarray(weights, X.dtype), np.asarray(probs, X.dtype)
        # a number below 1 may be 1 once rounded
        least = np.finfo(X.dtype)
        self.probs_ = np.clip(self.probs_, least.tiny, 1 - least.epsneg)

    def _model(self, like: Any = None) -> models.BernoulliMixture:
        weights = np.maximum(np.asarray(self.weights_, np.float64), np.finfo(np.float64).tiny)
        min_prob = max(float(self.min_prob), float(np.finfo(self.probs_.dtype).eps))
        return models.BernoulliMixture.with_parameters(weights, self.probs_, min_prob=min_prob)

    def _check_stepped(self, model: Any) -> None:
        """Any mixture will do."""

    def _read(self, model: Any, dtype: Any) -> None:
        self._set_parameters((model.weights.astype(dtype), model.probs.astype(dtype)))

    def _get_parameters(self) -> tuple[np.ndarray, ...]:
        return self.weights_, self.probs_

    def _set_parameters(self, params: tuple[np.ndarray, ...]) -> None:
        self.weights_, self.probs_ = params

    def _n_parameters(self) -> int:
        k, d = self.probs_.shape
        return k * d + k - 1

    def _draw(self, k: int, num: int, rng: np.random.RandomState) -> np.ndarray:
        return (rng.uniform(size=(num, self.probs_.shape[1])) < self.probs_[k]).astype(self.probs_.dtype)
