"""Measures bundles on labelled images and writes model card, metrics and tables."""

from detection.ml.evaluation.ablation import AblationOptions, run_ablation
from detection.ml.evaluation.baseline_training import BaselineOptions, run_baselines
from detection.ml.evaluation.changed import spread
from detection.ml.evaluation.deletion import FILLS, without_other_patch, without_stone
from detection.ml.evaluation.drawing import COLOURS, new_axes, save_figure
from detection.ml.evaluation.gate_table import gate_rows
from detection.ml.evaluation.levels import judge
from detection.ml.evaluation.parts_table import parts_rows
from detection.ml.evaluation.readings import CLEAN, Change, Reader, Reading
from detection.ml.evaluation.report import ReportOptions, processor, rounded, write_report
from detection.ml.evaluation.robustness import CORRUPTIONS
from detection.ml.evaluation.series_page import make_report
from detection.ml.evaluation.statistics import (
    RESAMPLES,
    SEED,
    WIDER,
    Figure,
    calibration_line,
    difference,
    proportion,
)

__all__ = [
    "AblationOptions",
    "BaselineOptions",
    "CLEAN",
    "COLOURS",
    "CORRUPTIONS",
    "Change",
    "FILLS",
    "Figure",
    "RESAMPLES",
    "Reader",
    "Reading",
    "ReportOptions",
    "SEED",
    "WIDER",
    "calibration_line",
    "difference",
    "gate_rows",
    "judge",
    "make_report",
    "new_axes",
    "parts_rows",
    "processor",
    "proportion",
    "rounded",
    "run_ablation",
    "run_baselines",
    "save_figure",
    "spread",
    "without_other_patch",
    "without_stone",
    "write_report",
]
