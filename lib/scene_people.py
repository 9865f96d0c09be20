"""People and what they ride in a drawn drone scene: pedestrians, the seated, motorcycles, bicycles.

Metres and faces as in `lib.scene_objects`; everything random comes from the given generator.
"""

from __future__ import annotations

import numpy as np

from lib.scene_objects import BRIGHT, CARGO, PAINT, RUBBER, Builder, Mesh, pick, rectangle

CLOTHES = ((0.10, 0.10, 0.12), (0.85, 0.85, 0.83), (0.55, 0.10, 0.14), (0.16, 0.22, 0.42), (0.40, 0.40, 0.42),
           (0.80, 0.25, 0.50), (0.75, 0.62, 0.25), (0.25, 0.42, 0.30), (0.55, 0.68, 0.80), (0.40, 0.28, 0.22))
PLAIN = ((0.06, 0.06, 0.07), (0.10, 0.10, 0.11), (0.45, 0.06, 0.07), (0.5, 0.5, 0.52))
SKIN = (0.62, 0.45, 0.36)


def _person(build, rng, x=0.0, y=0.0, seat=0.0, umbrella=0.05):
    """A standing, walking (seat = 0) or sitting figure (seat = height of the hips in metres)."""
    shirt = pick(rng, CLOTHES) * rng.uniform(0.8, 1.15)
    trousers = pick(rng, CLOTHES[:5]) * rng.uniform(0.7, 1.1)
    tall, step, lean = rng.uniform(0.88, 1.06), rng.uniform(0.02, 0.25), rng.uniform(0.0, 0.12)
    hip = seat or 0.86 * tall
    for side in (-1, 1):
        foot = side * step if not seat else 0.35
        leg = rectangle(0.15, -0.1, 0.1, hip * 0.35 if seat else 0.0) + [x + side * 0.1, y + foot, 0]
        thigh = rectangle(0.18, -0.1, 0.1, hip) + [x + side * 0.09, y + (0.2 if seat else 0), 0]
        build.prism(leg, thigh, np.clip(trousers, 0, 1))
    skirted = not seat and rng.random() < 0.12
    chest = hip + 0.56 * tall
    waist = rectangle(0.5 if skirted else 0.36, -0.14, 0.14, hip - (0.3 if skirted else 0.05), 0.05)
    shoulders = rectangle(0.47, -0.12, 0.12, chest, 0.07)
    build.prism(waist + [x, y, 0], shoulders + [x, y + lean, 0], np.clip(shirt, 0, 1))
    for side in (-1, 1):
        swing = side * -step * 0.8 if not seat else 0.35
        build.prism(rectangle(0.1, -0.06, 0.06, hip + 0.02) + [x + side * 0.22, y + swing,
                                                               0.1 if seat else 0],
                    rectangle(0.12, -0.07, 0.07, chest - 0.03) + [x + side * 0.22, y + lean, 0],
                    np.clip(shirt * 0.9, 0, 1) if rng.random() < 0.6 else SKIN)
    head = rectangle(0.2, -0.1, 0.1, chest + 0.04, 0.06) + [x, y + lean, 0]
    hair = pick(rng, ((0.05, 0.045, 0.04), (0.10, 0.08, 0.07), (0.75, 0.75, 0.72),
                      (0.6, 0.1, 0.1) if seat else (0.2, 0.15, 0.1)))
    build.prism(head, head + [0, 0, 0.13], SKIN, lid=hair)
    crown = rectangle(0.16, -0.08, 0.08, chest + 0.27, 0.05) + [x, y + lean, 0]
    build.prism(head + [0, -0.02, 0.13], crown, hair)
    if rng.random() < umbrella:
        ring = np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4), np.zeros(8)], 1)
        build.prism(ring * [0.55, 0.55, 0] + [x, y, chest + 0.25],
                    ring * [0.08, 0.08, 0] + [x, y, chest + 0.5], pick(rng, BRIGHT + CLOTHES))


def pedestrian(rng) -> Mesh:
    """Somebody on foot; one in seven carries a bag, few an umbrella."""
    build = Builder()
    _person(build, rng)
    if rng.random() < 0.15:
        bag = rectangle(0.3, -0.12, 0.12, 0.5) + [0.32, 0, 0]
        build.prism(bag, bag + [0, 0, 0.4], pick(rng, CLOTHES + BRIGHT))
    return build.done()


def seated(rng) -> Mesh:
    """Somebody sitting (VisDrone category 2, people)."""
    build = Builder()
    _person(build, rng, seat=0.45)
    return build.done()


def motorcycle(rng, rider=None, bicycle=False) -> Mesh:
    """Scooter, motorcycle or bicycle (category 3), mostly with a rider; sometimes two, a box, a roof."""
    build, colour = Builder(), pick(rng, CARGO + BRIGHT + PLAIN) * rng.uniform(0.7, 1.05)
    half, wide = rng.uniform(0.85, 1.0), 0.12 if bicycle else 0.34
    for y in (-half + 0.28, half - 0.28):
        wheel = rectangle(0.08, -0.28, 0.28, 0.02) + [0, y, 0]
        build.prism(wheel * [1, 1, 1], wheel + [0, 0, 0.52], RUBBER)
    low = rectangle(wide, -half + 0.2, half - 0.45, 0.28)
    build.prism(low, rectangle(wide * 0.9, -half + 0.05, half * 0.1, 0.62), colour, PAINT,
                lid=(0.07, 0.07, 0.07))
    shield = rectangle(wide * 1.1, half - 0.6, half - 0.38, 0.3)
    build.prism(shield, rectangle(wide * 0.8, half - 0.68, half - 0.55, 0.98), colour, PAINT)
    bar = rectangle(0.66, half - 0.66, half - 0.56, 0.98)
    build.prism(bar, bar + [0, 0, 0.07], (0.12, 0.12, 0.12))
    if not bicycle and rng.random() < 0.3:  # the quilt that covers the knees
        quilt = rectangle(0.75, half - 0.75, half - 0.5, 0.35)
        build.prism(quilt, rectangle(0.8, half - 0.8, half - 0.6, 1.02), pick(rng, BRIGHT + CLOTHES))
    if rng.random() < 0.25:
        box = rectangle(0.45, -half - 0.05, -half + 0.38, 0.66)
        build.prism(box, box + [0, 0, 0.4], pick(rng, BRIGHT + CARGO))
    if rng.random() < 0.75 if rider is None else rider:
        _person(build, rng, y=-0.15, seat=0.72, umbrella=0.03)
        if rng.random() < 0.18:
            _person(build, rng, y=-0.55, seat=0.76, umbrella=0.0)
        if not bicycle and rng.random() < 0.06:  # a roof against the sun
            roof = rectangle(0.7, -0.7, half - 0.3, 1.95)
            build.prism(roof, roof * [0.9, 0.95, 1] + [0, 0, 0.1], pick(rng, BRIGHT))
    return build.done()
