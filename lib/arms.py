"""The arms of Table 2: what each is called in tables, figures and files. `lib.retraining` fills them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from lib.runs import InputError


class Arm(NamedTuple):
    """Names of one arm."""

    label: str  # in tables and texts
    tick: str  # on a figure's axis
    weights: str  # its weights are classifier<weights>.safetensors
    samples: bool  # whether a generator made images for it


ARMS = {
    "none": Arm("before", "before", "", False),
    "continued": Arm("control", "control", "_continued", False),
    "winter": Arm("winter crops", "winter\ncrops", "_winter", False),
    "oversampled": Arm("winter crops, repeated", "repeated", "_oversampled", False),
    "classic": Arm("winter crops, augmented", "aug-\nmented", "_classic", False),
    "reconstructions": Arm("reconstructions", "recon-\nstructed", "_reconstructions", True),
    "vae_transfer": Arm("after", "after:\nVAE cars", "_retrained", True),
    "winter_and_vae": Arm("after, and winter crops", "VAE cars\nand crops", "_winter_and_vae", True),
    "vae_recoloured": Arm("with counterexamples", "and counter-\nexamples", "_recoloured", True),
}


def weights_file(arm: str) -> str:
    """Name of an arm's weights in its run's folder, such as classifier_retrained.safetensors."""
    return f"classifier{ARMS[arm].weights}.safetensors"


def check_arms(
    names: Sequence[str], where: str | os.PathLike = "notebook 05", line: int | None = None
) -> list[str]:
    """The arms that a profile retrains, in the order of Table 2.

    Raises InputError for an unknown arm, one named twice, and where the control is missing:
    nothing else tells what new pictures did from what more steps do.
    """
    known = [name for name in ARMS if name != "none"]
    for name in names:
        if name not in known:
            raise InputError(where, f"arm {name!r}", f"one of {', '.join(known)}", line)
    if len(set(names)) < len(names) or "continued" not in names:
        found = f"arms {', '.join(names) or 'without a name'}"
        raise InputError(where, found, "each arm once, and continued, the control", line)
    return [name for name in known if name in names]
