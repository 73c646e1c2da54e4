"""The torch contestants of `vae_epoch`: a plain loop, torch at its best, pythae and Pyro as documented."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from harness import Run
from torch import Tensor, nn
from vae_epoch import BATCH, DATA, EPOCHS, HIDDEN, LATENT, RATE, N, Weights, elbo, images

torch.set_num_threads(torch.get_num_threads())  # all cores; said aloud because peers must be at their best


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.mean, self.log_var = (
            nn.Linear(DATA, HIDDEN), nn.Linear(HIDDEN, LATENT), nn.Linear(HIDDEN, LATENT),
        )  # fmt: skip

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.relu(self.hidden(x))
        return self.mean(h), self.log_var(h)


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.expand, self.logits = nn.Linear(LATENT, HIDDEN), nn.Linear(HIDDEN, DATA)

    def forward(self, z: Tensor) -> Tensor:
        return self.logits(torch.relu(self.expand(z)))


class VAE(nn.Module):
    """The whole loss in one module, so that `torch.compile` sees all of it."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = Encoder(), Decoder()

    def forward(self, x: Tensor) -> Tensor:
        mean, log_var = self.encoder(x)
        z = mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)
        misfit = F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum")
        kl = 0.5 * torch.sum(mean**2 + torch.exp(log_var) - log_var - 1)
        return (misfit + kl) / len(x)


def _weights(*layers: nn.Linear) -> Weights:
    return Weights(*((m.weight.detach().numpy().T, m.bias.detach().numpy()) for m in layers))


def _quality(encoder: Encoder, decoder: Decoder, loss: float):
    layers = (encoder.hidden, encoder.mean, encoder.log_var, decoder.expand, decoder.logits)
    return lambda: {"elbo": elbo(_weights(*layers), images()), "last epoch": -loss}


def _batches(x: Tensor) -> Iterator[Tensor]:
    """Preloaded rows in a fresh order, no DataLoader."""
    for rows in torch.randperm(N).split(BATCH):
        yield x[rows]


def _loop(prepare: Callable[[VAE], nn.Module], *, fused: bool) -> Run:
    x = torch.from_numpy(images())

    def run():
        torch.manual_seed(0)
        vae = VAE()
        step = prepare(vae)
        adam = torch.optim.Adam(vae.parameters(), lr=RATE, fused=fused)
        for _ in range(EPOCHS):
            total = 0.0
            for batch in _batches(x):
                adam.zero_grad()
                loss = step(batch)
                loss.backward()
                adam.step()
                total += loss.item()
        return _quality(vae.encoder, vae.decoder, total * BATCH / N)

    return run


def plain() -> Run:
    """The loop of every tutorial."""
    return _loop(lambda vae: vae, fused=False)


def fused() -> Run:
    """One fused Adam kernel."""
    return _loop(lambda vae: vae, fused=True)


def compiled() -> Run:
    """Fused Adam and a compiled loss; the compiled module is kept between runs and its weights reset."""
    kept: dict[str, nn.Module] = {}

    def prepare(vae: VAE) -> nn.Module:
        if not kept:
            kept.update(module=vae, compiled=torch.compile(vae))
        vae.encoder, vae.decoder = _adopt(kept["module"], vae)
        return kept["compiled"]

    return _loop(prepare, fused=True)


def _adopt(kept: nn.Module, fresh: VAE) -> tuple[Encoder, Decoder]:
    """Give the kept module the fresh start, and the fresh one the kept parameters."""
    kept.load_state_dict(fresh.state_dict())
    return kept.encoder, kept.decoder


def pythae() -> Run:
    """As documented: VAEConfig, BaseTrainerConfig, BaseTrainer; the default networks have our shape."""
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE as PythaeVAE
    from pythae.models import VAEConfig
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    x = torch.from_numpy(images())
    data = BaseDataset(x, torch.ones(len(x)))

    def run():
        config = BaseTrainerConfig(
            output_dir=tempfile.mkdtemp(), num_epochs=EPOCHS, learning_rate=RATE,
            per_device_train_batch_size=BATCH, optimizer_cls="Adam", seed=0,
        )  # fmt: skip
        vae = PythaeVAE(VAEConfig(input_dim=(DATA,), latent_dim=LATENT, reconstruction_loss="bce"))
        BaseTrainer(vae, data, training_config=config).train()

        def quality():
            e, d = vae.encoder, vae.decoder
            layers = (e.layers[0][0], e.embedding, e.log_var, d.layers[0][0], d.layers[1][0])
            return {"elbo": elbo(_weights(*layers), x.numpy())}

        return quality

    return run


def _pyro(objective: str) -> Run:
    """As in Pyro's VAE tutorial: modules registered, plates, SVI.step on each batch."""
    import pyro
    import pyro.distributions as dist
    import pyro.infer

    x = torch.from_numpy(images())

    def run():
        pyro.clear_param_store()
        pyro.set_rng_seed(0)
        encoder, decoder = Encoder(), Decoder()

        def model(batch):
            pyro.module("decoder", decoder)
            with pyro.plate("rows", len(batch)):
                zero = batch.new_zeros(len(batch), LATENT)
                z = pyro.sample("z", dist.Normal(zero, zero + 1).to_event(1))
                pyro.sample("x", dist.Bernoulli(logits=decoder(z)).to_event(1), obs=batch)

        def guide(batch):
            pyro.module("encoder", encoder)
            with pyro.plate("rows", len(batch)):
                mean, log_var = encoder(batch)
                pyro.sample("z", dist.Normal(mean, torch.exp(0.5 * log_var)).to_event(1))

        adam = pyro.optim.Adam({"lr": RATE})
        svi = pyro.infer.SVI(model, guide, adam, loss=getattr(pyro.infer, objective)())
        for _ in range(EPOCHS):
            loss = sum(svi.step(batch) for batch in _batches(x)) / N
        return _quality(encoder, decoder, loss)

    return run


def pyro_sampled() -> Run:
    """Sampled KL, as in the tutorial."""
    return _pyro("Trace_ELBO")


def pyro_mean_field() -> Run:
    """Closed-form KL."""
    return _pyro("TraceMeanField_ELBO")
