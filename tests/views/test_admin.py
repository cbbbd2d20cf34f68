import pytest
from django.core.exceptions import ValidationError
from django.urls import reverse

from detection.forms import TrainingStartForm
from detection.ml.backbones import BACKBONES
from detection.models import ModelActivation, Prediction, TrainingRun
from detection.selectors.registry import model_version_active
from detection.services.training import training_log_path, training_run_create
from tests.factories import model_version_make, study_make

ACTIVATE = "admin:detection_modelversion_activate"
START = "admin:detection_trainingrun_start"
RUN = "admin:detection_trainingrun_change"


@pytest.fixture
def versions(db):
    return model_version_make("first", is_active=True), model_version_make("second")


@pytest.fixture
def data_folder(data_dir):
    folder = data_dir / "training" / "phantoms"
    folder.mkdir(parents=True)
    (folder / "manifest.csv").write_text("image\n")
    return folder.name


@pytest.fixture
def training_run(administrator):
    return TrainingRun.objects.create(
        requested_by=administrator,
        data_folder="phantoms",
        epochs=3,
        status=TrainingRun.Status.RUNNING,
        progress={"stage": "train", "epoch": 2, "epochs": 3, "fraction": 0.43, "seconds_left": 31},
    )


def test_activating_asks_first_and_keeps_who_and_why(administrator_client, administrator, versions):
    first, second = versions
    address = reverse(ACTIVATE, args=[second.pk])

    page = administrator_client.get(address).content.decode()
    assert "first" in page
    assert "second" in page
    assert model_version_active() == first

    administrator_client.post(address, {"note": "Better on our data", "expected": first.pk})
    newest = ModelActivation.objects.first()
    assert (newest.model_version, newest.activated_by) == (second, administrator)
    assert newest.note == "Better on our data"

    back = reverse(ACTIVATE, args=[first.pk])
    administrator_client.post(back, {"note": "Going back", "expected": second.pk})
    assert model_version_active() == first
    assert ModelActivation.objects.count() == 3
    log = administrator_client.get(reverse("admin:detection_modelactivation_changelist"))
    assert "Going back" in log.content.decode()


def test_activating_what_someone_else_has_overtaken_changes_nothing(administrator_client, versions):
    first, second = versions
    third = model_version_make("third", is_active=True)
    address = reverse(ACTIVATE, args=[second.pk])

    response = administrator_client.post(address, {"note": "", "expected": first.pk})
    assert "Meanwhile someone else put third into service" in response.content.decode()
    assert model_version_active() == third
    assert response.context["form"]["expected"].value() == third.pk


def test_activating_a_damaged_bundle_says_so(administrator_client, versions, data_dir):
    first, second = versions
    (data_dir / "models" / "second" / "model.onnx").write_bytes(b"other")

    response = administrator_client.post(
        reverse(ACTIVATE, args=[second.pk]), {"expected": first.pk}
    )
    assert "is damaged" in response.content.decode()
    assert model_version_active() == first


def test_registry_shows_what_is_in_service(administrator_client, auditor_client, versions):
    address = reverse("admin:detection_modelversion_changelist")
    page = administrator_client.get(address).content.decode()
    assert page.count("Put into service") == 1
    assert "Put into service" not in auditor_client.get(address).content.decode()

    _, second = versions
    detail = reverse("admin:detection_modelversion_change", args=[second.pk])
    assert "Put into service" in administrator_client.get(detail).content.decode()
    assert "Put into service" not in auditor_client.get(detail).content.decode()


def test_retraining_is_chosen_confirmed_and_queued(
    administrator_client, administrator, versions, data_folder
):
    chosen = {"data_folder": data_folder, "architecture": "resnet50", "seed": 7, "epochs": 2}

    assert data_folder in administrator_client.get(reverse(START)).content.decode()
    page = administrator_client.post(reverse(START), chosen).content.decode()
    assert "Start this retraining?" in page
    assert not TrainingRun.objects.exists()

    response = administrator_client.post(reverse(START), chosen | {"confirmed": "yes"})
    run = TrainingRun.objects.get()
    assert response.url == reverse(RUN, args=[run.pk])
    assert (run.requested_by, run.data_folder, run.seed, run.epochs) == (
        administrator,
        data_folder,
        7,
        2,
    )


