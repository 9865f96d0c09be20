"""What the folders of runs are called, and which notebook makes which of a run's files.

A run is seed<k>, or seed<k>-sequence for the split by sequence. A run with other numbers than its
profile's, a variant, names them: seed0-winter50, seed0-winter50-synthetic3000. It repeats only the
notebooks that such a number concerns and takes all other files from the run without it.
"""

from __future__ import annotations

import fnmatch
import re
from typing import NamedTuple

from lib.runs import InputError

SPLITS = ("object", "sequence")
VARIED = {  # number -> its word in a run's name, the first notebook that it concerns
    "n_winter": ("winter", "03_vae_transfer"),
    "n_synthetic": ("synthetic", "05_retraining"),
}
WITH_NUMBERS = ("arms", "starts", "critic_examples")  # what a variant may give beside its numbers: less work
OUTPUTS = {  # what each notebook leaves in a run's folder, figures aside; * stands for an arm or a start
    # (stores.json: `lib.stages`)
    "01_data_preparation": ("division.npz", "metrics/data.json", "metrics/table1.json", "state/stores.json"),
    "02_classifier_training": ("classifier.safetensors", "metrics/classifier.json", "answers/none.npz"),
    "03_vae_transfer": ("vae_*.safetensors", "metrics/vae.json", "metrics/transfer.json"),
    "04_generation": ("synthetic_*.npy", "intactness*.npy", "recoloured.npy", "recoloured_labels.npy",
                      "judge.safetensors", "metrics/generation.json"),
    "05_retraining": ("classifier_*.safetensors", "answers/*.npz", "metrics/retraining.json"),
    "07_panorama_anomalies": ("panorama/anomalies.csv", "panorama/anomalies.geojson", "panorama/report.html",
                              "panorama/first.jpg", "panorama/second.jpg", "metrics/panorama.json"),
    "08_weak_classes": ("weak_classes.safetensors", "metrics/weak_classes.json"),
}  # fmt: skip
OPTIONAL = ("08_weak_classes",)  # not part of the main job: `make improve`
ONCE = ("07_panorama_anomalies",)  # part of it for the profile's first run alone


class RunName(NamedTuple):
    """A run's name in its parts; `str` puts it together."""

    split: str
    seed: int
    n_winter: int | None = None  # None: as the profile says
    n_synthetic: int | None = None

    def __str__(self) -> str:
        words = [f"seed{self.seed}"] + ([] if self.split == "object" else [self.split])
        return "-".join(words + [f"{VARIED[name][0]}{value}" for name, value in self.numbers().items()])

    def numbers(self) -> dict[str, int]:
        """The numbers in which it differs from its profile."""
        return {name: getattr(self, name) for name in VARIED if getattr(self, name) is not None}

    def maker(self, notebook: str) -> RunName:
        """The run whose folder holds what `notebook` makes for this one: without numbers that come later."""
        late = [n for n in self.numbers() if VARIED[n][1] > notebook or notebook in OPTIONAL + ONCE]
        return self._replace(**dict.fromkeys(late))

    def repeats(self, notebook: str) -> bool:
        """Whether this run has `notebook` run for itself."""
        return self.maker(notebook) == self


def parse_run(name: str) -> RunName:
    """The parts of a run's name, the reverse of str(RunName); InputError for another name."""
    numbers = "".join(rf"(?:-{word}(?P<{key}>[1-9]\d*))?" for key, (word, _) in VARIED.items())
    match = re.fullmatch(rf"seed(?P<seed>\d+)(?:-(?P<split>sequence))?{numbers}", name)
    if not match:
        words = " and ".join(f"-{word}<n>" for word, _ in VARIED.values())
        raise InputError("run", repr(name), f"seed<k> or seed<k>-sequence, then perhaps {words}")
    varied = {key: int(match[key]) if match[key] else None for key in VARIED}
    found = RunName(match["split"] or "object", int(match["seed"]), **varied)
    if str(found) != name:  # seed007 would be another folder than the notebooks'
        raise InputError("run", repr(name), str(found))
    return found


def made_by(file: str, otherwise: str) -> str:
    """The notebook that makes a file of a run's folder, such as division.npz; `otherwise` for any other."""
    for notebook, patterns in OUTPUTS.items():
        if any(fnmatch.fnmatchcase(file, pattern) for pattern in patterns):
            return notebook
    return otherwise
