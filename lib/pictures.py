"""Picture files: which are read, and what they show as RGB."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from lib.runs import InputError, files_below

PICTURES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")  # endings of picture files
UNREAD = (".gif", ".heic", ".heif", ".avif", ".jp2", ".dng", ".raw", ".arw", ".cr2", ".nef", ".mp4", ".mov")
DARK = 1 << 12  # of 16 bits: where all values are below it, they are of 12 bits
NEW_SUBFILE_TYPE, COPY_OR_MASK = 254, 1 | 4  # of a TIFF's page (TIFF 6.0, section 8)


def _pictures_in(image: Image.Image) -> int:
    """How many pictures a file holds; smaller copies of it and masks (a GeoTIFF's, a camera's) are none."""
    pages = getattr(image, "n_frames", 1)
    if pages == 1 or image.format == "MPO":
        return 1
    if image.format != "TIFF":
        return pages
    kinds = []
    for page in range(pages):
        image.seek(page)
        kinds.append(image.tag_v2.get(NEW_SUBFILE_TYPE, 0))
    image.seek(0)
    return max(1, sum(not kind & COPY_OR_MASK for kind in kinds))


def load_frame(path: str | os.PathLike, upright: bool = False) -> Image.Image:
    """Decode a frame to an RGB image; `upright`: turned as its EXIF tag says, as viewers show it.

    A file that is no image, or whose data end too early, is an InputError: decoders that
    fill the missing part with grey would put grey crops in the store. So are pixels of 32 bits, whose
    range nothing tells, values of 12 bits in pixels of 16 (else of 16 bits, as thermal cameras give, the
    upper 8 count), and several pictures in one file, of which one alone would be seen.
    """
    dark = False
    try:
        with Image.open(path) as image:
            if (pictures := _pictures_in(image)) > 1:
                raise InputError(path, f"{pictures} pictures in one file", "one")
            image.load()
            if upright:
                image = ImageOps.exif_transpose(image)
            if image.mode.startswith("I;16"):  # a plain conversion would cut at 255: white
                values = np.asarray(image)
                dark = 256 <= values.max(initial=0) < DARK
                image = Image.fromarray((values >> 8).astype(np.uint8))
            if image.mode not in ("I", "F") and not dark:
                return image if image.mode == "RGB" else image.convert("RGB")
    except FileNotFoundError:
        raise InputError(path, "no such file", "a frame") from None
    except InputError:  # a ValueError too
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = str(error).replace(str(path), "").strip(" '") or type(error).__name__
        raise InputError(path, f"a corrupt image ({reason})", "a complete JPEG or PNG") from None
    found = "16-bit pixels of which the upper 4 bits are 0" if dark else "pixels of 32 bits"
    raise InputError(path, found, "a picture with 8 or 16 bits a channel, whose values use them")


def read_frame(path: str | os.PathLike) -> np.ndarray:
    """A frame as RGB uint8 (height, width, 3); InputError as `load_frame`."""
    return np.asarray(load_frame(path))


def read_upright(path: str | os.PathLike) -> np.ndarray:
    """The same, turned as its EXIF orientation says: what a person sees."""
    return np.asarray(load_frame(path, upright=True))


def pictures_below(folder: str | os.PathLike, what: str) -> dict[Path, Path]:
    """The pictures of `runs.files_below`; InputError as there, and for no picture. Says what is not read."""
    found = files_below(folder, what, PICTURES)
    pictures = {below: path for below, path in found.items() if path.suffix.lower() in PICTURES}
    if not pictures:
        raise InputError(folder, "no images", f"files that end in {', '.join(PICTURES)}")
    if unread := unread_pictures(found):
        print(f"{folder}: left out {unread}")
    return pictures


def unread_pictures(files: Iterable[Path]) -> str:
    """Pictures and films of kinds that are not read, such as "2 files (.dng, .mp4)"; empty for none."""
    kinds = [path.suffix.lower() for path in files if path.suffix.lower() in UNREAD]
    many = "s" if len(kinds) > 1 else ""
    return f"{len(kinds)} file{many} ({', '.join(sorted(set(kinds)))})" if kinds else ""
