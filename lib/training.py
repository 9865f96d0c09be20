"""Training loops: numerical stability, the classifier, retraining; asking a trained classifier.

Every step is a function of (seed, step) alone (`lib.batches`), so a run that was
interrupted goes on from its last checkpoint and ends with the same bytes.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib import runs
from lib.acceleration import ComputePath
from lib.batches import (
    Schedule,
    at_resolution,
    augment,
    check_resolutions,
    draw_augmentation,
    generator,
    image_batch,
    on_device,
)
from lib.models import IMAGE_SIZE

CHECKPOINT_SECONDS = 60.0  # how much work an interruption may cost
EVALUATION_BATCH = 500
VALIDATIONS = 5  # times at most that a training is measured on its validation images, never twice a pass
VALIDATION_IMAGES = 1000  # of them at most, drawn by the training's seed: enough for a curve


def one_cycle(step: int, steps: int, peak: float, warm: float = 0.25) -> float:
    """Learning rate of a step: cosine up to `peak` during the first quarter, cosine down to nearly 0."""
    at = (step + 1) / steps
    if at < warm:
        return peak * (0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * at / warm)))
    return peak * (1e-3 + (1 - 1e-3) * 0.5 * (1 + math.cos(math.pi * (at - warm) / (1 - warm))))


def training_identity(model: nn.Module, schedule: Schedule, settings: Sequence) -> str:
    """Hash of where a training starts and of all that it does, so that no other one goes on from it."""
    digest = hashlib.blake2b(
        repr([schedule.steps, schedule.batch_size, schedule.rate, schedule.seed]).encode(), digest_size=16
    )
    arrays = [tensor.cpu().numpy() for tensor in model.state_dict().values()]
    for value in [*arrays, *settings]:
        if isinstance(value, np.ndarray):
            digest.update(f"{value.dtype} {value.shape}".encode())
            digest.update(np.ascontiguousarray(value).data)
        else:
            digest.update(repr(value).encode())
    return digest.hexdigest()


class EarlyStopping(NamedTuple):
    """End a training that no longer gains on held-out data, and keep its best weights."""

    measure: str  # that `after` gives; higher is better
    patience: int  # measurements without a gain until the end


def fit(
    model: nn.Module,
    batches: Callable[[int], Sequence[Tensor]],
    batch_loss: Callable[..., tuple[Tensor, dict[str, Tensor]]],
    schedule: Schedule,
    *,
    path: ComputePath,
    phases: Callable[[int], Hashable] = lambda step: None,
    checkpoint: Path | None = None,
    settings: Sequence = (),
    log_every: int = 25,
    after: Callable[[int], dict] | None = None,
    after_every: int = 0,
    stopping: EarlyStopping | None = None,
    title: str = "",
) -> list[dict]:
    """Run the optimiser (Adam, one-cycle rate); returns the history, a dict per `log_every` steps.

    `batches(step)` gives the tensors of a step, `batch_loss(phase, *tensors)` their loss and values to log.
    `phases(step)` says what tells a step from others beside its tensors (a resolution; frozen weights); it
    is called when the network is in training mode, right before its step, and may change what is frozen. On
    a GPU `batch_loss` must neither wait for the device nor branch on values (`acceleration.GraphedSteps`).
    `after(step)` measures on held-out data every `after_every` steps and after the last (0: there alone);
    its rows of the history hold no loss. `stopping` reads one of these measures: the training ends when it
    has not gained for so many of them, and the weights that had the best are kept. With `checkpoint`, the
    state is written there at most every CHECKPOINT_SECONDS and a run that finds it goes on from there, unless
    its first weights, its schedule or its `settings` (whatever else the batches depend on, arrays included)
    were others. The last state stays too: a notebook with several trainings that is interrupted does not
    repeat those that were complete (`Run.finish` removes all). A file that cannot be read is told and
    ignored. An accelerator is waited for only where something is measured or written. Raises
    FloatingPointError if the loss is not finite, ValueError for a `stopping` without measures or patience.
    """
    rate = torch.tensor(schedule.rate, device=path.device) if path.graphs else schedule.rate
    optimiser = torch.optim.Adam(
        model.parameters(), lr=rate, fused=path.device != "mps", capturable=path.graphs
    )

    def take_step(phase: Hashable, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
        loss, values = batch_loss(phase, *tensors)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return {"loss": loss.detach(), **values}

    take_step = path.steps(take_step)
    history, first = [], 0
    best = {"step": 0, "value": -math.inf, "model": None}  # of early stopping
    if stopping and not (after and stopping.patience > 0):
        raise ValueError(f"stopping: found {stopping}, expected a measure and a patience of at least 1")
    settings = (*settings, stopping, after_every) if stopping else settings
    identity = training_identity(model, schedule, settings) if checkpoint else ""
    if checkpoint and Path(checkpoint).exists():
        state = _read_checkpoint(checkpoint, path)
        if state.get("identity") == identity:
            model.load_state_dict(state["model"])
            optimiser.load_state_dict(state["optimiser"])
            history, best = state["history"], state.get("best", best)  # not in files of older code
            first = schedule.steps if state.get("stopped") else state["step"]
    saved = time.monotonic()
    logged: list[dict[str, Tensor]] = []
    waiting: list[tuple[int, dict[str, Tensor]]] = []  # rows of the history that are still on the device

    def settle() -> None:
        for number, means in waiting:
            row = {"step": number, **{name: float(mean) for name, mean in means.items()}}
            if not math.isfinite(row["loss"]):
                raise FloatingPointError(
                    f"{title}: loss {row['loss']} at step {number}; lower the learning rate"
                )
            history.append(row)
        waiting.clear()

    for step in runs.progress(range(first, schedule.steps), total=schedule.steps - first, desc=title):
        for group in optimiser.param_groups:
            now = one_cycle(step, schedule.steps, schedule.rate)
            group["lr"] = group["lr"].fill_(now) if path.graphs else now  # a graph reads it where it lies
        model.train()
        logged.append(take_step(phases(step), batches(step)))
        done = step + 1
        last = done == schedule.steps
        stopped = False
        if done % log_every == 0 or last:
            waiting.append((done, {k: torch.stack([v[k] for v in logged]).mean() for k in logged[0]}))
            logged = []
        measured = bool(after) and (last or bool(after_every) and done % after_every == 0)
        late = last or time.monotonic() - saved > CHECKPOINT_SECONDS
        saving = checkpoint and not logged and late
        if path.device == "cpu" or measured or saving or last:  # an accelerator is not waited for else
            settle()
        if measured:
            history.append({"step": done, **after(done)})
        if measured and stopping:
            value = history[-1][stopping.measure]
            if value > best["value"]:
                kept = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
                best = {"step": done, "value": value, "model": kept}
            stopped = done - best["step"] >= stopping.patience * after_every
        if saving or (checkpoint and stopped):
            with runs.atomic_path(checkpoint) as temporary:
                torch.save(
                    {
                        "model": model.state_dict(),
                        "optimiser": optimiser.state_dict(),
                        "step": done,
                        "history": history,
                        "best": best,
                        "stopped": stopped,
                        "identity": identity,
                    },
                    temporary,
                )
            saved = time.monotonic()
        if stopped:
            break
    if best["model"]:
        model.load_state_dict(best["model"])
    model.eval()
    return history


def _read_checkpoint(file: Path, path: ComputePath) -> dict:
    """What `fit` wrote; nothing, said in a line, where the file is no checkpoint."""
    try:
        state = torch.load(file, weights_only=True, map_location=path.device)
        return dict(state)
    except Exception as error:  # torch.load raises whatever its readers do
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        print(f"{file}: no checkpoint ({reason}); the training begins anew")
        return {}


@torch.inference_mode()
def predict(
    model: nn.Module, images: np.ndarray, path: ComputePath, batch: int = EVALUATION_BATCH
) -> np.ndarray:
    """Class probabilities float32 (N, classes) of uint8 images (N, 32, 32, 3)."""
    return _in_batches(lambda x: model(x).float().softmax(1), model, images, path, batch)


def answer(model: nn.Module, images: np.ndarray, path: ComputePath) -> np.ndarray:
    """What a classifier says, float32 (N, classes): the mean over each image and its mirror image.

    Its training flips at random, so left and right say nothing about the class; asked twice, it
    also acts on that. Table 2 and `lib.classify` are made of these.
    """
    return (predict(model, images, path) + predict(model, images[:, :, ::-1], path)) / 2


@torch.inference_mode()
def embed(
    model: nn.Module, images: np.ndarray, path: ComputePath, batch: int = EVALUATION_BATCH
) -> np.ndarray:
    """The classifier's features before its last layer, float32 (N, 290)."""
    return _in_batches(model.embed, model, images, path, batch)


