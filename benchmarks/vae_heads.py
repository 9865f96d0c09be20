"""V1 or V4: which way of joining body and latent space? `python -m benchmarks.vae_heads RUN [--steps N]`

Both have exactly the published 2,243,960 parameters. V1 pools the features to one point
(embedding 290, transferred too), V4, the default of `build_vae`, keeps a 2 x 2 grid, so
that the code knows where things are. Both start from the same classifier and learn from
the same cars for as many steps; compared are held-out ELBO and the sharpness of the samples.
RUN is a run's folder, such as runs/embedded/seed0. Writes figures/benchmarks/vae_heads.json.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import FOLDER
from benchmarks.vae_cars import BATCH, OBJECTIVE, RATE, bound, read_cars
from lib import quality, runs
from lib.acceleration import choose_path
from lib.autoencoding import train_vae
from lib.batches import Schedule
from lib.generation import generate
from lib.models import EMBEDDING, build_vae, count_parameters
from lib.settings import Run
from lib.weights import load_classifier, transfer

V1_ENCODER, V1_LATENT, V1_DECODER = 160, 64, 190  # make the published count with one pooled point


class PooledHead(nn.Module):
    """Encoder of V1: body, average pooling, embedding -> 160 -> mu, log variance (N, 64) each."""

    def __init__(self, body: nn.Module):
        super().__init__()
        self.body = body
        self.embedding = nn.Linear(204, EMBEDDING)
        self.hidden = nn.Linear(EMBEDDING, V1_ENCODER)
        self.mu = nn.Linear(V1_ENCODER, V1_LATENT)
        self.log_variance = nn.Linear(V1_ENCODER, V1_LATENT)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = F.relu(self.hidden(F.relu(self.embedding(self.body(x).mean((2, 3))))))
        return self.mu(hidden), self.log_variance(hidden)


def build_v1() -> nn.Module:
    """The template's autoencoder with the head of V1."""
    vae = build_vae(latent_dim=V1_LATENT)
    vae.encoder = PooledHead(vae.encoder.body)
    vae.decoder.hidden = nn.Linear(V1_LATENT, V1_DECODER)
    vae.decoder.features = nn.Linear(V1_DECODER, vae.decoder.channels * vae.decoder.size**2)
    return vae


def compare(run: Run, steps: int) -> dict:
    """Train both on the run's cars; measures by name."""
    cars, path, found = read_cars(run), choose_path(), {}
    schedule = Schedule(steps, BATCH, RATE, run.seed)
    for name, build in (("V1", build_v1), ("V4", build_vae)):
        torch.manual_seed(run.seed)
        vae = build()
        assert count_parameters(vae)[:2] == (2_243_960, 2_235_960)
        transfer(load_classifier(run.need("classifier.safetensors"))[0], vae)
        started = time.time()
        train_vae(vae, cars.learnt, schedule, path=path, objective=OBJECTIVE)
        seconds = round(time.time() - started, 1)
        made = generate(vae, cars.winter, 1000, path, seed=run.seed)
        ratio = float(quality.sharpness(made).mean() / quality.sharpness(cars.winter).mean())
        found[name] = bound(vae, cars.heldout, path) | {"sharpness_ratio": ratio, "seconds": seconds}
        print(name, {k: round(v, 2) for k, v in found[name].items()}, flush=True)
    return found | {"steps": steps, "batch_size": BATCH, "objective": OBJECTIVE._asdict()}


@runs.command_line
def main(arguments: list[str] | None = None) -> None:
    """Command line; 2 and one line where a run is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="such as runs/embedded/seed0")
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args(arguments)
    place = Run.at(options.run, "vae_heads")
    runs.write_json(FOLDER / "vae_heads.json", compare(place, options.steps))


if __name__ == "__main__":
    raise SystemExit(main())
