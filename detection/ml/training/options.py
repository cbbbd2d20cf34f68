"""The options of one training."""

from dataclasses import dataclass, field

from detection.ml.backbones import DEFAULT_BACKBONE
from detection.ml.preprocess import Preprocessing
from detection.ml.serving import SHARPNESS
from detection.ml.training.augmentation import Augmentation
from detection.ml.training.network import DROPOUT


@dataclass(frozen=True)
class TrainingOptions:
    """What one training is asked for; recorded in `model.json`."""

    init: str
    architecture: str = DEFAULT_BACKBONE
    seed: int = 1
    epochs: int = 4
    # On top of `epochs`: how many epochs the head alone learns first. None: 1 for a new head,
    # 0 when the weights of a bundle are trained on.
    head_epochs: int | None = None
    batch_size: int = 8
    # At most so many images of a group in one epoch, and other numbers for some sources.
    per_group: int = 12
    per_source: dict[str, int] = field(default_factory=dict)
    # The schedule of the last stage is made for `epochs` and may be left after so many of them.
    stop_after: int | None = None
    # What the last stage trains: a name of `backbones.TRAINED`, or a number of stages
    # (`network.set_trainable`).
    unfreeze: str | float = "all"
    # After the training: the same again with the validation part, and that is served. The first
    # one's logits of the validation part, whose patients it does not know, calibrate both.
    refit: bool = False
    # Folder of a bundle whose map is learnt beside the labels; "": none.
    teacher: str = ""
    # Whether `boxes_tight.csv` of the data folder is used.
    tight_boxes: bool = True
    # Height and width of the parts of a canvas that are trained on; None: whole canvases.
    crop: tuple[int, int] | None = None
    learning_rate: float = 2e-4
    head_learning_rate: float = 1e-3
    # Each stage of the backbone, from the head down, gets the rate of the one above times this.
    learning_rate_decay: float = 1.0
    weight_decay: float = 0.02
    # Channels and kernel of the head. None: those of the bundle whose weights are trained on.
    head_width: int | None = None
    head_kernel: int | None = None
    dropout: float = DROPOUT
    # Sharpness of the pooling in the loss, and what a stone cell counts in its focal term.
    sharpness: float = SHARPNESS
    positive_weight: float = 1.0
    ema_momentum: float = 0.99
    # bfloat16 arithmetic; None: where the processor computes it, for it is slow elsewhere.
    mixed_precision: bool | None = None
    augmentation: Augmentation = field(default_factory=Augmentation)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
