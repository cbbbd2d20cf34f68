"""The addresses of the reading room."""

from django.urls import path

from detection.views import model, pixels, studies, uploads

urlpatterns = [
    path("", studies.home, name="home"),
    path("studies/", studies.study_list_page, name="study-list"),
    path("studies/new/", uploads.upload_create_page, name="upload-create"),
    path("studies/find/", studies.study_find, name="study-find"),
    path("studies/<uuid:uuid>/", studies.study_detail, name="study-detail"),
    path("studies/<uuid:uuid>/status/", studies.study_status, name="study-status"),
    path(
        "studies/<uuid:uuid>/series/<uuid:series>/read/",
        studies.study_series_read,
        name="series-read",
    ),
    path(
        "studies/<uuid:uuid>/series/<uuid:series>/set-aside/",
        studies.study_series_aside,
        {"is_aside": True},
        name="series-set-aside",
    ),
    path(
        "studies/<uuid:uuid>/series/<uuid:series>/take-back/",
        studies.study_series_aside,
        {"is_aside": False},
        name="series-take-back",
    ),
    path("studies/<uuid:uuid>/read-again/", studies.study_again, name="study-again"),
    path("studies/<uuid:uuid>/identifiers/", studies.study_identifiers, name="study-identifiers"),
    path("studies/<uuid:uuid>/image.png", pixels.study_image, name="study-image"),
    path("studies/<uuid:uuid>/map.png", pixels.study_map, name="study-map"),
    path("studies/<uuid:uuid>/slice.raw", pixels.study_slice, name="study-slice"),
    path("studies/<uuid:uuid>/volume.nii", pixels.study_volume, name="study-volume"),
    path("model/", model.model_page, name="model"),
    path("model/figures/<str:name>", model.model_figure, name="model-figure"),
    path("uploads/", uploads.upload_list_page, name="upload-list"),
    path("uploads/<uuid:uuid>/", uploads.upload_detail, name="upload-detail"),
    path("uploads/<uuid:uuid>/status/", uploads.upload_status, name="upload-status"),
]
