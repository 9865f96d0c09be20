"""Where the frames of a flight lie: pairs that match, chained, then adjusted together against one of them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree, shortest_path

from lib.matching import Features, guided, magnification, match, project, shift

LEAST = 12  # agreeing matches that a pair needs; by chance a homography finds 6 or 7
SHARE = 0.25  # of the matches within the overlap that must agree (Brown and Lowe 2007: 8 + 0.3 n)
ALL_PAIRS = 12  # with more frames, only likely pairs are matched in full
LIKELY = 10  # pairs of each frame then
COARSE = 400  # largest keypoints, which tell what pairs are likely
FIRST = 1200  # largest keypoints, matched first; the others only where these do not join the frames
PER_PAIR = 400  # matches that enter the adjustment
TOLERANCE = 3.0  # pixels of the matched size, of an agreeing match
MAGNIFIED = 6.0  # how much larger or smaller than in its middle a frame is drawn at most: no horizons


@dataclass
class Pair:
    """Two frames that show some ground both."""

    a: np.ndarray  # (n, 2) agreeing points of the first frame
    b: np.ndarray
    matrix: np.ndarray  # homography, first frame -> second


def _verify(one: Features, two: Features, matches: np.ndarray) -> Pair | str:
    """The homography that enough of the matches agree on, or why there is none."""
    if len(matches) < LEAST:
        return f"{len(matches)} matches"
    a, b = one.points[matches[:, 0]], two.points[matches[:, 1]]
    reach = TOLERANCE * max(one.scale, two.scale)
    matrix, agree = cv2.findHomography(a, b, cv2.USAC_MAGSAC, reach, maxIters=5000, confidence=0.9999)
    if matrix is None or not np.isfinite(matrix).all():
        return f"0 of {len(matches)} matches agree"
    agree = agree.ravel() > 0
    agree &= np.hypot(*(project(matrix, a) - b).T) < 2 * reach
    there = project(matrix, a)
    inside = ((there > 0) & (there < two.size)).all(axis=1)
    count, candidates = int(agree.sum()), int((inside | agree).sum())
    if count < max(LEAST, 8 + SHARE * candidates):
        return f"{count} of {len(matches)} matches agree"
    return _plausible(one, two, Pair(a[agree], b[agree], matrix))


def _plausible(one: Features, two: Features, pair: Pair) -> Pair | str:
    where = f"though {len(pair.a)} matches agree"
    sizes = magnification(pair.matrix, pair.a)
    if sizes.min() <= 0:
        return f"implausible geometry, mirrored or folded, {where}"
    if sizes.max() > 5 or sizes.min() < 1 / 5 or sizes.max() > 4 * sizes.min():
        return f"implausible geometry, scale {sizes.min():.2g} to {sizes.max():.2g}, {where}"
    for points, size in ((pair.a, one.size), (pair.b, two.size)):
        if np.linalg.eigvalsh(np.cov(points.T))[0] < (0.008 * min(size)) ** 2:
            return f"implausible geometry, all on one line or spot, {where}"
    return pair


def _likely(features: list[Features]) -> list[tuple[int, int]]:
    """Pairs worth matching: all of a few frames, else those alike in large keypoints, and next names."""
    n = len(features)
    every = [(i, j) for i in range(n) for j in range(i + 1, n)]
    if n <= ALL_PAIRS:
        return every
    counts = np.zeros((n, n))
    for i, j in every:
        found = match(features[i], features[j], COARSE, 0.9)
        counts[i, j] = counts[j, i] = len(found)
    chosen = {(i, i + 1) for i in range(n - 1)}
    for i in range(n):
        best = np.argsort(-counts[i], kind="stable")[:LIKELY]
        chosen |= {(min(i, int(j)), max(i, int(j))) for j in best if j != i}
    return sorted(chosen)


def _graph(n: int, pairs: dict[tuple[int, int], Pair]):
    """Sparse matrix of costs, lower for pairs with more agreeing matches."""
    rows = [(i, j, 1 / len(pair.a)) for (i, j), pair in sorted(pairs.items())]
    i, j, cost = np.array(rows).T if rows else np.empty((3, 0))
    return coo_matrix((cost, (i.astype(int), j.astype(int))), (n, n)).tocsr()


def _central(members: np.ndarray, graph) -> int:
    """The frame with the least mean distance to the others along pairs, then the best connected one."""
    steps = graph.copy()
    steps.data = 1 + 10 * np.minimum(steps.data, 1)
    distances = shortest_path(steps, directed=False)[np.ix_(members, members)]
    return int(members[distances.sum(axis=1).argmin()])


def _chain(reference: int, n: int, graph, pairs) -> dict[int, np.ndarray]:
    """Frame -> homography to the reference's pixels, along the strongest pairs."""
    tree = minimum_spanning_tree(graph)
    links = [tuple(sorted(pair)) for pair in zip(*tree.nonzero(), strict=True)]
    places, waiting = {reference: np.eye(3)}, [reference]
    while waiting:
        here = waiting.pop(0)
        for i, j in sorted((int(i), int(j)) for i, j in links if here in (i, j)):
            there = j if i == here else i
            if there not in places:
                matrix = pairs[i, j].matrix if there == i else np.linalg.inv(pairs[i, j].matrix)
                places[there] = places[here] @ matrix
                places[there] = places[there] / places[there][2, 2]
                waiting.append(there)
    return places


