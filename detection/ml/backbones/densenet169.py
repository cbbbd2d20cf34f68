"""DenseNet169 (Huang et al. 2017, arXiv:1608.06993), as Keras builds it."""

from typing import Any

from detection.ml.backbones.record import Backbone, ImageNetWeights, Normalisation, Stage

# ImageNet's mean and standard deviation of red, green and blue, of grey levels 0 to 1.
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)


def _build(keras: Any, image: Any) -> Any:
    network = keras.applications.DenseNet169(
        include_top=False, weights=None, input_tensor=image, name="densenet169"
    )
    return network.output


def _download(keras: Any) -> Any:
    return keras.applications.DenseNet169(include_top=False, weights="imagenet")


DENSENET169 = Backbone(
    name="densenet169",
    title="DenseNet169",
    stages=(
        # A block of DenseNet hands on all its maps; the transition after it makes them fewer.
        Stage("conv3", layer="pool3_relu", stride=8, channels=512),
        Stage("conv4", layer="pool4_relu", stride=16, channels=1280),
        Stage("conv5", layer="relu", stride=32, channels=1664),
    ),
    normalisation=Normalisation(
        mean=(255 * _MEAN[0], 255 * _MEAN[1], 255 * _MEAN[2]),
        scale=(
            1 / (255 * _DEVIATION[0]),
            1 / (255 * _DEVIATION[1]),
            1 / (255 * _DEVIATION[2]),
        ),
    ),
    imagenet=ImageNetWeights(
        source="keras.applications.DenseNet169",
        licence="MIT",
        file="densenet169_imagenet.npz",
        download=_download,
    ),
    build=_build,
)
