"""Caveats and warnings become notices: a code and a text each, every fact once."""

from django.db import migrations

ROWS_AT_ONCE = 500
# How the sentences began that had no code so far.
CODES = {
    "8-bit picture": "eight_bit",
    "16-bit": "sixteen_bit",
    "The file holds 8 bits only": "eight_bit_hu",
    "The file does not say how its values": "hu_unknown",
    "The file was compressed with a lossy": "lossy",
    "Contrast medium was given": "contrast_medium",
    "The rule that turns slices": "series_rule",
    "The axial slices and the coronal": "planes_disagree",
    "The pixels are larger than": "coarse_pixels",
    "The slices are more than 3 mm apart": "thick_slices",
}


def notice(sentence):
    codes = (code for start, code in CODES.items() if sentence.startswith(start))
    return {"code": next(codes, "earlier"), "text": sentence}


def once(notices):
    first = {}
    for one in notices:
        # Two sentences without a code of their own are two facts.
        key = one["text"] if one["code"] == "earlier" else one["code"]
        first.setdefault(key, one)
    return list(first.values())


def to_notices(apps, schema_editor):
    Series = apps.get_model("detection", "Series")
    Prediction = apps.get_model("detection", "Prediction")

    def series_notices(series):
        warned = [{"code": one["code"], "text": one["sentence"]} for one in series.notices]
        return once([notice(sentence) for sentence in series.caveats] + warned)

    def prediction_notices(prediction):
        # What the import says stands with its series.
        series = prediction.series
        told = {*series.caveats, *(one["sentence"] for one in series.notices)}
        return once(notice(sentence) for sentence in prediction.notices if sentence not in told)

    rewrite(Prediction.objects.select_related("series"), prediction_notices)
    rewrite(Series.objects.all(), series_notices)


def to_sentences(apps, schema_editor):
    Series = apps.get_model("detection", "Series")
    Prediction = apps.get_model("detection", "Prediction")

    def texts(prediction):
        return [one["text"] for one in [*prediction.series.notices, *prediction.notices]]

    def warnings(series):
        return [{"code": one["code"], "sentence": one["text"]} for one in series.notices]

    rewrite(Prediction.objects.select_related("series"), texts)
    rewrite(Series.objects.all(), warnings)


def rewrite(rows, make):
    """Give every row its notices, some hundred at a time."""
    held = []
    for row in rows.order_by("pk").iterator(chunk_size=ROWS_AT_ONCE):
        row.notices = make(row)
        held.append(row)
        if len(held) == ROWS_AT_ONCE:
            rows.model.objects.bulk_update(held, ["notices"])
            held = []
    rows.model.objects.bulk_update(held, ["notices"])


class Migration(migrations.Migration):
    dependencies = [("detection", "0007_identifier_roles")]
    operations = [
        migrations.RenameField("series", "warnings", "notices"),
        migrations.RenameField("prediction", "caveats", "notices"),
        migrations.RunPython(to_notices, to_sentences),
        migrations.RemoveField("series", "caveats"),
    ]