def test_an_architecture_is_chosen_and_shown(administrator_client, versions, data_folder, second):
    chosen = {"data_folder": data_folder, "architecture": "second", "seed": 7, "epochs": 2}

    form = administrator_client.get(reverse(START)).context["form"]
    assert form["architecture"].value() == "resnet50"
    assert [name for name, _ in form.fields["architecture"].choices] == [*BACKBONES]
    wrong = administrator_client.post(reverse(START), chosen | {"architecture": "third"})
    assert "architecture" in wrong.context["form"].errors
    page = administrator_client.post(reverse(START), chosen).content.decode()
    assert "<dd>Second &lt;network&gt;</dd>" in page
    assert "will be trained from <strong>random values</strong>" in page
    assert "needs many more images" in page

    administrator_client.post(reverse(START), chosen | {"confirmed": "yes"})
    run = TrainingRun.objects.get()
    assert run.architecture == "second"
    page = administrator_client.get(reverse(RUN, args=[run.pk])).content.decode()
    assert "<dd>Second &lt;network&gt;</dd>" in page
    runs = administrator_client.get(reverse("admin:detection_trainingrun_changelist"))
    assert "second" in runs.content.decode()


@pytest.mark.parametrize(
    "wrong",
    [
        {"data_folder": "../../etc"},
        {"data_folder": "/etc"},
        {"epochs": 0},
        {"epochs": 21},
        {"learning_rate": 0.02},
        {"learning_rate": "fast"},
        {"trained": "none"},
        {"start": "/etc"},
        {"start": "imagenet"},
        {"seed": -1},
        {"seed": 2**31},
        {"seed": "x"},
    ],
)
def test_retraining_with_a_wrong_choice_is_not_started(
    administrator_client, versions, data_folder, wrong
):
    chosen = {"data_folder": data_folder, "architecture": "resnet50", "seed": 7} | wrong
    chosen["confirmed"] = "yes"

    response = administrator_client.post(reverse(START), chosen)
    assert response.context["form"].errors
    assert not TrainingRun.objects.exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"data_folder": "../../etc"},
        {"architecture": "third"},
        {"epochs": 0},
        {"epochs": 21},
        {"learning_rate": 0},
        {"learning_rate": 0.02},
        {"trained": "none"},
        {"start": "elsewhere"},
        {"start": "bundle"},
        {"start": "imagenet"},
        {"seed": -1},
        {"seed": 2**31},
    ],
)
def test_form_and_service_refuse_a_retraining_with_the_same_sentence(
    administrator, versions, data_folder, second, wrong
):
    chosen = {"data_folder": data_folder, "architecture": "second", "seed": 7, "epochs": 2} | wrong

    with pytest.raises(ValidationError) as refused:
        training_run_create(requested_by=administrator, **chosen)

    assert TrainingStartForm(chosen).errors == dict.fromkeys(wrong, refused.value.messages)


@pytest.mark.parametrize(
    "numbers",
    [
        {"epochs": 1, "seed": 0, "learning_rate": 1e-6},
        {"epochs": 20, "seed": 2**31 - 1, "learning_rate": 0.01},
    ],
)
def test_form_and_service_take_the_same_numbers(administrator, versions, data_folder, numbers):
    chosen = {"data_folder": data_folder, "architecture": "resnet50"} | numbers

    assert TrainingStartForm(chosen).is_valid()
    run = training_run_create(requested_by=administrator, **chosen)
    assert run.epochs == numbers["epochs"]
    assert run.options["learning_rate"] == numbers["learning_rate"]


def test_options_lie_folded_until_one_is_chosen(administrator_client, versions, data_folder):
    chosen = {"data_folder": data_folder, "architecture": "resnet50", "seed": 1, "teacher": "on"}

    def is_open(**more):
        if not more:
            page = administrator_client.get(reverse(START))
        else:
            page = administrator_client.post(reverse(START), chosen | more | {"change": "yes"})
        return '<details class="room-options" open>' in page.content.decode()

    assert not is_open()
    assert not is_open(epochs="")
    assert is_open(epochs="3")
    assert is_open(crop="on")
    assert is_open(learning_rate="fast")


def test_what_is_advised_is_shown_before_and_after(administrator_client, versions, data_folder):
    chosen = {"data_folder": data_folder, "architecture": "googlenet", "seed": 1, "teacher": "on"}
    form = administrator_client.get(reverse(START)).content.decode()
    for words in ("As advised", "<td>0.001</td>", "<td>Every convolution</td>"):
        assert words in form

    told = (
        "<dt>Epochs</dt><dd>12</dd>",
        "<dt>Starts from</dt><dd>random values</dd>",
        "<dt>Learns from</dt><dd>first</dd>",
        "<dt>Learning rate</dt><dd>0.001</dd>",
        "<dt>Trained</dt><dd>every convolution</dd>",
        "<dt>Pictures</dt><dd>parts of them</dd>",
    )
    page = administrator_client.post(reverse(START), chosen | {"crop": "on"})
    for words in (*told, "There are no ImageNet weights of GoogLeNet."):
        assert words in page.content.decode()
    assert not TrainingRun.objects.exists()

    # The page sends what it was asked, a ticked box as a word.
    hidden = {field.name: field.value() or "" for field in page.context["form"]}
    administrator_client.post(reverse(START), hidden | {"confirmed": "yes"})

    run = TrainingRun.objects.get()
    assert run.options["teacher"] == "first"
    assert run.options["crop"]
    assert not run.options["refit"]
    page = administrator_client.get(reverse(RUN, args=[run.pk])).content.decode()
    for words in told:
        assert words in page


