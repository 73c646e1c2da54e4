"""Coordinate ascent against closed forms, enumeration and scikit-learn."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import digamma, gammaln, multigammaln

import jensen as jn
from jensen import diagnose, fit, gradients, models, objectives, posteriors, use
from jensen.dist import Dirichlet, NormalWishart, kl_divergence
from jensen.errors import CombinationError, InputError, NonFiniteError
from jensen.models.static.conjugate import gaussian_log_prob

KEY = jax.random.key(1)
ROUNDING = 1e-5
MEAN, SCATTER, DOF, STRENGTH = np.array([99.0, 101.0]), np.array([[2.0, 0.3], [0.3, 1.0]]), 4.0, 0.5


def clusters() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (
        np.concatenate([rng.normal([-3, 0], [1, 0.5], (60, 2)), rng.normal([3, 2], [0.7, 1], (80, 2))]) + 100
    )


@pytest.fixture(scope="module")
def mixture() -> fit.Fitted:
    return fit.em(
        models.BayesianGaussianMixture(3, 2, key=KEY), clusters(), key=KEY, steps=150, tolerance=0.0
    )


def documents(num: int = 100) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    topics = np.kron(np.eye(3), np.ones(7))[:, :20] * rng.uniform(0.5, 1.5, (3, 20))
    topics /= topics.sum(1, keepdims=True)
    x = [rng.multinomial(50, rng.dirichlet(np.full(3, 0.3)) @ topics) for _ in range(num)]
    return np.stack(x).astype(float), topics


@pytest.fixture(scope="module")
def topics() -> fit.Fitted:
    return fit.em(models.LDA(3, 20, key=KEY), documents()[0], key=KEY, steps=60, tolerance=0.0)


def waves() -> fit.Data:
    rng = np.random.default_rng(0)
    x = (np.repeat([0.0, 6.0, 0.0, 6.0], 25) + rng.normal(size=(2, 100)))[..., None]
    return fit.Data(x, lengths=[100, 70])


@pytest.fixture(scope="module")
def chain() -> fit.Fitted:
    return fit.em(models.BayesianHMM(4, 1, key=KEY), waves(), key=KEY, steps=60, tolerance=0.0)


@pytest.mark.parametrize("name", ["mixture", "topics", "chain"])
def test_no_step_lowers_the_bound(name, request):
    bound = request.getfixturevalue(name).history.bound
    assert np.diff(bound).min() > -ROUNDING * abs(bound[-1]) / 10
    assert bound[-1] > bound[0] + 0.05


def test_a_step_that_lowers_the_bound_is_an_error(monkeypatch):
    kind = models.BayesianGaussianMixture
    monkeypatch.setattr(kind, "global_step", lambda self, q, statistics: self.prior.factors)
    with pytest.raises(NonFiniteError, match="step 1: the bound fell"):
        fit.em(models.BayesianGaussianMixture(2, 2, key=KEY), clusters()[:70], key=KEY)


def overlapping(seed: int) -> np.ndarray:
    """Short documents of eight themes that share their words: a document's bound has several optima."""
    rng = np.random.default_rng(seed)
    themes, shares = rng.dirichlet(np.full(60, 0.1), size=8), rng.dirichlet(np.full(8, 0.2), size=120)
    lengths = rng.poisson(80, size=120)
    return np.stack([rng.multinomial(n, each @ themes) for n, each in zip(lengths, shares, strict=True)])


def test_a_document_in_a_worse_optimum_ends_the_fit_with_the_topics_before_it():
    x = overlapping(3)
    model = models.LDA(8, 60, concentration=0.05, key=jax.random.key(0))
    fitted = fit.em(model, x, key=jax.random.key(3))
    bound = fitted.history.bound
    assert fitted.stop_reason == "converged" and np.diff(bound).min() > 0 and len(bound) > 10
    (event,) = fitted.history.events
    assert event.startswith(f"step {len(bound)}: the bound fell by")
    # what came back is the q of the last bound, and each document settles as it does among the others
    again = fit.evaluate(fitted.inference, x, key=KEY).mean()
    np.testing.assert_allclose(again, bound[-1], rtol=1e-6)
    capped = fit.em(model, x, key=jax.random.key(3), steps=len(bound) - 1, tolerance=0.0)
    assert capped.stop_reason == "steps" and not capped.history.events
    for one, other in zip(jax.tree.leaves(fitted.inference), jax.tree.leaves(capped.inference), strict=True):
        np.testing.assert_array_equal(one, other)


