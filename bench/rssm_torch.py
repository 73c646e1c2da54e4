"""The torch contestants' model in `rssm_step`: the same networks as jensen's, the loss in one module."""

from __future__ import annotations

import torch
from rssm_step import ACTIONS, COLUMNS, DETER, STOCH, WIDTH
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

torch.distributions.Distribution.set_default_validate_args(False)


class World(nn.Module):
    """h_t = GRU(h_{t−1}, z_{t−1}, a_{t−1}), q(z_t | h_t, x_t), p(z_t | h_t), p(x_t | h_t, z_t)."""

    def __init__(self, x: Tensor, actions: Tensor, balance: tuple[float, float] | None):
        super().__init__()
        self.cell = nn.GRUCell(STOCH + ACTIONS, DETER)
        self.encoder = nn.Linear(COLUMNS, WIDTH)
        self.of_core, self.of_seen = nn.Linear(DETER, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, 2 * STOCH)
        self.prior = nn.Sequential(nn.Linear(DETER, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2 * STOCH))
        self.decoder = nn.Sequential(nn.Linear(DETER + STOCH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, COLUMNS))
        self.log_scale = nn.Parameter(torch.zeros(COLUMNS))
        self.register_buffer("shift", x.mean((0, 1)))
        self.register_buffer("spread", x.std((0, 1)))
        self.balance = balance

    def forward(self, x: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss, and the bound in nats per sequence."""
        batch, length, _ = x.shape
        x = ((x - self.shift) / self.spread).transpose(0, 1)
        seen = self.of_seen(torch.relu(self.encoder(x)))
        before = torch.cat([torch.zeros(1, batch, ACTIONS), actions.transpose(0, 1)])
        noise = torch.randn(length, batch, STOCH)
        h, z = torch.zeros(batch, DETER), torch.zeros(batch, STOCH)
        states, draws, params = [], [], []
        for t in range(length):
            h = self.cell(torch.cat([z, before[t]], -1), h)
            loc, raw = self.head(torch.tanh(self.of_core(h) + seen[t])).chunk(2, -1)
            z = loc + torch.exp(raw) * noise[t]
            states.append(h)
            draws.append(z)
            params.append((loc, raw))
        core, path = torch.stack(states), torch.stack(draws)
        loc, raw = (torch.stack(p) for p in zip(*params, strict=True))
        prior_loc, prior_raw = self.prior(core).chunk(2, -1)
        mean = self.decoder(torch.cat([core, path], -1))
        law = Normal(mean, torch.exp(self.log_scale))
        fit = (law.log_prob(x) - torch.log(self.spread)).sum((0, 2))
        kl = _kl(loc, raw, prior_loc, prior_raw)
        bound = (fit - kl.sum(0)).mean().detach()
        if self.balance is None:
            return (kl.sum(0) - fit).mean(), bound
        share, free = self.balance
        to_prior = _kl(loc.detach(), raw.detach(), prior_loc, prior_raw).clamp(min=free)
        to_posterior = _kl(loc, raw, prior_loc.detach(), prior_raw.detach()).clamp(min=free)
        return (share * to_prior + (1 - share) * to_posterior).sum(0).mean() - fit.mean(), bound


def _kl(loc: Tensor, raw: Tensor, prior_loc: Tensor, prior_raw: Tensor) -> Tensor:
    """Return KL(q ‖ p) of every step, (T, B)."""
    return kl_divergence(Normal(loc, torch.exp(raw)), Normal(prior_loc, torch.exp(prior_raw))).sum(-1)
