"""A world model, saved, is the same world model in another process."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import textwrap

import jax
import numpy as np

from jensen import families, fit, gradients, models, objectives, posteriors, use
from jensen.core import Inference

ROLL = """
    import hashlib, sys
    import jax, numpy as np
    from jensen import fit, use

    data = np.load(sys.argv[1] + "/data.npz")
    out = use.rollout(fit.load(sys.argv[1]), data["x"], data["a"], horizon=3, key=jax.random.key(5), num_samples=2)
    print(hashlib.sha256(b"".join(np.ascontiguousarray(v).tobytes() for v in (out.mean, out.draws, out.z))).hexdigest())
"""


def test_a_saved_world_model_rolls_out_the_same_in_a_fresh_process(tmp_path):
    key, family = jax.random.key(0), families.OneHot(3, 2, unimix=0.01)
    heads = (models.likelihoods.Gaussian(1),)
    world = models.RSSM(4, 1, deter_dim=5, latent=family, heads=heads, decoder=(6,), key=key)
    q = posteriors.Filtering(family, like=world, widths=(6,), encoder=(6,), key=key)
    rng = np.random.default_rng(0)
    x, a = rng.normal(size=(6, 4, 5)), rng.normal(size=(6, 6, 1))
    inference = Inference(world, q, objectives.ELBO(free_bits=0.5), gradients.StraightThrough())
    # frames from the data, weights as drawn: what training would change are the numbers that are saved
    inference = inference.initialize_from(fit.Data(x, cond=a[:, :4]).rows(), key=key)
    fitted = fit.Fitted(inference, fit.History(np.zeros(0, int), np.zeros(0)), "steps")
    fitted.save(tmp_path)
    np.savez(tmp_path / "data.npz", x=x, a=a)
    out = use.rollout(fitted, x, a, horizon=3, key=jax.random.key(5), num_samples=2)
    here = b"".join(np.ascontiguousarray(v).tobytes() for v in (out.mean, out.draws, out.z))
    there = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(ROLL), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert there.returncode == 0, there.stderr
    assert there.stdout.strip() == hashlib.sha256(here).hexdigest()