def test_a_run_of_before_the_choice_shows_what_it_has(administrator_client, training_run):
    page = administrator_client.get(reverse(RUN, args=[training_run.pk])).content.decode()

    assert "<dt>Epochs</dt><dd>3</dd>" in page
    assert "Learns from" not in page


def test_retraining_without_data_says_what_to_do(administrator_client, versions):
    assert "make_phantoms" in administrator_client.get(reverse(START)).content.decode()


def test_run_shows_progress_log_and_cancel(administrator_client, auditor_client, training_run):
    log = training_log_path(training_run)
    log.parent.mkdir(parents=True)
    log.write_text("first line\n" + "x" * 20_000 + "\nlast <line>\n")

    page = administrator_client.get(reverse(RUN, args=[training_run.pk])).content.decode()
    for words in ("43 %", "epoch 2 of 3", "31 s left", "last &lt;line&gt;", "Cancel this training"):
        assert words in page
    assert "first line" not in page
    page = auditor_client.get(reverse(RUN, args=[training_run.pk])).content.decode()
    assert "43 %" in page
    assert "Cancel this training" not in page


def test_progress_stops_when_the_run_has_ended(administrator_client, training_run):
    address = reverse("admin:detection_trainingrun_progress", args=[training_run.pk])
    assert administrator_client.get(address).status_code == 200

    TrainingRun.objects.update(status="failed", message="The data folder has no boxes.csv.")
    response = administrator_client.get(address)
    assert response.status_code == 286
    assert "The data folder has no boxes.csv." in response.content.decode()


def test_cancelling_asks_the_run_to_end(administrator_client, training_run):
    address = reverse("admin:detection_trainingrun_cancel", args=[training_run.pk])
    assert administrator_client.get(address).status_code == 405
    administrator_client.post(address)
    training_run.refresh_from_db()
    assert training_run.cancel_requested

    TrainingRun.objects.update(status="succeeded")
    response = administrator_client.post(address, follow=True)
    assert "finished already" in response.content.decode()


@pytest.mark.parametrize("model", ["prediction", "modelversion", "modelactivation", "trainingrun"])
@pytest.mark.parametrize("action", ["add", "delete"])
def test_nothing_is_added_or_deleted_by_hand(administrator_client, radiologist, model, action):
    study_make(uploaded_by=radiologist)
    prediction = Prediction.objects.get()
    args = [] if action == "add" else [prediction.pk]
    response = administrator_client.post(
        reverse(f"admin:detection_{model}_{action}", args=args), {"post": "yes"}
    )
    # No such row, for the models that have none here.
    assert response.status_code in (403, 302)
    assert Prediction.objects.count() == 1


def test_prediction_history_can_be_searched_and_is_read_only(
    administrator_client, auditor_client, radiologist, django_assert_max_num_queries
):
    study = study_make(uploaded_by=radiologist, name="here.png")
    for letter in "abcde":
        study_make(uploaded_by=radiologist, name=f"other-{letter}.png")
    address = reverse("admin:detection_prediction_changelist")

    for query in (str(study.pk), "nobody by this name"):
        with django_assert_max_num_queries(14):
            found = auditor_client.get(address, {"q": query}).context["cl"].queryset
        studies = {prediction.series.study_id for prediction in found}
        assert studies == (set() if "nobody" in query else {study.pk})
    prediction = Prediction.objects.get(series__study=study)
    detail = reverse("admin:detection_prediction_change", args=[prediction.pk])
    assert "_save" not in administrator_client.get(detail).content.decode()
    assert administrator_client.post(detail, {"verdict": "no_stone"}).status_code == 403


def test_figures_of_a_model_are_readable(administrator_client):
    version = model_version_make()
    version.metrics = {"test": {"n": 468, "auc": 0.99832345, "interval": [0.901234, 0.95]}}
    version.save()

    address = reverse("admin:detection_modelversion_change", args=[version.pk])
    page = administrator_client.get(address).content.decode()

    assert "test\n    n: 468\n    auc: 0.9983\n    interval: 0.9012, 0.95</pre>" in page