def _thin(pair: Pair, count: int) -> tuple[np.ndarray, np.ndarray]:
    """At most `count` matches, even over the frame as the order is by size of the keypoints."""
    at = np.arange(0, len(pair.a), max(1, -(-len(pair.a) // count)))
    return pair.a[at], pair.b[at]


def _adjust(places: dict[int, np.ndarray], pairs: dict, features, reference: int, rounds: int = 25):
    """All homographies together: robust least squares of where matched points fall in the other frame.

    Levenberg-Marquardt over H (I + D), D with eight free entries, H of the reference fixed; Huber's weights.
    Distances are taken in frames, not in the panorama, where shrinking a frame would shrink its errors.
    """
    free = {k: m for m, k in enumerate(sorted(set(places) - {reference}))}
    used = [(i, j, *_thin(p, PER_PAIR)) for (i, j), p in sorted(pairs.items()) if i in places and j in places]
    half = max(max(f.size) for f in features) / 2
    norms = {k: np.diag([1 / half, 1 / half, 1]) @ shift(*(-n / 2 for n in features[k].size)) for k in places}
    now = {k: places[k] @ np.linalg.inv(norms[k]) for k in places}
    homogeneous = [(i, j, np.column_stack([project(norms[i], a), np.ones(len(a))]), project(norms[j], b))
                   for i, j, a, b in used]
    knee = 2.0 * max(f.scale for f in features) / half

    def system(state, derive):
        size = 8 * len(free)
        matrix, right, cost = np.zeros((size, size)) if derive else None, np.zeros(size), 0.0
        for i, j, a, b in homogeneous:
            between = np.linalg.inv(state[j]) @ state[i]
            between = between / between[2, 2]
            q = np.einsum("ab,nb->na", between, a)
            w = q[:, 2:]
            off = q[:, :2] / w - b
            away = np.hypot(*off.T)
            huber = np.where(away < knee, away**2 / 2, knee * (away - knee / 2))
            cost += huber.sum() if (w > 0).all() else np.inf
            if not derive:
                continue
            weight = np.minimum(1, knee / np.maximum(away, 1e-12))
            slope = np.zeros((len(a), 2, 3))
            slope[:, 0, 0] = slope[:, 1, 1] = 1 / w[:, 0]
            slope[:, :, 2] = -q[:, :2] / w**2
            ours = np.einsum("nas,nc->nasc", slope @ between, a).reshape(len(a), 2, 9)[..., :8]
            theirs = -np.einsum("nas,nc->nasc", slope, q).reshape(len(a), 2, 9)[..., :8]
            both = [(free[k], side) for k, side in ((i, ours), (j, theirs)) if k in free]
            for m, side in both:
                right[8 * m:8 * m + 8] += np.einsum("nap,na,n->p", side, off, weight)
                for other, second in both:
                    matrix[8 * m:8 * m + 8, 8 * other:8 * other + 8] += np.einsum(
                        "nap,naq->pq", side * weight[:, None, None], second, optimize=False)
        return cost, matrix, right

    damping, (cost, matrix, right) = 1e-6, system(now, True)
    for _ in range(rounds):
        if not free or not np.isfinite(cost):
            break
        damped = matrix + damping * np.diag(np.diag(matrix)) + 1e-12 * np.eye(len(matrix))
        step = np.linalg.solve(damped, -right)
        after = dict(now)
        for k, m in free.items():
            after[k] = now[k] @ (np.eye(3) + np.append(step[8 * m:8 * m + 8], 0).reshape(3, 3))
            after[k] = after[k] / after[k][2, 2]
        new, *_ = system(after, False)
        if new <= cost:
            done = cost - new < 1e-6 * cost
            now, damping = after, damping / 10
            if done:
                break
            cost, matrix, right = system(now, True)
        else:
            damping = max(damping, 1e-8) * 100
            if damping > 1e4:
                break
    out = {k: now[k] @ norms[k] for k in now}
    # Rounded, so that the order in which threads add cannot reach the picture.
    return {k: np.eye(3) if k == reference else np.round(out[k] / out[k][2, 2], 12) for k in out}


def residuals(places, i, j, pair) -> np.ndarray:
    """Distances of a pair's matched points, pixels of the reference."""
    return np.hypot(*(project(places[i], pair.a) - project(places[j], pair.b)).T)


def place_frames(features: list[Features], reference: int | None):
    """Places of the frames that join, the reference, the pairs of frames, and why others are no pairs.

    Matching, verifying and chaining; then guided matching in all overlaps, which finds weak ones too, and
    adjustment. A pair that the adjusted whole contradicts (one car park looks like the next) is dropped, and
    its frames with it if nothing else holds them.
    """
    n, pairs, failures = len(features), {}, {}
    likely = _likely(features)
    for count in (FIRST, None):
        _, group = connected_components(_graph(n, pairs), directed=False)
        for i, j in likely:
            if group[i] != group[j]:
                found = _verify(features[i], features[j], match(features[i], features[j], count))
                (pairs if isinstance(found, Pair) else failures)[i, j] = found
    failures = {key: why for key, why in failures.items() if key not in pairs}
    chosen, places = reference, {}
    for turn in range(12):
        graph = _graph(n, pairs)
        _, group = connected_components(graph, directed=False)
        if reference is None:
            members = np.flatnonzero(group == np.bincount(group).argmax())
            chosen = chosen if turn and chosen in members else _central(members, graph)
        if (group == group[chosen]).sum() < 2:
            return {chosen: np.eye(3)}, chosen, pairs, failures
        places = _chain(chosen, n, graph, pairs)
        places = _adjust(places, pairs, features, chosen, 10 if turn == 0 else 25)
        for i, j in [(i, j) for i in sorted(places) for j in sorted(places) if i < j]:
            between = np.linalg.inv(places[j]) @ places[i]
            share = _shared_area(between, features[i].size, features[j].size)
            if share < 0.01:
                continue
            scale = max(features[i].scale, features[j].scale)
            reach = (10 if turn == 0 else 5) * scale
            found = guided(features[i], features[j], between / between[2, 2], reach)
            pair = Pair(features[i].points[found[:, 0]], features[j].points[found[:, 1]], between)
            off = np.hypot(*(project(between, pair.a) - pair.b).T)
            near = off < max(2.5 * scale, 4 * np.median(off) if len(off) else 0)
            pair.a, pair.b = pair.a[near], pair.b[near]
            good = len(pair.a) >= LEAST and isinstance(_plausible(features[i], features[j], pair), Pair)
            if good and ((i, j) in pairs or len(pair.a) >= 2 * LEAST):
                pairs[i, j] = pair
        places = _adjust(places, pairs, features, chosen)
        off = {key: float(np.median(residuals(places, *key, pair))) / features[key[0]].scale
               for key, pair in pairs.items() if key[0] in places and key[1] in places}
        limit = max(4.0, 4 * float(np.median(list(off.values()))))
        wrong = [key for key in off if off[key] > limit]
        if not wrong:
            break
        for key in wrong:
            if off[key] == max(off[o] for o in off if {*o} & {*key}):  # it may have bent its neighbours
                failures[key] = f"implausible geometry, {off[key]:.0f} pixels off after the common adjustment"
                del pairs[key]
    return places, chosen, pairs, failures


def _shared_area(between: np.ndarray, one: tuple[int, int], two: tuple[int, int]) -> float:
    """Share of the first frame, on a grid of points, that the second sees."""
    grid = np.stack(np.meshgrid(*((np.arange(16) + 0.5) / 16 * n for n in one)), axis=-1).reshape(-1, 2)
    grid = grid[grid @ between[2, :2] + between[2, 2] > 0]
    there = project(between, grid)
    return float(((there > 0) & (there < two)).all(axis=1).sum() / 256)


def reason(k: int, features, names, pairs, failures, reference: int) -> str:
    """Why frame k did not join, from what `place_frames` gave."""
    if len(features[k].points) < 2 * LEAST:
        return f"too few features ({len(features[k].points)} keypoints)"
    partners = [names[i if j == k else j] for i, j in sorted(pairs) if k in (i, j)]
    if partners:
        others = ", ".join(partners[:3])
        return f"no overlap found with the frames around {names[reference]}, only with {others}"
    tried = {(i if j == k else j): why for (i, j), why in sorted(failures.items()) if k in (i, j)}
    odd = [(other, why) for other, why in tried.items() if why.startswith("implausible")]
    if odd:
        return f"{odd[0][1]} (with {names[odd[0][0]]})"
    if not tried:
        return "no overlap found"
    best = max(tried, key=lambda other: int(tried[other].split()[0]))
    return f"no overlap found (at best, with {names[best]}: {tried[best]}; {LEAST} must agree)"


def outline(place: np.ndarray, size: tuple[int, int]) -> np.ndarray | None:
    """Corners of a placed frame; None if its picture would reach for the horizon."""
    width, height = size
    sides = np.linspace(-0.5, width - 0.5, 9), np.linspace(-0.5, height - 0.5, 9)
    grid = np.stack(np.meshgrid(*sides), axis=-1).reshape(-1, 2)
    grown = magnification(place, grid)
    middle = grown[40]
    if not middle > 0 or grown.min() < middle / MAGNIFIED or grown.max() > middle * MAGNIFIED:
        return None
    return project(place, grid[[0, 8, 80, 72]])
