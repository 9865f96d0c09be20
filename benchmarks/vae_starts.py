"""What does the transfer buy the autoencoder? `python -m benchmarks.vae_starts RUN [--only NAME ...]`

From one classifier, one set of cars and one seed, an autoencoder is trained from each start of notebook 03:
its encoder from the classifier's weights, the same mirrored into the decoder, the same with the encoder's
body frozen at first, and from scratch. As it learns, it is measured on winter cars of the validation part,
which no autoencoder saw: their evidence lower bound, and the images that the decoder alone draws around the
training cars (the paper's equation 1): Fréchet distance to the held-out ones on the features of the run's
judge, and sharpness beside theirs. RUN is a run's folder, such as runs/visdrone-val/seed0, with notebooks
01 to 04 run. Each curve is kept in figures/benchmarks/vae_starts.json as soon as it is there; --only
measures some again.
"""

from __future__ import annotations

import torch
from matplotlib.figure import Figure

from benchmarks import FOLDER
from benchmarks.vae_cars import (
    BATCH,
    DEFAULTS,
    OBJECTIVE,
    RATE,
    Cars,
    build,
    conditions,
    earlier,
    open_run,
    read_options,
)
from benchmarks.vae_objectives import IMAGES, drawing
from lib import figures, quality, runs
from lib.acceleration import ComputePath
from lib.arms import STARTS
from lib.autoencoding import train_vae
from lib.batches import Schedule
from lib.generation import generate
from lib.settings import Run
from lib.training import embed

TARGET = FOLDER / "vae_starts.json"
POINTS = 12  # of each curve
PANELS = {
    "frechet": "Fréchet distance, decoder alone",
    "sharpness": "sharpness, share of the real",
    "elbo": "held-out ELBO, nats",
}
ALONE = drawing()["decoder_alone"]


def curve(
    run: Run, start: str, cars: Cars, judge: torch.nn.Module, steps: int, path: ComputePath
) -> list[dict]:
    """What was measured from one start: step, heldout_ elbo, kl, ..., frechet and sharpness."""
    _, vae = build(run, DEFAULTS["latent_dim"], start)
    real = embed(judge, cars.heldout, path)
    sharp = float(quality.sharpness(cars.heldout).mean())

    def images() -> dict[str, float]:
        made = generate(vae, cars.winter, IMAGES, path, seed=run.seed, **ALONE)
        return {
            "heldout_frechet": quality.frechet_distance(embed(judge, made, path), real),
            "heldout_sharpness": float(quality.sharpness(made).mean()) / sharp,
        }

    history = train_vae(
        vae, cars.learnt, Schedule(steps, BATCH, RATE, run.seed), path=path, objective=OBJECTIVE,
        heldout=cars.heldout, measure_every=max(1, steps // POINTS), watch=images,
        freeze_steps=DEFAULTS["freeze_steps"] if start == "frozen" else 0, title=STARTS[start],
    )  # fmt: skip
    return [row for row in history if "heldout_elbo" in row]


@runs.command_line
def main(arguments: list[str] | None = None) -> None:
    """Command line; 2 and one line where a run is missing or a start has no such name."""
    options = read_options(__doc__.splitlines()[0], STARTS, arguments)
    run, cars, judge, path = opened = open_run(options.run, "vae_starts")
    about = conditions(opened, options.steps, IMAGES) | {
        "objective": OBJECTIVE._asdict(), "freeze_steps": DEFAULTS["freeze_steps"],
    }  # fmt: skip
    found = earlier(TARGET, about, "starts")
    figures.style()
    for name in options.only:
        found[name] = curve(run, name, cars, judge, options.steps, path)
        runs.write_json(TARGET, about | {"starts": found})
        figures.save(curves_figure(found), TARGET.with_suffix(".png"))
        print(line(name, found[name][-1]), flush=True)


def curves_figure(found: dict[str, list[dict]]) -> Figure:
    """The curves of the starts. Bounds of the first steps may be so low that they would hide the others."""
    figure = figures.vae_curves({STARTS[name]: found[name] for name in STARTS if name in found}, PANELS)
    figure.axes[list(PANELS).index("sharpness")].set_yscale("log")
    axis = figure.axes[list(PANELS).index("elbo")]
    rows = [(row["heldout_elbo"], row["step"], name) for name, curve in found.items() for row in curve]
    (low, at, lowest), high = min(rows), max(rows)[0]
    shown = min(bound for bound, step, _ in rows if step > max(step for _, step, _ in rows) / 4)
    if low < shown:
        axis.set_ylim(shown - 0.1 * (high - shown), high + 0.1 * (high - shown))
        told = f"{STARTS[lowest]}: {low:,.0f} at step {at}"
        axis.set_title(told, fontsize=8, fontweight="normal")
    return figure


def line(name: str, row: dict) -> str:
    """The end of one curve for a person to read."""
    alone = f"Frechet distance {row['heldout_frechet']:.2f}, sharpness {row['heldout_sharpness']:.2f}"
    bound = f"held-out ELBO {row['heldout_elbo']:,.0f} nats"
    return f"{STARTS[name]}: after {row['step']} steps {bound}, the decoder alone: {alone}"


if __name__ == "__main__":
    raise SystemExit(main())