def _in_batches(function, model, images, path, batch) -> np.ndarray:
    path.place(model).eval()
    found = []
    with path.autocast():
        for start in range(0, len(images), batch):
            block = on_device(images[start : start + batch], path)
            found.append(function(image_batch(block)).float().cpu().numpy())
    if not found:
        raise ValueError("found no images, expected at least one")
    return np.concatenate(found)


def train_classifier(
    model: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    schedule: Schedule,
    *,
    path: ComputePath,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    soften: float = 0.0,
    resolutions: Sequence[int] = (IMAGE_SIZE,),
    checkpoint: Path | None = None,
    log_every: int = 25,
    title: str = "classifier",
) -> list[dict]:
    """Train in place with Adam and categorical cross-entropy (paper, section 5).

    images: uint8 (N, 32, 32, 3); labels: int (N,), 0..classes-1. Accuracy on
    `validation` (images, labels) is measured as it goes and at the end. `resolutions`:
    sides in px at which equal shares of the steps see the images; the template pools over
    whatever is left of a picture, so small images first cost a quarter and teach the coarse
    part (progressive resizing). Returns the history: loss and training accuracy per
    `log_every` steps, accuracy on at most VALIDATION_IMAGES at most VALIDATIONS times.
    Raises InputError for other resolutions.
    """
    check_resolutions(resolutions, smallest=2 ** (len(model.body.groups) - 1))  # one pixel must be left
    path.place(model)
    data = on_device(images, path)
    target = on_device(np.asarray(labels, np.int64), path)

    def forward(batch: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        with path.autocast():
            scores = model(batch)
        return F.cross_entropy(scores.float(), truth), (scores.argmax(1) == truth).float().mean()

    forward = path.compile(forward, schedule.images_compiled_for(resolutions))

    batches = schedule.batches(
        len(data),
        path.device,
        lambda step, size: draw_augmentation(size, generator(schedule.seed, 2, step), soften),
    )

    def batch_loss(side: int, rows: Tensor, flip: Tensor, share: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        batch = image_batch(augment(data.index_select(0, rows), flip, share if soften else None))
        loss, accuracy = forward(at_resolution(batch, side), target[rows])
        return loss, {"accuracy": accuracy}

    if validation:
        random = np.random.default_rng([schedule.seed, 12])
        shown = np.sort(random.permutation(len(validation[1]))[:VALIDATION_IMAGES])
        validation = tuple(array[shown] for array in validation)

    def after(step: int) -> dict:
        right = predict(model, validation[0], path).argmax(1) == validation[1]
        return {"validation_accuracy": float(right.mean())}

    return fit(
        model,
        batches,
        batch_loss,
        schedule,
        path=path,
        phases=lambda step: resolutions[step * len(resolutions) // schedule.steps],
        checkpoint=checkpoint,
        settings=(images, labels, soften, list(resolutions), path),
        title=title,
        log_every=log_every,
        after=after if validation else None,
        after_every=max(len(data) // schedule.batch_size, math.ceil(schedule.steps / VALIDATIONS)),
    )


