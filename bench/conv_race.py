"""A race to a held-out bound: a convolutional VAE of 64×64×3 pictures by jensen and by torch.

    JENSEN_DATA=... benchvenv/bin/python bench/conv_race.py

Data, torch's network and jensen's as in ``conv.py``; everyone starts anew, compiled before, and trains for a
number of steps of 64 of 6,000 rows. Seconds are of the whole training; what is reached is the mean ELBO of
500 other rows, by the same numpy code for all. Who reaches torch's bound in no more time wins.
"""

from __future__ import annotations

from conv import BATCH, LATENT, RATE, TRAIN, contestant
from harness import Benchmark, main

LENGTHS = ("250", "500", "1000")
SETUPS = {
    **{f"torch, {n} steps": contestant("conv_torch", "race", n, "plain") for n in LENGTHS},
    **{
        f"torch, channels last, fused Adam, {n} steps": contestant("conv_torch", "race", n, "best")
        for n in LENGTHS
    },
    **{f"jensen, {n} steps": contestant("conv_jensen", "race", n) for n in LENGTHS},
    **{f"jensen, patches of 8, {n} steps": contestant("conv_jensen", "race", n, "8") for n in LENGTHS},
}

if __name__ == "__main__":
    settings = {"pictures": "64x64x3", "rows": TRAIN, "latents": LATENT, "batch": BATCH, "Adam": RATE}
    race = Benchmark("conv_race", SETUPS, "torch, 1000 steps", settings=settings, rounds=1)
    main(race, __file__)
