"""Figures of crops, trainings and generators; `lib.arm_figures` has those that compare arms.

Functions draw what they are given and compute nothing that is published.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FormatStrFormatter, LogLocator
from PIL import Image

from lib.runs import atomic_path
from lib.visdrone import CLASSES

PALETTE = dict(zip(CLASSES, sns.color_palette("bright", len(CLASSES)), strict=True))
GREY = "0.45"  # of what others are compared with
BESIDE = {"|": "bar", "x": "cross"}  # marks of `recall_changes`, and what they are called
COLOURS, LINES = 10, ("-", "--", ":")  # of many curves: another kind of line when the colours are used up
VAE_PANELS = {  # of `vae_curves`: what notebook 03 measures
    "squared_error": "squared error of an image",
    "kl": "KL divergence, nats",
    "elbo": "held-out ELBO, nats",
}


def names_below(figure: Figure, axis: Axes, columns: int = 2) -> None:
    """The legend of a panel below all panels, for names that would hide what it shows."""
    handles = axis.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=columns, fontsize=8)


def style() -> None:
    """One look for all figures."""
    sns.set_theme(context="notebook", style="whitegrid", palette="colorblind", font_scale=0.85)
    plt.rcParams.update(
        {
            "figure.dpi": 72,
            "savefig.dpi": 120,
            "figure.constrained_layout.use": True,
            "axes.titleweight": "bold",
            "axes.titlesize": 10.5,
            "image.interpolation": "nearest",
        }
    )


def save(figure: Figure, path: Path) -> Figure:
    """Write a PNG (whole or not at all, no date inside: same figure, same bytes) and return the figure."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
    plt.close(figure)
    return figure


def save_photo(figure: Figure, path: Path, dpi: int = 90) -> Image.Image:
    """Write a figure that shows photographs as a PNG of 255 colours, in a quarter of the bytes; return it."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=dpi)
    plt.close(figure)
    picture = Image.open(drawn).convert("RGB").quantize(255, dither=Image.Dither.NONE)
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG", optimize=True)
    return picture


def save_picture(picture: np.ndarray, path: Path) -> Path:
    """Write RGB uint8 (H, W, 3) as a JPEG, whole or not at all."""
    with atomic_path(path) as temporary:
        Image.fromarray(picture).save(temporary, format="JPEG", quality=90)
    return path


def tile(images: np.ndarray, columns: int, gap: int = 2) -> np.ndarray:
    """A white sheet of images uint8 (n, h, w, 3), row by row, `gap` pixels apart."""
    n, height, width, _ = images.shape
    rows, columns = max(1, -(-n // max(columns, 1))), max(columns, 1)  # of no image a white row
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for k, image in enumerate(images):
        y, x = (k // columns) * (height + gap), (k % columns) * (width + gap)
        sheet[y : y + height, x : x + width] = image
    return sheet


def image_rows(rows: dict[str, np.ndarray], title: str = "", scale: float = 0.55) -> Figure:
    """Labelled rows of crops: name -> uint8 (n, 32, 32, 3), the same n for every row."""
    columns = max(len(images) for images in rows.values())
    figure, axes = plt.subplots(
        len(rows), 1, figsize=(scale * columns + 1.8, scale * len(rows) + 0.5), squeeze=False
    )
    for axis, (name, images) in zip(axes[:, 0], rows.items(), strict=True):
        axis.imshow(tile(images, columns))
        axis.set_ylabel(name, rotation=0, ha="right", va="center")
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
        sns.despine(ax=axis, left=True, bottom=True)
    if title:
        figure.suptitle(title, fontweight="bold", fontsize=11)
    return figure


def image_grid(images: np.ndarray, columns: int = 24, title: str = "", scale: float = 0.42) -> Figure:
    """A sheet of crops uint8 (n, 32, 32, 3)."""
    rows = -(-len(images) // columns)
    figure, axis = plt.subplots(figsize=(scale * columns, scale * rows + 0.4))
    axis.imshow(tile(images, columns))
    axis.set_title(title)
    axis.axis("off")
    return figure


def fragment(frame: np.ndarray, boxes: pd.DataFrame, title: str = "") -> Figure:
    """A labelled fragment, as the paper's Fig. 2: frame uint8 (h, w, 3), boxes x, y, width, height, label."""
    figure, axis = plt.subplots(figsize=(7.5, 7.5 * frame.shape[0] / frame.shape[1] + 0.5))
    axis.imshow(frame, interpolation="antialiased")
    for box in boxes.itertuples():
        colour = PALETTE[CLASSES[box.label]]
        axis.add_patch(
            plt.Rectangle((box.x, box.y), box.width, box.height, fill=False, color=colour, linewidth=1.1)
        )
    present = [name for k, name in enumerate(CLASSES) if (boxes["label"] == k).any()]
    axis.legend(
        handles=[Patch(color=PALETTE[name], label=name) for name in present],
        ncols=6,
        fontsize=8,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.01),
        frameon=False,
    )
    axis.set(title=title, xlim=(0, frame.shape[1]), ylim=(frame.shape[0], 0))
    axis.axis("off")
    return figure


