"""Every combination is judged: right, said to be biased, or refused with an alternative that exists."""

from __future__ import annotations

import functools
import inspect
import re
from typing import Any, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen import core, families, gradients, models, objectives, posteriors
from jensen.core import Inference
from jensen.core.verdict import Kind
from jensen.errors import CombinationError
from jensen.models import likelihoods, priors
from jensen.nets import trainable

from . import registry

DATUM = registry.ROW
FOLDERS = {
    families: registry.FAMILIES | registry.BENT,
    priors: registry.PRIORS,
    likelihoods: registry.LIKELIHOODS,
    models: registry.MODELS,
    posteriors: registry.POSTERIORS,
    objectives: registry.OBJECTIVES | registry.OF_ROWS | registry.ACROSS_DATA | registry.SCHEDULES,
    gradients: registry.GRADIENTS | registry.BASELINES,
}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.__name__)
def test_registry_is_complete(folder):
    public = {
        name
        for name in folder.__all__
        if inspect.isclass(getattr(folder, name)) and not inspect.isabstract(getattr(folder, name))
    }
    assert public == set(FOLDERS[folder])


MODELS = registry.MODELS | registry.MORE_MODELS
OBJECTIVES = registry.OBJECTIVES | registry.MORE_OBJECTIVES
GRADIENTS = registry.GRADIENTS | registry.MORE_GRADIENTS
MEMBERS = {"families": families, "posteriors": posteriors, "objectives": objectives, "gradients": gradients}
KNOWN = {name for folder in MEMBERS.values() for name in folder.__all__}
OPTIONS = set(inspect.signature(objectives.ELBO).parameters)


def names_an_alternative(text: str) -> bool:
    for folder, name in re.findall(r"\b(families|posteriors|objectives|gradients)\.(\w+)", text):
        assert hasattr(MEMBERS[folder], name), f"{folder}.{name} does not exist: {text}"
    advice = re.findall(r"\b(?:use|or)\b(.*)", text)
    words = set(re.findall(r"\w+", " ".join(advice)))
    return bool(words & (KNOWN | OPTIONS))


def combinations(model):
    of_condition = registry.MORE_POSTERIORS if isinstance(model, core.HasCondition) else {}
    of_rows = registry.OF_ROWS if registry.datum_for(model) is registry.ROW else {}
    if isinstance(model, models.Decoder) and isinstance(
        model.prior, priors.StandardNormal | priors.Bernoulli
    ):
        of_rows = of_rows | registry.ACROSS_DATA
    plain = isinstance(model, models.Decoder) and isinstance(model.prior, priors.StandardNormal)
    if isinstance(model, core.HasCoordinateAscent):
        of_condition = {"Conjugate(own)": lambda family: posteriors.Conjugate(model.prior_of(None))}
    climbs = {o: made(make) for o, make in (OBJECTIVES | of_rows).items()}
    ways = {g: made(make) for g, make in GRADIENTS.items()}
    for p in registry.POSTERIORS | of_condition:
        bent = registry.BENT if p == "Amortized" and plain else {}
        for f in registry.FAMILIES | bent:
            if p in registry.OF_NETWORKS and f not in ("DiagGaussian", "OneHot"):
                continue
            if p.partition("(")[0] in registry.NO_FAMILY and f != "DiagGaussian":
                continue
            own = p == "Conjugate(own)"
            posterior = of_condition[p](None) if own else posterior_of(p, f)
            if hopeless(model, posterior):
                yield (p, f, "ELBO", "Reparam"), (model, posterior, objectives.ELBO(), gradients.Reparam())
                continue
            for o, objective in climbs.items():
                for g, gradient in ways.items():
                    yield (p, f, o, g), (model, posterior, objective, gradient)


@functools.cache
def made(make):
    """Make a member once for all models; members are frozen."""
    return make()


@functools.cache
def posterior_of(p, f):
    """Make a posterior over a family once for all models."""
    make_family = (registry.FAMILIES | registry.BENT)[f]
    return (registry.POSTERIORS | registry.MORE_POSTERIORS)[p](make_family())


class Four(core.AbstractInference):
    """Four choices that nobody has judged."""

    model: Any
    posterior: Any
    objective: Any
    gradient: Any

    def bound_model(self):
        return self.model

    def share(self, num_data):
        return 1.0


def hopeless(model, posterior):
    """Whether the posterior refuses the model under every objective, so that one refusal stands for all."""
    climbs = [made(make) for make in (objectives.ELBO, *(OBJECTIVES | registry.OF_ROWS).values())]
    ways = [made(GRADIENTS[g]) for g in ("Reparam", "Analytic", "Enumerate")]
    return all(posterior.rule(Four(model, posterior, o, g)).kind == "refused" for o in climbs for g in ways)


def gradient_of(inference: Inference, datum):
    parts = (inference.model, inference.posterior)
    params, static = eqx.partition(parts, trainable(parts))

    def surrogate(params):
        model, posterior = eqx.combine(params, static)
        own = eqx.tree_at(lambda i: (i.model, i.posterior), inference, (model, posterior))
        out = own.gradient(
            own,
            datum,
            key=jax.random.key(1),
            step=jnp.asarray(0),
            num_data=1,
            state=own.gradient.init(own),
        )
        return out.surrogate, (out.value, out.state)

    return params, lambda p: jax.grad(surrogate, has_aux=True)(p)


