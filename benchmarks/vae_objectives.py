"""What makes the autoencoder's images sharper? `python -m benchmarks.vae_objectives RUN [--only NAME ...]`

From one classifier, one set of cars and one seed, an autoencoder is trained with each of several objectives,
with twice the latent dimension, and four times as long. Everything is read on winter cars of the validation
part, which no autoencoder saw: their evidence lower bound, and the images drawn around the training cars, by
the decoder alone (the paper's equation 1) and as notebook 04 draws them, on the features of the run's judge.
RUN is a run's folder, such as runs/visdrone-val/seed0, with notebooks 01 to 04 run. Each result is kept in
figures/benchmarks/vae_objectives.json as soon as it is there; --only measures some of them again.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from benchmarks import FOLDER
from benchmarks.vae_cars import (
    BATCH,
    OBJECTIVE,
    RATE,
    Cars,
    bound,
    build,
    conditions,
    earlier,
    open_run,
    read_options,
)
from lib import quality, runs, settings
from lib.acceleration import ComputePath
from lib.autoencoding import Objective, train_vae
from lib.batches import Schedule
from lib.generation import generate
from lib.models import LATENT_DIM, VAE
from lib.settings import Run
from lib.training import embed, predict
from lib.visdrone import CAR

TARGET = FOLDER / "vae_objectives.json"
IMAGES = 1000
FRECHET = "classifier_feature_frechet_distance"
MEASURES = (
    FRECHET, "classifier_feature_kernel_distance", "precision", "recall", "coverage", "sharpness_ratio",
)  # fmt: skip


class Variant(NamedTuple):
    """What differs from the others; `length` in units of the steps asked for."""

    objective: Objective
    latent_dim: int = LATENT_DIM
    length: int = 1


VARIANTS = {
    "default": Variant(OBJECTIVE),
    "squared error alone": Variant(OBJECTIVE._replace(detail=0.0)),
    "a tenth of beta": Variant(OBJECTIVE._replace(beta=0.002)),
    "calibrated variance": Variant(OBJECTIVE._replace(calibrated=True)),
    "deep features": Variant(OBJECTIVE._replace(features=0.1)),
    "deep features, a tenth of beta": Variant(Objective(beta=0.002, features=0.1)),
    "twice the latent dimension": Variant(OBJECTIVE, latent_dim=2 * LATENT_DIM),
    "four times as long": Variant(OBJECTIVE, length=4),
}


def drawing() -> dict:
    """How notebook 04 draws, by its own defaults; and the paper's equation and nothing else."""
    default = settings.values("embedded", "04_generation")
    usual = {key: default[key] for key in ("latent", "spread", "residual")}
    return {"decoder_alone": {"latent": "posterior", "spread": 1.0, "residual": 0.0}, "drawn": usual}


def measure(vae: VAE, cars: Cars, judge: torch.nn.Module, path: ComputePath, seed: int) -> dict:
    """Bound and images of one autoencoder."""
    found = {"heldout": bound(vae, cars.heldout, path), "training": bound(vae, cars.winter, path)}
    for name, how in drawing().items():
        made = generate(vae, cars.winter, IMAGES, path, seed=seed, **how)
        measures = quality.set_quality(made, cars.heldout, lambda x: embed(judge, x, path), seed, "judge")
        found[name] = {key: measures["all"][key] for key in MEASURES}
        found[name]["called_car_by_judge"] = float((predict(judge, made, path).argmax(1) == CAR).mean())
    return found


def train(run: Run, variant: Variant, cars: Cars, steps: int, path: ComputePath) -> VAE:
    """One autoencoder from the run's classifier."""
    classifier, vae = build(run, variant.latent_dim)
    schedule = Schedule(variant.length * steps, BATCH, RATE, run.seed)
    train_vae(
        vae, cars.learnt, schedule, path=path, objective=variant.objective, classifier=classifier,
    )  # fmt: skip
    return vae


@runs.command_line
def main(arguments: list[str] | None = None) -> None:
    """Command line; 2 and one line where a run is missing or a variant has no such name."""
    options = read_options(__doc__.splitlines()[0], VARIANTS, arguments)
    run, cars, judge, path = opened = open_run(options.run, "vae_objectives")
    about = conditions(opened, options.steps, IMAGES)
    found = earlier(TARGET, about, "variants")
    for name in options.only:
        variant = VARIANTS[name]
        vae = train(run, variant, cars, options.steps, path)
        about_it = {"objective": variant.objective._asdict(), "latent_dim": variant.latent_dim}
        about_it["steps"] = variant.length * options.steps
        found[name] = about_it | measure(vae, cars, judge, path, run.seed)
        runs.write_json(TARGET, about | {"variants": found})
        print(line(name, found[name]), flush=True)


def line(name: str, found: dict) -> str:
    """One variant for a person to read."""
    parts = [f"held-out ELBO {found['heldout']['elbo']:,.0f}, KL {found['heldout']['kl']:.0f}"]
    for key in ("decoder_alone", "drawn"):
        one = found[key]
        parts.append(
            f"{key.replace('_', ' ')}: Frechet {one[FRECHET]:.2f}, "
            f"sharpness {one['sharpness_ratio']:.2f}, called car {100 * one['called_car_by_judge']:.0f} %"
        )
    return f"{name}: " + "; ".join(parts)


if __name__ == "__main__":
    raise SystemExit(main())
