"""torch's contestants of `conv.py` and `conv_race.py`."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from conv import BATCH, CHANNELS, COLOURS, LATENT, RATE, SIDE, STEPS, TRAIN, held_out_bound, pictures
from harness import Run
from torch import Tensor, nn

torch.set_num_threads(torch.get_num_threads())  # all cores


class VAE(nn.Module):
    """Four strided layers each way, a linear map at each end of the latents."""

    def __init__(self):
        super().__init__()
        down, up = (COLOURS, *CHANNELS), (*CHANNELS[::-1], COLOURS)
        self.small = SIDE // 2 ** len(CHANNELS)
        deep = CHANNELS[-1] * self.small**2
        layers = [(nn.Conv2d(a, b, 4, 2, 1), nn.ReLU()) for a, b in itertools.pairwise(down)]
        self.encoder = nn.Sequential(*(part for pair in layers for part in pair))
        self.heads, self.expand = nn.Linear(deep, 2 * LATENT), nn.Linear(LATENT, deep)
        layers = [(nn.ReLU(), nn.ConvTranspose2d(a, b, 4, 2, 1)) for a, b in itertools.pairwise(up)]
        self.decoder = nn.Sequential(*(part for pair in layers for part in pair))

    def encode(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.heads(self.encoder(x).flatten(1)).chunk(2, 1)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(self.expand(z).unflatten(1, (CHANNELS[-1], self.small, self.small)))

    def forward(self, x: Tensor) -> Tensor:
        mean, log_scale = self.encode(x)
        z = mean + torch.exp(log_scale) * torch.randn_like(mean)
        misfit = F.binary_cross_entropy_with_logits(self.decode(z), x, reduction="sum")
        kl = 0.5 * torch.sum(mean**2 + torch.exp(2 * log_scale) - 2 * log_scale - 1)
        return (misfit + kl) / len(x)


def steps(kind: str) -> Run:
    """Set up a loop of few steps."""
    return _run(pictures(640), None, STEPS, kind)


def race(number: str, kind: str) -> Run:
    """Set up a loop of so many steps, scored on held-out rows."""
    x = pictures()
    return _run(x[:TRAIN], x[TRAIN:], int(number), kind)


def _planes(rows: np.ndarray) -> Tensor:
    return torch.from_numpy(rows).reshape(-1, SIDE, SIDE, COLOURS).permute(0, 3, 1, 2)


def _run(rows: np.ndarray, held: np.ndarray | None, number: int, kind: str) -> Run:
    best = kind == "best"
    layout = torch.channels_last if best else torch.contiguous_format
    x = _planes(rows).contiguous(memory_format=layout)

    def run() -> Callable[[], dict[str, float]]:
        torch.manual_seed(0)
        vae = VAE().to(memory_format=layout)  # pyright: ignore
        adam = torch.optim.Adam(vae.parameters(), lr=RATE, fused=best)
        done, last = 0, 0.0
        while done < number:
            for chosen in torch.randperm(len(x)).split(BATCH)[: len(x) // BATCH]:
                adam.zero_grad()
                loss = vae(x[chosen])
                loss.backward()
                adam.step()
                done, last = done + 1, loss.item()
                if done == number:
                    break
        return lambda: _quality(vae, held, last)

    return run


@torch.no_grad()
def _quality(vae: VAE, held: np.ndarray | None, last: float) -> dict[str, float]:
    if held is None:
        return {"bound of the last batch": -last, "weights": float(sum(p.numel() for p in vae.parameters()))}

    def encode(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean, log_scale = vae.encode(_planes(rows))
        return mean.numpy(), log_scale.numpy()

    def decode(z: np.ndarray) -> np.ndarray:
        return vae.decode(torch.from_numpy(z)).permute(0, 2, 3, 1).flatten(1).numpy()

    return {"held-out bound": held_out_bound(encode, decode, held)}
