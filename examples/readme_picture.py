"""Fit a VAE to the digits and draw the README's picture: reconstructions, latent map, and the gap.

Run from the repository's root: ``python examples/readme_picture.py`` (about two minutes on two cores).
"""

from __future__ import annotations

from pathlib import Path

import jax
import matplotlib
import numpy as np
import optax
from matplotlib.figure import Figure

import jensen as jn
from jensen import datasets, diagnose, families, fit, gradients, models, objectives, posteriors, use
from jensen.report import figure as look
from jensen.report import gap as gaps
from jensen.report import plots

TARGET = Path("docs/images/digits_vae.png")


def main() -> None:
    data = datasets.load("digits")
    x = datasets.binarize(data.x, "threshold", seed=0)
    train, held = datasets.split(len(x), 0.1, seed=0)
    keys = jax.random.split(jax.random.key(0), 4)

    vae = models.Decoder(data_dim=64, latent_dim=8, likelihood="bernoulli", widths=(128, 128), key=keys[0])
    q = posteriors.Amortized(families.DiagGaussian(8), data_dim=64, widths=(128, 128), key=keys[1])
    fitted = fit.gradient(
        jn.Inference(vae, q, objectives.ELBO(), gradients.Reparam()),
        x[train],
        key=keys[2],
        validation=x[held],
        optimizer=optax.adam(1e-3),
        epochs=150,
        batch_size=64,
        stop=fit.Patience(15),
    )
    gap = diagnose.gap(fitted.inference, x[held], key=keys[3], split="held out")
    print(gap)
    with matplotlib.rc_context(look.STYLE | {"figure.facecolor": "white"}):
        fig = Figure(figsize=(13, 3.9), layout="constrained")
        left, middle, right = fig.subplots(1, 3, width_ratios=(3.1, 3.6, 5.2))
        rows = x[held][:10]
        back = use.reconstruct(fitted, rows)
        pairs = np.stack([rows[:5], back[:5], rows[5:], back[5:]]).reshape(20, 64)
        left.imshow(look.mosaic(pairs, (8, 8), 0, 1, columns=5))
        look.quiet(left)
        left.set_yticks([3.5 + 9 * i for i in range(4)], ["input", "back", "input", "back"])
        left.tick_params(length=0)
        left.set_title("Held-out digits, and what comes back")
        plots.latent_map(middle, use.encode(fitted, x), data.labels)
        middle.set_title("Posterior means, drawn with their label")
        gaps.waterfall(right, gaps.plain(gap) or {})
        right.set_title("Where the bound is lost")
        TARGET.parent.mkdir(parents=True, exist_ok=True)
        fig.savefig(TARGET, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
