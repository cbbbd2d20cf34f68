"""Forms: what a person sends, checked before a service is asked."""

from typing import Any

from crispy_forms.helper import FormHelper
from django import forms

from detection.ml.backbones import BACKBONES
from detection.models import ModelVersion
from detection.selectors.registry import training_data_folders
from detection.selectors.training import architecture_in_service
from detection.services.training import (
    MAX_EPOCHS,
    MAX_SEED,
    WRONG_ARCHITECTURE,
    WRONG_EPOCHS,
    WRONG_FOLDER,
    WRONG_SEED,
)


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
    """What a retraining is started with."""

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
    seed = forms.IntegerField(
        label="Seed",
        min_value=0,
        max_value=MAX_SEED,
        initial=1,
        error_messages={"min_value": WRONG_SEED, "max_value": WRONG_SEED},
        help_text="Draws which slices are shown, in which order and how they are varied.",
    )
    epochs = forms.IntegerField(
        label="Epochs",
        min_value=1,
        max_value=MAX_EPOCHS,
        initial=2,
        error_messages={"min_value": WRONG_EPOCHS, "max_value": WRONG_EPOCHS},
        help_text=f"How often each image is seen, 1 to {MAX_EPOCHS}. More epochs take longer.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Asked anew for each form: folders come and go while the server runs.
        self.fields["data_folder"].choices = [(name, name) for name in training_data_folders()]
        # Where there is one architecture alone, there is nothing to ask.
        if len(BACKBONES) == 1:
            del self.fields["architecture"]
        else:
            self.fields["architecture"].choices = [(b.name, b.title) for b in BACKBONES.values()]
