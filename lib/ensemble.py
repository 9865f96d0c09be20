"""An ensemble of simple autoencoders, one for each class or group of classes (the paper's conclusion).

Every member comes from the same template and the same call. Its latent dimension is chosen by a short
search: the one whose held-out evidence lower bound is the best.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from lib.acceleration import ComputePath
from lib.autoencoding import Objective, elbo, train_vae
from lib.batches import Schedule
from lib.generation import best, generate
from lib.image_quality import KEPT_SHARE
from lib.models import VAE, Classifier, build_vae
from lib.retraining import repeated
from lib.runs import InputError
from lib.visdrone import CLASSES
from lib.weights import transfer

FEWEST = 8  # images of a group: fewer make no batch
SHOWN = ("elbo", "squared_error", "kl", "active_units")  # of each latent dimension that was tried


class Member(NamedTuple):
    """One autoencoder and what it draws around."""

    classes: tuple[str, ...]
    vae: VAE
    latent_dim: int
    search: list[dict]  # latent_dim and SHOWN, held out, after the short training
    heldout: dict  # SHOWN of the member itself
    images: np.ndarray  # of the target domain, uint8 (n, 32, 32, 3)
    labels: np.ndarray  # int (n,)


class Recipe(NamedTuple):
    """How each member is trained; the same for all."""

    schedule: Schedule
    search_steps: int  # of each candidate
    latent_dims: Sequence[int]
    objective: Objective
    numbers: Mapping[str, float]  # groups, width, compression of the template


def check_groups(groups: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Groups of class names, each class in one group; InputError for any other list."""
    found = [tuple(group) for group in groups]
    named = [name for group in found for name in group]
    for name in named:
        if name not in CLASSES:
            raise InputError("groups", f"class {name!r}", f"one of {', '.join(CLASSES)}")
    if not named or not all(found) or len(set(named)) < len(named):
        raise InputError("groups", f"{found}", "lists of classes, each class once, none empty")
    return found


def able(target: np.ndarray, heldout: np.ndarray) -> list[str]:
    """Classes with enough labels among target images and one among held-out ones to train a member for."""
    counts = [np.bincount(labels, minlength=len(CLASSES)) for labels in (target, heldout)]
    return [name for k, name in enumerate(CLASSES) if counts[0][k] >= FEWEST and counts[1][k] >= 1]


def _trained(
    classifier, images, heldout, recipe, latent_dim, steps, path, title, checkpoint
) -> tuple[VAE, dict]:
    torch.manual_seed(recipe.schedule.seed)
    vae = build_vae(**recipe.numbers, latent_dim=latent_dim)
    transfer(classifier, vae)
    schedule = recipe.schedule
    schedule = Schedule(steps, min(schedule.batch_size, len(images)), schedule.rate, schedule.seed)
    how = {"objective": recipe.objective, "classifier": classifier, "title": title, "checkpoint": checkpoint}
    train_vae(vae, images, schedule, path=path, **how)
    found = elbo(vae, heldout, path)
    return vae, {name: found[name] for name in SHOWN}


def train_ensemble(
    groups: Sequence[Sequence[str]],
    target: tuple[np.ndarray, np.ndarray],
    source: tuple[np.ndarray, np.ndarray],
    heldout: tuple[np.ndarray, np.ndarray],
    classifier: Classifier,
    recipe: Recipe,
    path: ComputePath,
    checkpoints: Path | None = None,
) -> list[Member]:
    """One autoencoder for each group of classes, each started from the classifier.

    target, source, heldout: (images uint8 (n, 32, 32, 3), labels int (n,)): of the target domain (winter),
    of the source domain (summer), and of the target domain held out for the choice of the latent dimension.
    A member learns from its classes in both domains; the scarcer is repeated, so both count the same.
    checkpoints: a folder for the state of each training, from which an interrupted one goes on.
    Raises InputError for groups as `check_groups`, and for a group with too few images.
    """
    members = []
    for group in check_groups(groups):
        labels = [CLASSES.index(name) for name in group]
        own, other, held = (images[np.isin(of, labels)] for images, of in (target, source, heldout))
        for name, images, least in (("target", own, FEWEST), ("held-out", held, 1)):
            if len(images) < least:
                where = f"{name} images of {', '.join(group)}"
                raise InputError(where, str(len(images)), f"at least {least}")
        enough = max(len(own), len(other))
        mixed = np.concatenate([repeated(part, enough) for part in (own, other) if len(part)])
        title = "+".join(group)
        search = []
        for size in sorted(set(recipe.latent_dims)):
            what = f"{title}, {size} dimensions"
            saved = checkpoints and checkpoints / f"{title}-{size}.pt"
            _, found = _trained(classifier, mixed, held, recipe, size, recipe.search_steps, path, what, saved)
            search.append({"latent_dim": size} | found)
        chosen = max(search, key=lambda row: row["elbo"])["latent_dim"]  # of equals the smallest
        steps, saved = recipe.schedule.steps, checkpoints and checkpoints / f"{title}.pt"
        vae, found = _trained(classifier, mixed, held, recipe, chosen, steps, path, title, saved)
        of = target[1][np.isin(target[1], labels)]
        members.append(Member(group, vae, chosen, search, found, own, of))
    return members


def draw(
    members: Sequence[Member],
    count: int,
    path: ComputePath,
    *,
    proportions: Mapping[str, float] | None = None,
    score: Callable[[np.ndarray], np.ndarray] | None = None,
    seed: int = 0,
    **how,
) -> tuple[np.ndarray, np.ndarray]:
    """`count` new images of an ensemble, uint8 (count, 32, 32, 3), and their labels int (count,).

    proportions: class -> share, of every class of the ensemble, numbers from 0 up, not all 0; equal without.
    score: images -> quality of each, (n,), as notebook 04's `intactness`. With one, as many more are drawn
    as KEPT_SHARE says, and the best of each class are kept.
    `how`: latent, spread, residual, as `generation.generate`. Each image is drawn around a target image of
    its own class, so its label is known. Raises InputError for other proportions.
    """
    names = [name for member in members for name in member.classes]
    if not names:
        raise InputError("members of the ensemble", "none", "at least one")
    shares = dict.fromkeys(names, 1.0) if proportions is None else dict(proportions)
    known = set(shares) == set(names) and all(0 <= share < np.inf for share in shares.values())
    if not known or not sum(shares.values()):
        raise InputError("proportions", f"{shares}", f"a share of at least 0 for each of {', '.join(names)}")
    exact = np.cumsum([shares[name] for name in names]) * count / sum(shares.values())
    counts = np.diff(np.round(exact).astype(int), prepend=0)
    images, labels = [], []
    for place, name in enumerate(names):
        (member,) = [member for member in members if name in member.classes]
        around = member.images[member.labels == CLASSES.index(name)]
        if not counts[place]:
            continue
        if not len(around):
            raise InputError(f"target images of {name}", "none", "at least one to draw around")
        asked = int(counts[place])
        drawn = asked if score is None else round(asked / KEPT_SHARE)
        made = generate(member.vae, around, drawn, path, seed=seed + place, **how)
        images.append(made if score is None else best(made, score(made), asked))
        labels.append(np.full(asked, CLASSES.index(name)))
    if not images:
        return np.empty((0, 32, 32, 3), np.uint8), np.empty(0, int)
    return np.concatenate(images), np.concatenate(labels)
