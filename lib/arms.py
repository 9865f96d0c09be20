"""The arms of Table 2, and the starts of the autoencoder: what each is called in tables, figures and files.

`lib.retraining` fills the arms, notebook 03 trains an autoencoder from each start.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import NamedTuple

from lib.runs import InputError


class Arm(NamedTuple):
    """Names of one arm."""

    label: str  # in tables and texts
    weights: str  # its weights are classifier<weights>.safetensors
    samples: bool  # whether a generator made images for it
    about: str  # what it is retrained with, beside VisDrone's training part
    of: str = ""  # the arm that it takes in part: weights between the classifier before and that one


BEFORE, CONTROL = "none", "continued"  # no retraining; the same one without new pictures
_WHOLE = {
    "none": Arm("before", "", False, "not retrained: it knows summer alone"),
    "continued": Arm("control", "_continued", False, "nothing new, for as many steps"),
    "winter": Arm("winter crops", "_winter", False, "the winter cars as they are, each given once"),
    "oversampled": Arm("winter crops, repeated", "_oversampled", False,
                       "winter cars, as many pictures as there are new cars: each repeated or, with fewer "
                       "new cars than winter cars, a part of them once"),
    "classic": Arm("winter crops, augmented", "_classic", False,
                   "as many variants of the winter cars (part, mirror image, colours)"),
    "oversampled_recoloured": Arm("winter crops, repeated, with counterexamples", "_oversampled_recoloured",
                                  False, "as repeated, and other classes in the winter cars' colours"),
    "reconstructions": Arm("reconstructions", "_reconstructions", True,
                           "the autoencoder's reconstructions of the winter cars, repeated"),
    "vae_decoder": Arm("after, equation 1 alone", "_vae_decoder", True,
                       "the paper's new cars: codes drawn around those of winter cars, decoded"),
    "vae_scratch": Arm("after, VAE from scratch", "_vae_scratch", True,
                       "as *after*, by an autoencoder that started from nothing"),
    "vae_transfer": Arm("after", "_retrained", True,
                        "new cars to which the detail of the winter car behind each is given back"),
    "vae_selected": Arm("after, best new cars", "_vae_selected", True,
                        "of all new cars those that a critic finds most intact, as many as *after* has"),
    "winter_and_vae": Arm("after, and winter crops", "_winter_and_vae", True,
                          "the new cars of *after* and the winter cars"),
    "vae_only": Arm("car from VAE cars alone", "_vae_only", True,
                    "the new cars of *after* instead of VisDrone's cars, which it was made to forget"),
    "vae_recoloured": Arm("with counterexamples", "_recoloured", True,
                          "the new cars of *after*, and other classes in their colours"),
}  # fmt: skip
_IN_PART = ("winter", "oversampled", "classic", "oversampled_recoloured", "vae_transfer", "vae_recoloured")
ARMS: dict[str, Arm] = {}  # in the order of Table 2
for _name, _arm in _WHOLE.items():
    ARMS[_name] = _arm
    if _name in _IN_PART:
        _about = f"weights a part of the way from *before* to *{_arm.label}*"
        ARMS[f"{_name}_part"] = Arm(
            f"{_arm.label}, in part", f"{_arm.weights}_part", _arm.samples, _about, _name
        )
ARMS_WITHOUT_SAMPLES = tuple(name for name, arm in ARMS.items() if not arm.samples)  # n_synthetic is 0


def label_of(name: str) -> str:
    """What an arm is called where a person reads it; any other word as it is."""
    return ARMS[name].label if name in ARMS else name


STARTS = {  # of the autoencoder: what notebook 03's curves call them
    "transferred": "encoder from the classifier",
    "mirrored": "the same, mirrored into the decoder",
    "frozen": "the same, encoder's body frozen at first",
    "scratch": "from scratch",
}
SAMPLED = ("transferred", "scratch")  # the starts whose cars an arm uses


def vae_file(start: str) -> str:
    """Name of an autoencoder's weights in its run's folder; vae_car.safetensors is the paper's."""
    return f"vae_{'car' if start == 'transferred' else start}.safetensors"


def samples_file(start: str) -> str:
    """Name of an autoencoder's new cars in its run's folder, such as synthetic_car.npy."""
    return f"synthetic_{'car' if start == 'transferred' else start}.npy"


def check_starts(
    names: Sequence[str], where: str | os.PathLike = "notebook 03", line: int | None = None
) -> list[str]:
    """The starts of the autoencoder that a profile trains; InputError for an unknown one, one named twice,
    or without `transferred`, the paper's.
    """
    for name in names:
        if name not in STARTS:
            raise InputError(where, f"start {name!r}", f"one of {', '.join(STARTS)}", line)
    if len(set(names)) < len(names) or "transferred" not in names:
        found = f"starts {', '.join(names) or 'without a name'}"
        raise InputError(where, found, "each start once, and transferred, the paper's", line)
    return [name for name in STARTS if name in names]


def weights_file(arm: str) -> str:
    """Name of an arm's weights in its run's folder, such as classifier_retrained.safetensors."""
    return f"classifier{ARMS[arm].weights}.safetensors"


def check_arms(
    names: Sequence[str],
    where: str | os.PathLike = "notebook 05",
    line: int | None = None,
    numbers: Collection[str] = (),
) -> list[str]:
    """The arms that a profile retrains, in the order of Table 2.

    Raises InputError for an unknown arm, one named twice, one that takes in part another that is not
    there, and where the control is missing: nothing else tells what new pictures did from what more
    steps do. `numbers`: those of a variant (`lib.run_names`), which has only the arms that they concern
    and is compared with the control of the run that it starts from; InputError if none is left.
    """
    known = [name for name in ARMS if name != BEFORE]
    for name in names:
        if name not in known:
            raise InputError(where, f"arm {name!r}", f"one of {', '.join(known)}", line)
        if ARMS[name].of and ARMS[name].of not in names:
            raise InputError(where, f"arm {name!r}", f"{ARMS[name].of!r} too, which it takes in part", line)
    if len(set(names)) < len(names) or (not numbers and CONTROL not in names):
        found = f"arms {', '.join(names) or 'without a name'}"
        raise InputError(where, found, "each arm once, and continued, the control", line)
    chosen = [name for name in known if name in names]
    if numbers:
        chosen = [name for name in chosen if name != CONTROL]
    if "n_synthetic" in numbers:
        chosen = [name for name in chosen if ARMS[name].samples]
    if not chosen:
        found = f"arms {', '.join(names) or 'without a name'}"
        raise InputError(where, found, f"one at least that {' and '.join(numbers)} concerns", line)
    return chosen