def evidence_of_one_component(x: np.ndarray) -> float:
    """log p(x) under Normal–Wishart: closed form."""
    n, d = x.shape
    centre = x.mean(0)
    scatter = SCATTER + (x - centre).T @ (x - centre)
    scatter = scatter + STRENGTH * n / (STRENGTH + n) * np.outer(centre - MEAN, centre - MEAN)
    gammas = multigammaln((DOF + n) / 2, d) - multigammaln(DOF / 2, d)
    dets = DOF / 2 * np.linalg.slogdet(SCATTER)[1] - (DOF + n) / 2 * np.linalg.slogdet(scatter)[1]
    return -n * d / 2 * np.log(np.pi) + gammas + dets + d / 2 * np.log(STRENGTH / (STRENGTH + n))


def one_component() -> models.BayesianGaussianMixture:
    return models.BayesianGaussianMixture(
        1, 2, strength=STRENGTH, dof=DOF, prior_mean=MEAN, prior_scatter=SCATTER, key=KEY
    )


def test_with_one_component_the_bound_is_the_evidence_and_predictions_its_ratios():
    x = clusters()[:12]
    fitted = fit.em(one_component(), x)
    exact = evidence_of_one_component(x)
    np.testing.assert_allclose(fitted.history.bound * len(x), exact, rtol=1e-5)
    new = clusters()[60:63]
    ratio = [evidence_of_one_component(np.vstack([x, row])) - exact for row in new]
    np.testing.assert_allclose(use.score(fitted, new), ratio, rtol=1e-4)
    again = fit.evaluate(fitted.inference, x, key=KEY).sum()
    np.testing.assert_allclose(again, exact, rtol=1e-5)


def test_the_bound_of_a_tiny_mixture_against_the_sum_over_all_assignments():
    """log p(x) = log Σ_z p(z) p(x | z), every factor in closed form; the bound lies below, and not far."""
    x = np.array([-2.0, -1.5, 1.8, 2.2, 0.1])[:, None]
    model = models.BayesianGaussianMixture(
        2, 1, concentration=1.0, prior_mean=[0.0], prior_scatter=[[2.0]], dof=3.0, key=KEY
    )
    fitted = fit.em(model, x, key=KEY, steps=300, tolerance=0.0)

    def normal_gamma(rows: np.ndarray) -> float:
        n = len(rows)
        if n == 0:
            return 0.0
        centre = rows.mean()
        scatter = 2.0 + ((rows - centre) ** 2).sum() + n / (1 + n) * centre**2
        gammas = gammaln((3 + n) / 2) - gammaln(1.5)
        dets = 1.5 * np.log(2.0) - (3 + n) / 2 * np.log(scatter)
        return -n / 2 * np.log(np.pi) + gammas + dets - 0.5 * np.log(1 + n)

    total = -np.inf
    for z in itertools.product((0, 1), repeat=len(x)):
        z = np.array(z)
        counts = np.array([(z == 0).sum(), (z == 1).sum()])
        log_p = gammaln(2) - gammaln(2 + len(x)) + gammaln(1 + counts).sum()
        total = np.logaddexp(total, log_p + normal_gamma(x[z == 0, 0]) + normal_gamma(x[z == 1, 0]))
    bound = fitted.history.bound[-1] * len(x)
    assert total - 2.5 < bound < total
    # q(θ) with every z summed out is a better bound still, and its importance weights reach the evidence
    weighted = diagnose.evidence(fitted, x, key=KEY, effort=diagnose.Effort(samples=4000))
    assert weighted.method == "importance" and weighted.upper is None
    assert bound < weighted.value * len(x) < total + 0.3
    assert abs(bound - drawn_bound(fitted, x)) < 0.05


def drawn_bound(fitted: fit.Fitted, x: np.ndarray) -> float:
    """Average Σ_i E_q(z_i)[log p(x_i, z_i | θ) − log q(z_i)] + log p(θ) − log q(θ) over draws of θ."""
    model, q = fitted.model, fitted.inference.posterior.factors
    rows = jn.core.Datum(jnp.asarray(x, jnp.float32))
    log_r = jax.vmap(lambda row: jax.nn.log_softmax(model.local(q, row).logits))(rows)

    def one(key):
        z, log_q = q.sample_and_log_prob(key=key)
        scores = z["weights"][0] + gaussian_log_prob(z["emission"], model.frame.enter(rows.x)).T
        data = (jnp.exp(log_r) * (scores - model.frame.log_scale() - log_r)).sum()
        return data + model.prior_of(None).log_prob(z).sum() - log_q.sum()

    return float(jax.jit(jax.vmap(one))(jax.random.split(KEY, 20_000)).mean())


