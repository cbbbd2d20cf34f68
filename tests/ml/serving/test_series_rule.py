from dataclasses import replace

import numpy as np
import pytest

from detection.ml.serving import SeriesRule, series_logit
from detection.ml.serving.marks import Mark, merge_marks
from detection.ml.serving.series_rule import curve, key_slices

RULE = SeriesRule(threshold=0.5)


def mark(index, x0, *, probability=0.5, y0=10.0, side=10.0):
    edges = (x0, y0, float(index), x0 + side, y0 + side, float(index + 1))
    return Mark(edges=edges, probability=probability, step=index)


def test_one_slice_alone_does_not_make_a_series():
    quiet, alone = [-5.0] * 20, [-5.0] * 20
    alone[7] = 6.0

    assert series_logit(alone, RULE) == series_logit(quiet, RULE) == -5.0


def test_a_run_of_three_slices_does():
    run = [-5.0] * 20
    run[7:10] = [4.0, 6.0, 5.0]

    assert series_logit(run, RULE) == pytest.approx(4.6666667)


def test_two_slices_are_a_run_and_count_by_the_lower():
    run = [-5.0] * 20
    run[7:9] = [6.0, 4.0]

    assert curve(run, RULE).max() == 4.0


def test_noise_of_many_quiet_slices_moves_the_score_less_than_the_maximum():
    quiet = list(np.random.default_rng(1).normal(-5, 1, 600))

    assert series_logit(quiet, RULE) < max(quiet) - 0.8


def test_slices_that_were_not_read_part_the_series():
    logits = [None, -5.0, 4.0, None, 4.0, -5.0, None]

    assert np.nanmax(curve(logits, RULE)) < 4.0
    assert np.isnan(curve(logits, RULE)[[0, 3, 6]]).all()


def test_a_slice_alone_between_refused_ones_does_not_count():
    logits = [-5.0, -5.0, -5.0, None, 6.0, None, -5.0, -5.0]

    assert series_logit(logits, RULE) == -5.0
    assert series_logit([None, 6.0, None], RULE) == 6.0


def test_a_series_without_read_slices_has_no_score():
    assert series_logit([None, None], RULE) is None
    assert key_slices([None, None], RULE) == ()


def test_very_short_series_are_scored():
    assert series_logit([2.0], RULE) == 2.0
    assert series_logit([2.0, 1.0], RULE) == 1.0


def test_key_slices_are_the_peaks_and_lie_apart():
    logits = [-5.0] * 40
    logits[8:12] = [2.0, 3.0, 3.5, 2.0]
    logits[30:33] = [5.0, 6.0, 5.0]

    assert key_slices(logits, RULE)[:2] == (31, 10)


def test_key_slices_of_the_highest_slice_do_not_all_show_one_stone():
    logits = [-5.0] * 40
    logits[8:12] = [2.0, 3.0, 3.5, 2.0]
    logits[30] = 6.0
    highest = replace(RULE, smooth=1, run=1, top=1)

    assert series_logit(logits, highest) == 6.0
    assert key_slices(logits, highest)[:2] == (30, 10)


def test_marks_on_neighbouring_slices_are_one_place():
    clusters = merge_marks([mark(3, 10.0), mark(4, 12.0, probability=0.9), mark(5, 14.0)])

    assert len(clusters) == 1
    assert clusters[0].probability == 0.9
    assert clusters[0].run == 3
    assert clusters[0].edges == (10.0, 10.0, 3.0, 24.0, 20.0, 6.0)


def test_marks_far_apart_are_two_places():
    clusters = merge_marks([mark(3, 10.0), mark(4, 60.0), mark(9, 10.0, probability=0.8)])

    assert [cluster.probability for cluster in clusters] == [0.8, 0.5, 0.5]
