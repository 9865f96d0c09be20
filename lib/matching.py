"""Keypoints of two pictures, matched: what stitching and registration share.

SIFT keypoints (Lowe 2004) with RootSIFT descriptors (Arandjelovic and Zisserman 2012).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import cKDTree

MEGAPIXELS = 1.6  # larger pictures are matched at this size
FEATURES = 3000  # of a picture, at most


@dataclass
class Features:
    """Keypoints of a picture, at most FEATURES."""

    points: np.ndarray  # (n, 2) float64, its pixels
    descriptors: np.ndarray  # (n, 128) whole numbers as float32: sums of products are exact in any order
    norms: np.ndarray
    largest: np.ndarray  # their indices, the largest keypoint first
    size: tuple[int, int]  # width, height
    scale: float  # its pixels per pixel of the matched size


def describe(frame: np.ndarray, visible: np.ndarray) -> Features:
    """Keypoints of an RGB uint8 picture (H, W, 3) where `visible`, bool (H, W); contrast is evened out
    first, as asphalt has little."""
    height, width = frame.shape[:2]
    scale = max(1.0, float(np.sqrt(width * height / (MEGAPIXELS * 1e6))))
    size = (max(1, round(width / scale)), max(1, round(height / scale)))
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    mask = cv2.erode(visible.astype(np.uint8), np.ones((9, 9), np.uint8), borderValue=1)
    if scale > 1:
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        mask = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
    grey = cv2.createCLAHE(3.0, (8, 8)).apply(grey)
    sift = cv2.SIFT_create(FEATURES, 3, 0.01, 12, 1.6, True)
    keypoints, descriptors = sift.detectAndCompute(grey, mask)
    if not keypoints:
        nothing = np.empty((0, 2))
        bare = np.empty((0, 128), np.float32), np.empty(0), np.empty(0, int)
        return Features(nothing, *bare, (width, height), scale)
    points = np.array([key.pt for key in keypoints]).round(4)
    unit = descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-9)
    descriptors = np.round(512 * np.sqrt(unit)).astype(np.float32)
    largest = np.argsort([-key.size for key in keypoints], kind="stable")
    points = (points + 0.5) * (width / size[0], height / size[1]) - 0.5
    return Features(points, descriptors, (descriptors**2).sum(axis=1), largest, (width, height), scale)


def match(one: Features, two: Features, count: int | None, ratio: float = 0.82) -> np.ndarray:
    """Index pairs (n, 2) of keypoints, among the `count` largest, that are clearly nearest to each other."""
    rows, columns = np.sort(one.largest[:count]), np.sort(two.largest[:count])
    if min(len(rows), len(columns)) < 2:
        return np.empty((0, 2), int)
    distance = one.descriptors[rows] @ two.descriptors[columns].T
    distance = one.norms[rows][:, None] + two.norms[columns] - 2 * distance
    every, best = np.arange(len(rows)), distance.argmin(axis=1)
    nearest = distance[every, best]
    keep = nearest == distance.min(axis=0)[best]
    distance[every, best] = np.inf
    keep &= nearest < ratio**2 * distance.min(axis=1)
    return np.column_stack([rows[keep], columns[best[keep]]])


def zoom(x: float, y: float) -> np.ndarray:
    """Matrix (3, 3) of a picture made x times as wide, y times as high; pixel centres on whole numbers."""
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def shift(x: float, y: float) -> np.ndarray:
    """Matrix (3, 3) that moves pixels by (x, y)."""
    return np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])


def project(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (n, 2) after a homography (3, 3)."""
    points = np.asarray(points, float).reshape(1, -1, 2)
    return cv2.perspectiveTransform(points, matrix)[0] if points.size else points[0]  # OpenCV: None of none


def magnification(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Lengths after the homography by those before, at each point; negative: mirrored or behind a camera."""
    w = points @ matrix[2, :2] + matrix[2, 2]
    size = np.linalg.det(matrix) / w**3
    return np.where(w > 0, np.sign(size) * np.sqrt(np.abs(size)), -np.inf)


def guided(one: Features, two: Features, matrix: np.ndarray, reach: float) -> np.ndarray:
    """Index pairs (n, 2) of keypoints that look alike, within `reach` pixels of where `matrix` puts them."""
    near = magnification(matrix, one.points) > 0
    rows = np.flatnonzero(near)
    if not len(rows) or not len(two.points):
        return np.empty((0, 2), int)
    k = min(8, len(two.points))
    away, at = cKDTree(two.points).query(project(matrix, one.points[rows]), k, distance_upper_bound=reach)
    away, at = away.reshape(len(rows), k), at.reshape(len(rows), k)
    there = np.isfinite(away)
    other = np.where(there, at, 0)
    likeness = np.einsum("nd,nkd->nk", one.descriptors[rows], two.descriptors[other])
    distance = np.where(there, one.norms[rows][:, None] + two.norms[other] - 2 * likeness, np.inf)
    # A keypoint with two orientations stands twice at one place; the same place is no rival.
    best = distance.argmin(axis=1)
    every = np.arange(len(rows))
    place = two.points[other]
    rival = np.hypot(*np.moveaxis(place - place[every, best][:, None], -1, 0)) > 1
    second = np.where(rival, distance, np.inf).min(axis=1)
    keep = (distance[every, best] < np.minimum(0.75 * second, 110_000))  # of at most 2 * 512 ** 2
    found = np.column_stack([rows[keep], other[every, best][keep]])
    order = np.argsort(distance[every, best][keep], kind="stable")
    _, first = np.unique(found[order, 1], return_index=True)  # each keypoint once
    return found[order][np.sort(first)]
