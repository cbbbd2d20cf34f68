"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381) of width 1, as Keras builds it."""

from typing import Any

from detection.ml.backbones.record import Backbone, ImageNetWeights, Normalisation, Stage

_BLOCKS = 16


def _build(keras: Any, image: Any) -> Any:
    network = keras.applications.MobileNetV2(
        include_top=False, weights=None, input_tensor=image, name="mobilenetv2"
    )
    return network.output


def _download(keras: Any) -> Any:
    return keras.applications.MobileNetV2(include_top=False, weights="imagenet")


def _convolutions() -> tuple[tuple[str, str], ...]:
    """Name the convolutions from input to output, each with its batch normalisation."""
    blocks = [f"block_{number}_" for number in range(1, _BLOCKS + 1)]
    names = ["expanded_conv_depthwise", "expanded_conv_project"]
    names += [f"{block}{part}" for block in blocks for part in ("expand", "depthwise", "project")]
    return (
        ("Conv1", "bn_Conv1"),
        *((name, f"{name}_BN") for name in names),
        ("Conv_1", "Conv_1_bn"),
    )


MOBILENETV2 = Backbone(
    name="mobilenetv2",
    title="MobileNetV2",
    stages=(
        # The widest map of a stride stands behind the expansion that opens the next block.
        Stage("conv3", layer="block_6_expand_relu", stride=8, channels=192),
        Stage("conv4", layer="block_13_expand_relu", stride=16, channels=576),
        Stage("conv5", layer="out_relu", stride=32, channels=1280),
    ),
    normalisation=Normalisation(mean=(127.5, 127.5, 127.5), scale=(1 / 127.5,) * 3),
    imagenet=ImageNetWeights(
        source="keras.applications.MobileNetV2",
        licence="Apache-2.0",
        file="mobilenet_v2_imagenet_int8.tflite",
        tflite_layers=_convolutions(),
        download=_download,
    ),
    build=_build,
)