def test_the_mixture_agrees_with_scikit_learn(mixture):
    from sklearn.mixture import BayesianGaussianMixture

    other = BayesianGaussianMixture(
        n_components=3, tol=1e-10, max_iter=1000, reg_covar=0, random_state=0,
        weight_concentration_prior_type="dirichlet_distribution",
    ).fit(clusters())  # fmt: skip
    own = mixture.model.expected(mixture.inference.posterior.factors)
    a, b = np.argsort(own.means[:, 0]), np.argsort(other.means_[:, 0])
    np.testing.assert_allclose(own.weights[a], other.weights_[b], atol=1e-4)
    np.testing.assert_allclose(own.means[a], other.means_[b], atol=1e-3)
    np.testing.assert_allclose(own.covariances[a], other.covariances_[b], rtol=1e-3, atol=1e-3)


def test_topics_agree_with_scikit_learn_and_are_found(topics):
    from sklearn.decomposition import LatentDirichletAllocation

    x, truth = documents()
    other = LatentDirichletAllocation(
        3,
        max_iter=100,
        learning_method="batch",
        random_state=0,
        mean_change_tol=1e-5,
        max_doc_update_iter=300,
    ).fit(x)
    perplexity = np.exp(-topics.history.bound[-1] * len(x) / x.sum())
    assert abs(perplexity - other.perplexity(x)) < 0.005 * perplexity
    found = np.asarray(topics.inference.posterior.factors["topics"].mean)
    distance = np.abs(found[:, None] - truth).sum(-1)
    assert sorted(distance.argmin(1)) == [0, 1, 2] and distance.min(1).max() < 0.3
    held = documents(104)[0][100:]
    assert (use.score(topics, held, num_samples=4) < -20).all()


@pytest.mark.slow
def test_the_chain_finds_two_states_and_its_bound_lies_below_the_evidence(chain):
    hmm = chain.model.expected(chain.inference.posterior.factors)
    used = np.abs(hmm.emission_parameters["means"][:, 0][:, None] - [0, 6]).min(1) < 0.5
    assert used.sum() == 2 and hmm.transition_matrix[used][:, used].sum(1).min() > 0.9
    below = fit.evaluate(chain.inference, waves(), key=KEY)
    np.testing.assert_allclose(below.mean(), chain.history.bound[-1], rtol=1e-5)
    few = diagnose.Effort(samples=64)
    assert diagnose.evidence(chain, waves(), key=KEY, effort=few).value > chain.history.bound[-1]
    # paths of one sequence: normalized, and decisive where levels are six noise widths apart
    path = chain.model.local(chain.inference.posterior.factors, jn.core.Datum(jnp.asarray(waves().x[0])))
    assert float(path.log_prob(path.sample_and_log_prob(key=KEY)[0]).sum()) > -3


def test_the_bound_of_one_sequence_is_the_sum_over_its_paths(chain):
    """Σ_z q(z) (E log p(x, z | θ) − log q(z)) over all 4³ paths of three real steps, and one padded."""
    q, model = chain.inference.posterior.factors, chain.model
    datum = jn.core.Datum(jnp.asarray(waves().x[0, 23:27], jnp.float32), steps=jnp.asarray(3))
    emission = q["emission"]
    log_p = emission.expected_log_prob(emission.whiten(model.frame.enter(datum.x)))
    paths = np.array([(*z, -1) for z in itertools.product(range(4), repeat=3)])
    log_q = np.asarray(jax.vmap(model.local(q, datum).log_prob)(jnp.asarray(paths)).sum(-1))
    each = q["initial"].expected_log[0][paths[:, 0]] + log_p[paths[:, :3], np.arange(3)].sum(-1)
    for t in range(2):
        each = each + q["transition"].expected_log[paths[:, t], paths[:, t + 1]]
    total = (np.exp(log_q) * (np.asarray(each) - log_q)).sum() - 3 * float(model.frame.log_scale())
    np.testing.assert_allclose(np.exp(log_q).sum(), 1, rtol=1e-5)
    np.testing.assert_allclose(model.local_bound(q, datum), total, rtol=1e-4)