def class_counts(counts: dict[str, dict[str, int]], title: str = "") -> Figure:
    """Objects by class and part: {class: {train, valid, test}}, on a logarithmic scale."""
    table = pd.DataFrame(counts).T
    figure, axis = plt.subplots(figsize=(8, 3))
    table.plot.barh(ax=axis, width=0.8, logx=True, color=sns.color_palette("colorblind", 3))
    for container in axis.containers:
        axis.bar_label(container, fmt="{:,.0f}", fontsize=7, padding=2)
    axis.set(xlabel="objects", title=title, xlim=(1, table.to_numpy().max() * 3))
    axis.invert_yaxis()
    return figure


def box_widths(widths: np.ndarray, median: float, title: str = "") -> Figure:
    """Widths of the boxes in pixels, with their median and the input size of 32."""
    figure, axis = plt.subplots(figsize=(8, 2.4))
    sns.histplot(x=np.clip(widths, 5, 160), bins=np.arange(5, 162, 3), ax=axis, color=sns.color_palette()[0])
    axis.axvline(median, color="black", label=f"median {median:g} px")
    axis.axvline(32, color="black", linestyle=":", label="network input 32 px")
    axis.legend()
    axis.set(xlabel="width of the box, px (160 and more in the last bar)", ylabel="objects", title=title)
    return figure


def stability(report: dict) -> Figure:
    """Warm-up losses of the candidate initialisations; the one kept is drawn bold."""
    figure, axis = plt.subplots(figsize=(6, 2.4))
    for row in report["candidates"]:
        kept = row["candidate"] == report["kept"]
        name = f"initialisation {row['candidate']}, spread {row['spread']:.4f}" + (" (kept)" if kept else "")
        axis.plot(
            np.arange(1, len(row["losses"]) + 1), row["losses"], linewidth=2.5 if kept else 1, label=name
        )
    axis.set(
        xlabel="warm-up step", ylabel="cross-entropy", title="Numerical stability before the main training"
    )
    axis.legend(fontsize=7)
    return figure


def line_look(number: int) -> dict:
    """Colour and line style of the curve with this number, from 0: no two of the first thirty look alike."""
    colour = sns.color_palette("colorblind", COLOURS)[number % COLOURS]
    return {"color": colour, "linestyle": LINES[number // COLOURS % len(LINES)]}


def learning_curves(histories: dict[str, list[dict]], title: str) -> Figure:
    """Loss and accuracy of trainings, by name, against steps; validation where it was measured."""
    named = len(histories) > 1  # then the names stand below the panels
    height = 2.8 + 0.25 * (-(-len(histories) // 3)) * named
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, height))
    for number, (name, history) in enumerate(histories.items()):
        table, look = pd.DataFrame(history), line_look(number)
        for axis, column in ((left, "loss"), (right, "accuracy")):
            part = table.dropna(subset=[column])
            axis.plot(part["step"], part[column], label=name, **look)
        if "validation_accuracy" in table:
            part = table.dropna(subset=["validation_accuracy"])
            right.plot(part["step"], part["validation_accuracy"], "o-", label="validation")
    low, high = left.dataLim.intervaly
    left.set(xlabel="optimiser step", ylabel="cross-entropy", title=title)
    if high > 3 * low:
        left.set_yscale("log")
        for which in (left.yaxis.set_major_formatter, left.yaxis.set_minor_formatter):
            which(FormatStrFormatter("%g"))
        left.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    right.set(xlabel="optimiser step", ylabel="accuracy", title="Accuracy")
    if named:
        names_below(figure, right, 3)
    else:
        right.legend()
    return figure


def confusion(matrix: pd.DataFrame, title: str) -> Figure:
    """Counts (6, 6) with each row's shares as colour."""
    figure, axis = plt.subplots(figsize=(6, 4.2))
    shares = matrix.div(matrix.sum(1).clip(lower=1), axis=0)
    sns.heatmap(
        shares,
        annot=matrix,
        fmt="d",
        cmap="Blues",
        vmin=0,
        vmax=1,
        ax=axis,
        cbar_kws={"label": "share of the class"},
    )
    axis.set(title=title, ylabel="true class", xlabel="called")
    axis.tick_params(axis="x", rotation=30)
    return figure


def vae_curves(histories: dict[str, list[dict]], panels: Mapping[str, str] = VAE_PANELS) -> Figure:
    """Measures of autoencoders, by name, against steps: in training (thin), and held out (`heldout_...`)."""
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.6 if len(histories) > 2 else 3))
    for (name, history), colour in zip(histories.items(), sns.color_palette("colorblind"), strict=False):
        table = pd.DataFrame(history)
        for axis, (measure, label) in zip(axes, panels.items(), strict=True):
            axis.set(xlabel="optimiser step", ylabel=label)
            for column, line in ((measure, "-"), (f"heldout_{measure}", "o--")):
                if column in table:
                    part = table.dropna(subset=[column])
                    style = {"linewidth": 0.8, "alpha": 0.7} if line == "-" else {"label": name}
                    axis.plot(part["step"], part[column], line, color=colour, markersize=3, **style)
    if "squared_error" in panels:
        axes[0].set_yscale("log")
        axes[0].set_title("lines: training; points: held out", fontsize=8, fontweight="normal")
    if len(histories) > 2:
        names_below(figure, axes[2])
    else:
        axes[2].legend(fontsize=7)
    return figure


