"""The torch contestants of `imagine_speed`: the same world, actor, critic and loss, written plainly."""

from __future__ import annotations

import itertools
import math

import torch
from imagine_speed import (
    ACTIONS,
    BATCH,
    CLIP,
    DECAY,
    DETER,
    DISCOUNT,
    HEAD,
    HORIZON,
    RATES,
    SLOW,
    STOCH,
    TEMPERATURE,
    WIDTH,
)
from torch import Tensor, nn


def net(inputs: int, outputs: int, *widths: int, activation: type[nn.Module]) -> nn.Sequential:
    """Return a perceptron."""
    sizes, layers = (inputs, *widths, outputs), []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), activation()]
    return nn.Sequential(*layers[:-1])


class World(nn.Module):
    """h' = GRU(h, z, a), z' ~ p(z' | h'), r = head(h', z')."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(STOCH + ACTIONS, DETER)
        self.prior = net(DETER, 2 * STOCH, HEAD, activation=nn.ReLU)
        self.reward = net(DETER + STOCH, 1, HEAD, activation=nn.ReLU)
        self.requires_grad_(False)

    def step(self, h: Tensor, z: Tensor, action: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next state."""
        h = self.cell(torch.cat([z, action], -1), h)
        loc, raw = self.prior(h).chunk(2, -1)
        return h, loc + torch.exp(10 * torch.tanh(raw / 10)) * noise

    def expected(self, h: Tensor, z: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next state without noise."""
        h = self.cell(torch.cat([z, action], -1), h)
        return h, self.prior(h)[:, :STOCH]


class Imagination(nn.Module):
    """Actor, critic, slow critic and the running spread of returns."""

    def __init__(self):
        super().__init__()
        state = DETER + STOCH
        self.world = World()
        self.actor = net(state, 2 * ACTIONS, WIDTH, WIDTH, activation=nn.SiLU)
        self.critic = net(state, 1, WIDTH, WIDTH, activation=nn.SiLU)
        self.slow = net(state, 1, WIDTH, WIDTH, activation=nn.SiLU).requires_grad_(False)
        self.slow.load_state_dict(self.critic.state_dict())
        self.register_buffer("spread", torch.ones(()))

    def paths(self, h: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Follow the actor: features of H + 1 states, entropies of H actions."""
        noise = torch.randn(HORIZON, len(h), ACTIONS + STOCH)
        seen, entropies = [torch.cat([h, z], -1)], []
        for t in range(HORIZON):
            mean, raw = self.actor(seen[-1]).chunk(2, -1)
            log_scale = 10 * torch.tanh(raw / 10)
            eps = noise[t, :, :ACTIONS]
            y = mean + torch.exp(log_scale) * eps
            log_prob = -0.5 * eps**2 - log_scale - 0.5 * math.log(2 * math.pi)
            stretch = 2 * (math.log(2.0) - y - nn.functional.softplus(-2 * y))
            entropies.append((stretch - log_prob).sum(-1))
            h, z = self.world.step(h, z, torch.tanh(y), noise[t, :, ACTIONS:])
            seen.append(torch.cat([h, z], -1))
        return torch.stack(seen), torch.stack(entropies)

    def forward(self, h: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss, and the imagined return."""
        features, entropies = self.paths(h, z)
        rewards = self.world.reward(features[1:])[..., 0]
        values = self.slow(features)[..., 0]
        paid = rewards + TEMPERATURE * self.spread * entropies
        after, returns = values[-1], []
        for t in reversed(range(HORIZON)):
            after = paid[t] + DISCOUNT * ((1 - DECAY) * values[t + 1] + DECAY * after)
            returns.append(after)
        targets = torch.stack(returns[::-1])
        low, high = torch.quantile(targets.detach(), torch.tensor([0.05, 0.95]))
        self.spread.lerp_(torch.clamp(high - low, min=1e-2), 0.01)
        guess = self.critic(features[:-1].detach())[..., 0]
        critic = 0.5 * (guess - targets.detach()) ** 2
        return critic.mean() - targets[0].mean() / self.spread, targets[0].mean().detach()


def learner(*, fused: bool, compiled: bool):
    """Return a function that takes some steps from a fresh start, given states."""
    torch.manual_seed(0)
    model = Imagination()
    start = {name: value.clone() for name, value in model.state_dict().items()}
    loss_of = torch.compile(model) if compiled else model

    def run(h: Tensor, z: Tensor, steps: int) -> float:
        torch.manual_seed(0)
        model.load_state_dict(start)
        groups = [model.actor, model.critic]
        adams = [
            torch.optim.Adam(g.parameters(), lr=rate, fused=fused)
            for g, rate in zip(groups, RATES, strict=True)
        ]
        value = torch.zeros(())
        for _ in range(steps):
            rows = torch.randint(len(h), (BATCH,))
            for adam in adams:
                adam.zero_grad()
            loss, value = loss_of(h[rows], z[rows])
            loss.backward()
            for group, adam in zip(groups, adams, strict=True):
                nn.utils.clip_grad_norm_(group.parameters(), CLIP)
                adam.step()
            with torch.no_grad():
                for slow, new in zip(model.slow.parameters(), model.critic.parameters(), strict=True):
                    slow.lerp_(new, SLOW)
        return float(value)

    return model, run
