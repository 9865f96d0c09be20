"""`make panorama`: notebook 07 for two flights of one's own; `python -m lib.compare_flights --help`.

What is asked for is checked before anything is written or stitched. The notebook and its log lie with the
results.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lib import settings
from lib.arms import ARMS, weights_file
from lib.changes import SMALLEST
from lib.panorama import results_folder
from lib.run_names import ONCE
from lib.run_plan import plan
from lib.runs import InputError, command_line, require
from lib.settings import make_command
from lib.stages import command, failure, run_papermill

(NOTEBOOK,) = ONCE


def read_arguments(arguments: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """What is asked for, and what goes to papermill. InputError: no such flight, width, place, arm."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.compare_flights", description="What changed between two flights over one place.",
        epilog="Other arguments go to papermill, such as -p unsure 0.7.",
    )  # fmt: skip
    parser.add_argument("first", help="a folder of overlapping frames, or one finished panorama")
    parser.add_argument("second", help="the same place at another time")
    parser.add_argument("vehicle_px", help="width of a car in pixels of the first panorama, such as 30")
    parser.add_argument("--place", default="place", help="a name; results lie in the run's places/NAME")
    parser.add_argument("--profile", default="embedded", help="whose classifiers are asked")
    parser.add_argument("--arm", help="whose classifier is the retrained one (default: the profile's)")
    parser.add_argument("--partial", action="store_true", help="leave out frames that do not join")
    given, more = parser.parse_known_args(arguments)
    settings.known_profile(given.profile)
    for name in ("first", "second"):
        flight = getattr(given, name)
        path = Path(flight).expanduser()
        if not flight or not path.exists():
            found = "no such file or folder" if flight else "nothing"
            expected = "a folder of frames, or one panorama"
            raise InputError(f"{name.upper()}={flight}", found, expected)
        setattr(given, name, os.path.abspath(path))  # the notebook runs in the repository's root
    try:
        fits = SMALLEST <= float(given.vehicle_px) < float("inf")
    except ValueError:
        fits = False
    if not fits:
        expected = f"the width of a car in pixels, such as 30; below {SMALLEST:g} none shows"
        raise InputError("VEHICLE_PX", repr(given.vehicle_px), expected)
    if not given.place:
        raise InputError("PLACE", "nothing", "a plain name, without folders")
    given.results = results_folder(given.place)
    given.arm = given.arm or settings.values(given.profile, NOTEBOOK)["arm"]
    if given.arm not in ARMS:
        raise InputError("ARM", repr(given.arm), f"one of {', '.join(ARMS)}")
    return given, more


@command_line
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the notebook and print where the page lies: 0; 1 and its error if it failed; 2 for bad input."""
    given, more = read_arguments(arguments)
    name = plan(given.profile)[0]  # the run that draws flights in the main job, too
    run = settings.ROOT / "runs" / given.profile / name
    folder = run / given.results
    for weights in ("classifier.safetensors", weights_file(given.arm)):
        require(run / weights, make_command("reproduce", given.profile))
    notebook, log, page = (folder / file for file in ("notebook.ipynb", "notebook.log", "report.html"))
    folder.mkdir(parents=True, exist_ok=True)
    notebook.unlink(missing_ok=True)  # a failure must not be told from an earlier call's
    words = [
        *command(given.profile, NOTEBOOK, [name], notebook),
        *("-r", "first_flight", given.first, "-r", "second_flight", given.second, "-r", "place", given.place),
        *("-p", "vehicle_px", given.vehicle_px, "-r", "arm", given.arm),
        *(("-p", "partial", "True") if given.partial else ()), *more,
    ]  # fmt: skip

    def written() -> int | None:
        return page.stat().st_mtime_ns if page.exists() else None

    earlier = written()
    if run_papermill(words, notebook, log):
        print(failure(notebook, log.read_text(encoding="utf-8", errors="replace")), file=sys.stderr)
        if earlier is not None and written() == earlier:
            print(f"{page.relative_to(settings.ROOT)} is of an earlier comparison", file=sys.stderr)
        return 1
    print(page.relative_to(settings.ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
