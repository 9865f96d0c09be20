"""The arms of Table 2: what a classifier is called in tables, figures and files."""

from __future__ import annotations

from typing import NamedTuple


class Arm(NamedTuple):
    """Names of one arm."""

    label: str  # in tables and texts
    tick: str  # on a figure's axis
    weights: str  # its weights are classifier<weights>.safetensors


ARMS = {
    "none": Arm("before", "before", ""),
    "continued": Arm("control", "control", "_continued"),
    "vae_transfer": Arm("after", "after:\nVAE cars", "_retrained"),
    "vae_recoloured": Arm("with counterexamples", "and counter-\nexamples", "_recoloured"),
}


def weights_file(arm: str) -> str:
    """Name of an arm's weights in its run's folder, such as classifier_retrained.safetensors."""
    return f"classifier{ARMS[arm].weights}.safetensors"
