"""Forms: what a person sends, checked before a service is asked."""

from typing import Any

from crispy_forms.helper import FormHelper
from django import forms
from django.utils.text import capfirst

from detection.ml.backbones import (
    BACKBONES,
    MAX_EPOCHS,
    MAX_LEARNING_RATE,
    MIN_LEARNING_RATE,
    TRAINED,
    WRONG_EPOCHS,
    WRONG_LEARNING_RATE,
)
from detection.models import ModelVersion
from detection.selectors.registry import training_data_folders
from detection.selectors.training import STARTS, architecture_in_service, training_plan
from detection.services.training import (
    MAX_SEED,
    WRONG_ARCHITECTURE,
    WRONG_FOLDER,
    WRONG_SEED,
    WRONG_START,
    WRONG_TRAINED,
)

_ADVISED = ("", "As advised")


class FilesInput(forms.FileInput):
    allow_multiple_selected = True

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        return files.getlist(name)


class FilesField(forms.Field):
    """Any number of files. What is in them is the import's business: nothing is read here."""

    widget = FilesInput
    default_error_messages = {"required": "No file was sent. Please choose at least one image."}


class UploadForm(forms.Form):
    files = FilesField(label="Image files, archives or volumes")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.helper = FormHelper()
        self.helper.form_tag = False


class ActivationForm(forms.Form):
    """Why a model version goes into service. The version itself comes from the address."""

    note = forms.CharField(
        label="Why",
        max_length=255,
        required=False,
        help_text="Kept in the activation log beside your name and the time.",
        widget=forms.TextInput(attrs={"class": "vTextField"}),
    )
    # What was in service when the page was shown: two people must not overtake each other.
    expected = forms.ModelChoiceField(
        queryset=ModelVersion.objects.all(), required=False, widget=forms.HiddenInput
    )


class TrainingStartForm(forms.Form):
    """What a retraining is started with; an option that is left empty takes the advised value."""

    data_folder = forms.ChoiceField(
        label="Training data",
        help_text="A folder directly below the training data root that holds a manifest.csv.",
        error_messages={"invalid_choice": WRONG_FOLDER},
    )
    architecture = forms.ChoiceField(
        label="Architecture",
        help_text="The network that is trained. At first the one of the model in service.",
        initial=architecture_in_service,
        error_messages={"invalid_choice": WRONG_ARCHITECTURE},
    )
    start = forms.ChoiceField(
        label="Start",
        required=False,
        choices=[_ADVISED, *((name, capfirst(told)) for name, told in STARTS.items())],
        help_text="The weights that the training starts from. As advised: the first that there is.",
        error_messages={"invalid_choice": WRONG_START},
    )
    epochs = forms.IntegerField(
        label="Epochs",
        required=False,
        min_value=1,
        max_value=MAX_EPOCHS,
        error_messages={"min_value": WRONG_EPOCHS, "max_value": WRONG_EPOCHS},
        help_text=f"How often each image is seen, 1 to {MAX_EPOCHS}. More epochs take longer.",
    )
    trained = forms.ChoiceField(
        label="Trained",
        required=False,
        choices=[_ADVISED, *((name, capfirst(told)) for name, told in TRAINED.items())],
        help_text="How much of the network may change. Less is quicker and forgets less.",
        error_messages={"invalid_choice": WRONG_TRAINED},
    )
    learning_rate = forms.FloatField(
        label="Learning rate",
        required=False,
        min_value=MIN_LEARNING_RATE,
        max_value=MAX_LEARNING_RATE,
        error_messages={"min_value": WRONG_LEARNING_RATE, "max_value": WRONG_LEARNING_RATE},
        help_text=(
            f"The length of a step, {MIN_LEARNING_RATE:f} to {MAX_LEARNING_RATE}. "
            "Too long a step forgets what the start knew."
        ),
        widget=forms.NumberInput(attrs={"step": "any"}),
    )
    crop = forms.BooleanField(
        label="Train on parts of the images",
        required=False,
        help_text="A third quicker, and takes less memory.",
    )
    refit = forms.BooleanField(
        label="Train again with the validation part",
        required=False,
        help_text="Takes twice as long. The second training, which saw more patients, is served.",
    )
    teacher = forms.BooleanField(
        label="Learn from the model in service",
        required=False,
        initial=True,
        help_text=(
            "Used only if the training starts from random values, and the model in service is of "
            "another architecture."
        ),
    )
    seed = forms.IntegerField(
        label="Seed",
        min_value=0,
        max_value=MAX_SEED,
        initial=1,
        error_messages={"min_value": WRONG_SEED, "max_value": WRONG_SEED},
        help_text="Draws which slices are shown, in which order and how they are varied.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Asked anew for each form: folders come and go while the server runs.
        self.fields["data_folder"].choices = [(name, name) for name in training_data_folders()]
        self.fields["architecture"].choices = [(b.name, b.title) for b in BACKBONES.values()]

    def clean(self) -> dict[str, Any]:
        values = super().clean()
        if "architecture" in values and "start" in values:
            try:
                training_plan(architecture=values["architecture"], start=values["start"])
            except forms.ValidationError as error:
                self.add_error("start", error)
        return values

    @property
    def main_fields(self) -> list[forms.BoundField]:
        return [self["data_folder"], self["architecture"]]

    @property
    def options(self) -> list[forms.BoundField]:
        """The fields that have safe defaults."""
        main = [field.name for field in self.main_fields]
        return [field for field in self if field.name not in main]

    @property
    def has_other_options(self) -> bool:
        """Whether an option is wrong, or not what it is at first."""
        return self.is_bound and any(
            field.name in self.changed_data or field.errors for field in self.options
        )
