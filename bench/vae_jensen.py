"""jensen's contestant of `vae_epoch`: the four choices, one call."""

from __future__ import annotations

import jax
import optax
from harness import Run
from vae_epoch import BATCH, DATA, EPOCHS, HIDDEN, LATENT, RATE, Weights, elbo, images

import jensen as jn
from jensen import families, fit, gradients, models, objectives, posteriors


def _inference(key: jax.Array) -> jn.Inference:
    p, q = jax.random.split(key)
    net = {"data_dim": DATA, "widths": (HIDDEN,), "activation": jax.nn.relu}
    model = models.Decoder(latent_dim=LATENT, likelihood="bernoulli", **net, key=p)
    posterior = posteriors.Amortized(families.DiagGaussian(LATENT), **net, key=q)
    return jn.Inference(model, posterior, objectives.ELBO(), gradients.Reparam())


def _weights(inference: jn.Inference) -> Weights:
    """The networks as plain matrices; the encoder's centring is folded into its first bias."""
    encoder, heads = inference.posterior.net.layers
    expand, logits = inference.model.net.layers
    frame = inference.posterior.frame
    first = encoder.weight / frame.scale
    hidden = (first.T, encoder.bias - first @ frame.shift)
    mean, raw = (
        (heads.weight[half].T, heads.bias[half]) for half in (slice(None, LATENT), slice(LATENT, None))
    )
    # q's log-scale is bounded smoothly at ±10; where it is small, as here, its variance is e^(2 raw)
    log_var = tuple(2 * v for v in raw)
    return Weights(hidden, mean, log_var, *((m.weight.T, m.bias) for m in (expand, logits)))


def fit_gradient() -> Run:
    x = images()
    adam = optax.adam(RATE)

    def run():
        key = jax.random.key(0)
        fitted = fit.gradient(_inference(key), x, key=key, optimizer=adam, epochs=EPOCHS, batch_size=BATCH)
        steps = len(x) // BATCH
        last = float(fitted.history.bound[-steps:].mean())
        return lambda: {"elbo": elbo(_weights(fitted.inference), x), "last epoch": last}

    return run