def test_one_state_is_one_component():
    x = clusters()[:12]
    chain = models.BayesianHMM(
        1, 2, strength=STRENGTH, dof=DOF, prior_mean=MEAN, prior_scatter=SCATTER, key=KEY
    )
    fitted = fit.em(chain, fit.Data(np.stack([x[:7], np.pad(x[7:], ((0, 2), (0, 0)))]), lengths=[7, 5]))
    np.testing.assert_allclose(fitted.history.bound * 2, evidence_of_one_component(x), rtol=1e-5)


def test_divergences_and_densities_of_the_laws_against_draws():
    q = NormalWishart(
        jnp.array([[0.5, 0.0]]), jnp.array([2.0]), jnp.array([5.0]), jnp.array([[[1.0, 0.0], [0.3, 0.8]]])
    )
    p = NormalWishart(jnp.zeros((1, 2)), jnp.array([1.0]), jnp.array([3.0]), jnp.eye(2)[None])
    a, b = Dirichlet(jnp.array([[2.0, 0.7, 3.0]])), Dirichlet(jnp.array([[1.0, 1.0, 0.5]]))

    def draws(q, p):
        z, log_q = jax.vmap(lambda key: q.sample_and_log_prob(key=key))(jax.random.split(KEY, 20_000))
        return z, np.asarray(log_q - jax.vmap(p.log_prob)(z))

    for one, other in ((q, p), (a, b)):
        ratio = draws(one, other)[1]
        exact = float(kl_divergence(one, other, None)[0])
        assert abs(ratio.mean() - exact) < 4 * ratio.std() / 141
        # ∫ p = 1: the densities are normalized against each other
        weight = np.exp(-draws(other, one)[1])
        assert abs(weight.mean() - 1) < 4 * weight.std() / 141 + 0.02
    tril = draws(q, p)[0][1]
    precision = tril @ tril.mT
    scatter = np.asarray(q.scatter_tril[0] @ q.scatter_tril[0].T)
    np.testing.assert_allclose(precision.mean(0)[0], 5 * np.linalg.inv(scatter), rtol=0.05, atol=0.15)
    np.testing.assert_allclose(np.exp(draws(a, b)[0]).mean(0)[0], a.mean[0], atol=0.01)
    np.testing.assert_allclose(
        a.expected_log[0], digamma(np.array([2, 0.7, 3])) - digamma(5.7), rtol=1e-4, atol=1e-5
    )


def test_what_is_not_conjugate_or_no_data_for_it_is_refused():
    model, elbo, analytic = models.LDA(2, 3, key=KEY), objectives.ELBO(), gradients.Analytic()
    own = posteriors.Conjugate(model.prior_of(None))
    with pytest.raises(CombinationError, match=r"use gradients\.Analytic"):
        jn.Inference(model, own, elbo, gradients.ScoreFunction())
    with pytest.raises(CombinationError, match="no conjugate prior"):
        jn.Inference(models.Gaussian(3, key=KEY), own, elbo, analytic)
    with pytest.raises(InputError, match=r"x\[1, 0\] is 0\.5"):
        fit.em(model, np.array([[1.0, 2, 3], [0.5, 1, 1]]))
    with pytest.raises(InputError, match="missing entries"):
        fit.em(models.BayesianGaussianMixture(2, 2, key=KEY), np.array([[1.0, np.nan], [2, 3], [1, 2]]))
    with pytest.raises(InputError, match="leave trainable= out"):
        fit.em(model, np.ones((2, 3)), trainable=lambda inference: inference.model)
    with pytest.raises(InputError, match=r"takes sequences.*x\[None\]"):
        fit.em(models.BayesianHMM(2, 2, key=KEY), clusters())
    with pytest.raises(InputError, match="nothing to train"):
        inference = jn.Inference(model, own, elbo, analytic)
        fit.gradient(
            inference, np.array([[1.0, 2, 3], [3, 1, 0]]), key=KEY, optimizer=optax.adam(0.1), epochs=1
        )


def test_a_fit_comes_back_from_disk(mixture, tmp_path):
    mixture.save(tmp_path / "run")
    again = fit.load(tmp_path / "run")
    np.testing.assert_array_equal(use.score(again, clusters()[:5]), use.score(mixture, clusters()[:5]))
