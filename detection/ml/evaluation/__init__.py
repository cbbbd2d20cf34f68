"""Measures bundles on labelled images and writes model card, metrics and tables."""

from detection.ml.evaluation.ablation import AblationOptions, run_ablation
from detection.ml.evaluation.baseline_training import BaselineOptions, run_baselines
from detection.ml.evaluation.gate_table import gate_rows
from detection.ml.evaluation.parts_table import parts_rows
from detection.ml.evaluation.report import ReportOptions, write_report
from detection.ml.evaluation.series_page import make_report

__all__ = [
    "AblationOptions",
    "BaselineOptions",
    "ReportOptions",
    "gate_rows",
    "make_report",
    "parts_rows",
    "run_ablation",
    "run_baselines",
    "write_report",
]