@pytest.mark.parametrize("name", MODELS)
def test_every_combination_is_right_or_refused(name):
    model = MODELS[name]()
    datum = registry.datum_for(model)
    kinds, shaped, evaluated, refused = dict.fromkeys(get_args(Kind), 0), set(), set(), 0
    for (p, f, o, g), four in combinations(model):
        try:
            inference = Inference(*four)
        except CombinationError as error:
            refused += 1
            assert names_an_alternative(str(error)), f"{p}({f}) {o} {g}: {error}"
            continue
        kinds[inference.check().kind] += 1
        # the estimator sees the law, not where its parameters came from: one posterior in turn is enough
        if (o, g) in shaped or (name in registry.LIKE_ANOTHER and g in evaluated):
            continue
        shaped.add((o, g))
        params, gradient = gradient_of(inference, datum)
        if g in evaluated:
            out, (value, _) = jax.eval_shape(gradient, params)
        else:
            evaluated.add(g)
            out, (value, _) = jax.jit(gradient)(params)
            assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(out)), (p, f, o, g)
            assert np.isfinite(value)
        assert value.shape == ()
        assert jax.tree.structure(out) == jax.tree.structure(params)
        assert [a.shape for a in jax.tree.leaves(out)] == [a.shape for a in jax.tree.leaves(params)]
    print(name, kinds, "refused", refused)
    assert kinds["unverified"] == kinds["refused"] == 0
    # a carry that holds the draw, and a q that is a point, leave straight-through alone
    only_biased = name in ("RSSM(OneHot)", "Decoder(Codebook)")
    assert (kinds["exact"] + kinds["unbiased"] > 0) != only_biased and refused > 0


def refusal(*four) -> str:
    with pytest.raises(CombinationError) as caught:
        Inference(*four)
    return str(caught.value)


def test_the_known_refusals():
    vae, amortized = registry.MODELS["Decoder"](), registry.POSTERIORS["Amortized"]
    gaussian, one_hot = registry.FAMILIES["DiagGaussian"](), registry.FAMILIES["OneHot"]()
    discrete = registry.MORE_MODELS["Decoder(OneHot)"]()
    stl, elbo, iwae = gradients.StickTheLanding(), objectives.ELBO(), objectives.IWAE(2)
    shared = registry.POSTERIORS["Global"](gaussian)
    assert "DoublyReparam" in refusal(vae, amortized(gaussian), iwae, stl)
    assert "kl='sampled'" in refusal(vae, amortized(gaussian), objectives.ELBO(kl="analytic"), stl)
    assert "use ELBO" in refusal(vae, shared, iwae, gradients.Reparam())
    assert "StickTheLanding" in refusal(vae, amortized(gaussian), elbo, gradients.DoublyReparam())
    assert "num_samples ≥ 2" in refusal(
        discrete, amortized(one_hot), elbo, gradients.ScoreFunction(gradients.LeaveOneOut())
    )
    assert "4096" in refusal(discrete, amortized(one_hot), objectives.IWAE(9), gradients.Enumerate())
    assert "families.DiagGaussian" in refusal(vae, amortized(one_hot), elbo, gradients.Enumerate())
    assert "use Amortized" in refusal(vae, posteriors.Exact(), elbo, gradients.Reparam())
    assert "length 5" in refusal(vae, amortized(families.DiagGaussian(5)), elbo, gradients.Reparam())
    assert "Exact" in refusal(registry.MODELS["Gaussian"](), amortized(gaussian), elbo, gradients.Reparam())


def test_iwae_with_one_z_behind_several_data_is_refused_for_black_boxes_too():
    class Density(core.AbstractModel):
        def log_joint(self, z, datum):
            return -0.5 * jnp.sum(z**2)

    q = posteriors.Global(families.DiagGaussian(2), key=registry.KEY)
    with pytest.warns(match="Density"):
        inference = Inference(Density(), q, objectives.IWAE(2), gradients.Reparam())
    assert np.isfinite(inference.bound(DATUM, key=registry.KEY, num_data=1))
    with pytest.raises(CombinationError, match=r"counts once for 3 data that share z; subclass"):
        inference.bound(DATUM, key=registry.KEY, num_data=3)


def test_a_members_own_parts_are_unverified():
    class Odd(families.AbstractFamily):
        law = families.DiagGaussian.law
        latent_dim: int = 2
        num_params: int = 4

        def __call__(self, params):
            return families.DiagGaussian(2)(params)

        def initial_params(self):
            return jnp.zeros(4)

    with pytest.warns(match="Odd"):
        inference = Inference(
            registry.MODELS["Decoder"](),
            registry.POSTERIORS["Amortized"](Odd()),
            objectives.ELBO(),
            gradients.Reparam(),
        )
    assert inference.check().kind == "unverified"
