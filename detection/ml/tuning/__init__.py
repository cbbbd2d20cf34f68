"""Searches the options of a training on a cheap proxy; importing it imports Keras and Optuna."""

from detection.ml.tuning.confirm import ConfirmOptions, run_confirmation
from detection.ml.tuning.proxy import Proxy, ProxyOptions
from detection.ml.tuning.report import write_report
from detection.ml.tuning.samplers import SAMPLERS, make_sampler
from detection.ml.tuning.search import load_studies, run_search
from detection.ml.tuning.space import SPACE, Dimension, distributions

__all__ = [
    "ConfirmOptions",
    "Dimension",
    "Proxy",
    "ProxyOptions",
    "SAMPLERS",
    "SPACE",
    "distributions",
    "load_studies",
    "make_sampler",
    "run_confirmation",
    "run_search",
    "write_report",
]
