"""The yardstick resamples as the Rust does, whose tests hold the same numbers, and it runs."""

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy", reason="only the benchmark needs it")
sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))

import method
import squares


def test_resampling_weighs_by_a_triangle_and_interpolates():
    sevenths, eighths = np.array([3, 3, 1]) / 7, np.array([1, 3, 3, 1]) / 8
    expected = np.zeros((3, 6), np.float32)
    expected[0, :3], expected[1, 1:5], expected[2, 3:] = sevenths, eighths, sevenths[::-1]
    np.testing.assert_allclose(squares.filtered(3, 6, 0.5, 0.0), expected, atol=1e-7)
    maps = np.array([[[0.0, 4.0], [0.0, 4.0]]], np.float32)
    enlarged = squares.enlarge(maps, 4)
    np.testing.assert_array_equal(enlarged[0], [[0, 1, 3, 4]] * 4)


def test_a_closer_look_shows_zero_past_the_slice_and_nothing_past_the_square():
    look = squares.Letterbox((2, 2), 3, -1.0, 0.0, 3.0)
    square = look.apply(np.array([[[1, 2], [3, 4]]], np.float32))
    np.testing.assert_array_equal(square[0], [[0, 0, 0], [1, 2, 0], [3, 4, 0]])
    part, rows, columns = squares.Letterbox((3, 3), 4, 0.0, 0.0, 2.0).restore(
        np.full((1, 4, 4), 5, np.float32)
    )
    assert (part == 5).all() and (rows, columns) == (slice(0, 2), slice(0, 2))


def test_a_window_lies_between_percentiles():
    voxels = np.array([4, 1, np.nan, 3, 2, 5], np.float32).reshape(1, 2, 3)
    unit = squares.window(voxels, [10.0, 100.0])
    np.testing.assert_allclose(unit.ravel()[[0, 1, 3]], [2.6 / 3.6, 0, 1.6 / 3.6], rtol=1e-6)


def test_small_components_go():
    mask = np.zeros((2, 5, 5), bool)
    mask[:, 1:3, 1:3] = True
    mask[0, 4, 4] = True
    kept = squares.components(mask, 0.2)
    assert kept.sum() == 8 and not kept[0, 4, 4]


def test_the_method_runs_on_a_bundle(bundle):
    rng = np.random.default_rng(0)
    graphs = method.Bundle(bundle, 1)
    mask = np.zeros((5, 40, 32), np.uint8)
    mask[1:4, 10:20, 12:18] = 1
    studies = [
        method.encode_study(graphs, rng.random(mask.shape, np.float32) + mask, mask)
        for _ in range(2)
    ]
    target = rng.random(mask.shape, np.float32) + mask
    found = method.Segmenter(graphs, method.Bank(studies), target).segment()
    assert found.shape == mask.shape and set(np.unique(found)) <= {0, 1}
    assert graphs.seconds > 0
