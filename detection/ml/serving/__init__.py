"""Reads images and volumes with a bundle, on ONNX Runtime alone."""

from detection.ml.serving.answer import (
    CANNOT_ASSESS,
    KIDNEYS_ONLY,
    NO_STONE,
    STONE,
    Extent,
    agreement_words,
    is_minority,
    verdict_sentence,
)
from detection.ml.serving.assessment import Assessment
from detection.ml.serving.classify import classify_paths, open_predictor
from detection.ml.serving.ensemble import EnsembleNetwork, combine, open_served
from detection.ml.serving.findings import Finding, Located, Rectangle, locate
from detection.ml.serving.gate import (
    GATE_NAME,
    ORIENTATIONS,
    Depth,
    Gate,
    joined,
    unit_length,
    write_gate,
)
from detection.ml.serving.memory import peak_memory
from detection.ml.serving.network import (
    Array,
    Features,
    NetworkOutputs,
    ServedNetwork,
    in_batches,
    open_network,
)
from detection.ml.serving.picture_checks import Refusal, slice_refusal
from detection.ml.serving.pictures import Picture, image_picture
from detection.ml.serving.pooling import SHARPNESS, pool
from detection.ml.serving.predictor import Predictor
from detection.ml.serving.series_rule import SCOPE, SeriesRule, series_logit
from detection.ml.serving.stone_map import image_map, load_stone_map, save_stone_map
from detection.ml.serving.study_rule import SeriesAnswer, StudyAnswer, study_answer

__all__ = [
    "Array",
    "Assessment",
    "CANNOT_ASSESS",
    "Depth",
    "EnsembleNetwork",
    "Extent",
    "Features",
    "Finding",
    "GATE_NAME",
    "Gate",
    "KIDNEYS_ONLY",
    "Located",
    "NO_STONE",
    "NetworkOutputs",
    "ORIENTATIONS",
    "Picture",
    "Predictor",
    "Rectangle",
    "Refusal",
    "SCOPE",
    "SHARPNESS",
    "STONE",
    "SeriesAnswer",
    "SeriesRule",
    "ServedNetwork",
    "StudyAnswer",
    "agreement_words",
    "classify_paths",
    "combine",
    "image_map",
    "image_picture",
    "in_batches",
    "is_minority",
    "joined",
    "load_stone_map",
    "locate",
    "open_network",
    "open_predictor",
    "open_served",
    "peak_memory",
    "pool",
    "save_stone_map",
    "series_logit",
    "slice_refusal",
    "study_answer",
    "unit_length",
    "verdict_sentence",
    "write_gate",
]