def latent_use(kl_per_dimension: list[float]) -> Figure:
    """KL of every latent dimension, largest first: how many of them the autoencoder uses."""
    values = np.sort(kl_per_dimension)[::-1]
    figure, axis = plt.subplots(figsize=(8, 2.2))
    axis.bar(np.arange(1, len(values) + 1), values, width=1.0)
    axis.set(
        xlabel="latent dimension, by KL",
        ylabel="KL, nats",
        title=f"{int((values > 0.01).sum())} of {len(values)} dimensions in use",
    )
    return figure


def distances(new: np.ndarray, heldout: np.ndarray, threshold: float, winter: str) -> Figure:
    """Distance to the nearest training image: of the samples, and of held-out cars in `winter`.

    The few that lie farther than 99 % of their set share the last bar.
    """
    figure, axis = plt.subplots(figsize=(7, 2.4))
    top = float(max(np.quantile(values, 0.99) for values in (new, heldout)))
    for values, name in ((new, "samples"), (heldout, f"held-out cars ({winter})")):
        sns.histplot(
            x=np.clip(values, 0, top),
            bins=np.linspace(0, top, 50),
            stat="density",
            alpha=0.55,
            label=name,
            ax=axis,
        )
    axis.axvline(threshold, color="black", linestyle=":", label="a copy is nearer than this")
    axis.set(
        xlabel="RMS difference to the nearest training image or its mirror image (0..255)",
        ylabel="share per grey level",
        title="New, or a copy?",
    )
    axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure


def latent_search(searches: dict[str, list[dict]], chosen: dict[str, int]) -> Figure:
    """Held-out ELBO and active units against the latent dimension, a line a member; the choice is ringed."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 2.8))
    panels = (("elbo", "held-out ELBO, nats"), ("active_units", "dimensions in use"))
    for (name, rows), colour in zip(searches.items(), sns.color_palette("colorblind"), strict=False):
        table = pd.DataFrame(rows)
        best = table[table["latent_dim"] == chosen[name]]
        for axis, (column, label) in zip(axes, panels, strict=True):
            axis.plot(table["latent_dim"], table[column], "o-", color=colour, markersize=4, label=name)
            axis.plot(best["latent_dim"], best[column], "o", color=colour, markersize=10, fillstyle="none")
            axis.set(xlabel="latent dimensions", ylabel=label, xticks=table["latent_dim"])
    axes[0].legend(fontsize=7)
    figure.suptitle("The latent dimension that each member chose, after a short training", fontsize=11)
    return figure


def recall_changes(
    before: dict, after: dict, weak: list[str], titles: dict[str, str], others: dict[str, dict] | None = None
) -> Figure:
    """Recall of each class before (ring) and after (point), in each domain; weak classes in bold.

    before, after: {domain: {class: {recall, n}}}; titles: domain -> what it is. others: name -> the same, of
    what it is compared with, at most as many as BESIDE; drawn in grey.
    """
    figure, axes = plt.subplots(1, len(titles), figsize=(10, 3), sharey=True)
    for axis, (domain, title) in zip(axes, titles.items(), strict=True):
        for k, name in enumerate(CLASSES):
            if name not in before[domain]:
                continue
            old, new = (100 * found[domain][name]["recall"] for found in (before, after))
            colour = PALETTE[name]
            axis.plot([old, new], [k, k], "-", color=colour, linewidth=1.6)
            axis.plot([old], [k], "o", color=colour, markersize=7, markerfacecolor="white")
            axis.plot([new], [k], "o", color=colour, markersize=4)
            beside = [100 * other[domain][name]["recall"] for other in (others or {}).values()]
            for mark, value in zip(BESIDE, beside, strict=False):
                axis.plot([value], [k], mark, color=GREY, markersize=8)
            axis.annotate(f"{new - old:+.1f}", (max(old, new, *beside), k), xytext=(6, 0),
                          textcoords="offset points", fontsize=8, va="center")  # fmt: skip
        axis.set(title=title, xlabel="recall, %", xlim=(-2, 112), xticks=range(0, 101, 20))
    axes[0].set_yticks(range(len(CLASSES)), CLASSES)
    for label in axes[0].get_yticklabels():
        label.set_fontweight("bold" if label.get_text() in weak else "normal")
    axes[0].set_ylim(len(CLASSES) - 0.5, -0.5)
    told = "".join(f"; {BESIDE[mark]}: {name}" for mark, name in zip(BESIDE, others or {}, strict=False))
    figure.suptitle(f"ring: before; point: after{told}; bold: weak in winter", fontsize=9)
    return figure
