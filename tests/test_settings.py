"""What the settings promise: fit for production, quick to import, no personal data in the logs."""

import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.contrib.staticfiles import finders
from django.core.checks import registry as check_registry
from django.core.checks import run_checks
from django.db import IntegrityError, connection

from kidneyweb.checks import identifier_keys_are_usable
from kidneyweb.logs import JsonFormatter
from scripts import make_env

ROOT = Path(__file__).resolve().parent.parent
PRODUCTION = {
    "DJANGO_SETTINGS_MODULE": "kidneyweb.settings",
    "SECRET_KEY": "not-a-secret-but-long-enough-0123456789-abcdefghijklmnopqrstuvwxyz",
    "DATABASE_URL": "mysql://kidneyweb:none@127.0.0.1/kidneyweb",
    "ALLOWED_HOSTS": "kidney.example.org",
    "DEBUG": "0",
    "KIDNEYWEB_DEMO": "0",
    "KIDNEYWEB_HTTPS": "1",
}


def run_python(*arguments, **environment):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | PRODUCTION | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_deployment_check_is_silent_under_production_settings():
    finished = run_python("manage.py", "check", "--deploy", "--fail-level", "WARNING")

    assert finished.returncode == 0, finished.stderr
    assert "no issues" in finished.stdout
    assert finished.stderr == ""


def test_check_warns_of_sqlite_in_production():
    finished = run_python("manage.py", "check", DATABASE_URL="sqlite://:memory:")

    assert "kidneyweb.W001" in finished.stderr


@pytest.mark.parametrize("keys", ["", "not a key", "c2hvcnQ="])
def test_check_refuses_to_run_without_usable_identifier_keys(settings, keys):
    settings.IDENTIFIER_KEYS = [keys] if keys else []

    assert [found.id for found in identifier_keys_are_usable()] == ["kidneyweb.E003"]
    assert identifier_keys_are_usable in check_registry.registry.registered_checks


def test_new_env_file_holds_a_key_and_an_old_one_gets_it_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(make_env, "ROOT", tmp_path)
    monkeypatch.delenv("IDENTIFIER_KEYS")
    env_file = tmp_path / ".env"
    make_env.main()
    assert len(re.findall(r"^IDENTIFIER_KEYS=\S{44}$", env_file.read_text(), re.MULTILINE)) == 1

    env_file.write_text("SECRET_KEY=mine")
    for _ in range(2):
        make_env.main()
    lines = env_file.read_text().splitlines()
    assert lines[0] == "SECRET_KEY=mine"
    assert len(lines) == 2
    Fernet(lines[1].partition("=")[2])


def test_check_refuses_a_demo_that_others_can_reach():
    finished = run_python("manage.py", "check", KIDNEYWEB_DEMO="1")

    assert finished.returncode == 1
    assert "kidneyweb.E001" in finished.stderr


def test_secret_key_is_required():
    finished = run_python("manage.py", "check", SECRET_KEY="")

    assert finished.returncode != 0
    assert "SECRET_KEY" in finished.stderr


@pytest.mark.parametrize(
    ("debug", "demo", "hosts", "https"),
    [
        ("0", "0", "kidney.example.org", True),
        ("0", "0", "localhost,kidney.example.org", True),
        ("0", "1", "localhost,127.0.0.1", False),
        ("1", "0", "kidney.example.org", False),
    ],
)
def test_https_is_demanded_unless_only_this_machine_is_served(debug, demo, hosts, https):
    program = (
        "import os; os.environ.pop('KIDNEYWEB_HTTPS')\n"
        "from kidneyweb import settings as s\n"
        "print(s.SECURE_SSL_REDIRECT, s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE,"
        " s.SECURE_HSTS_SECONDS > 0)"
    )

    finished = run_python("-c", program, DEBUG=debug, KIDNEYWEB_DEMO=demo, ALLOWED_HOSTS=hosts)

    assert finished.stdout.split() == [str(https)] * 4, finished.stderr


def test_wsgi_imports_nothing_that_takes_seconds():
    # How long a start takes is measured by `make bench`.
    program = (
        "import sys\n"
        "import kidneyweb.wsgi\n"
        "slow = {'SimpleITK', 'keras', 'matplotlib', 'sklearn', 'tensorflow', 'tf2onnx'}\n"
        "print(slow & sys.modules.keys())"
    )

    finished = run_python("-c", program)

    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.split() == ["set()"]


@pytest.mark.django_db
def test_database_is_strict():
    with connection.cursor() as cursor:
        if connection.vendor == "mysql":
            cursor.execute("SELECT @@sql_mode, @@character_set_connection")
            sql_mode, character_set = cursor.fetchone()
            assert "STRICT_TRANS_TABLES" in sql_mode
            assert character_set == "utf8mb4"
            # MySQL and MariaDB name the variable differently.
            cursor.execute("SHOW VARIABLES LIKE 't%_isolation'")
            assert {value for _, value in cursor.fetchall()} == {"READ-COMMITTED"}
        else:
            cursor.execute("PRAGMA journal_mode")
            assert cursor.fetchone() == ("wal",)


def test_no_page_asks_for_a_static_file_that_is_not_there():
    pages = [*(ROOT / "templates").rglob("*.html")]
    named = {
        name
        for page in pages
        for name in re.findall(r"{%\s*static\s+['\"]([^'\"]+)['\"]", page.read_text("utf-8"))
    }

    assert named
    assert [name for name in sorted(named) if finders.find(name) is None] == []


def test_all_system_checks_pass():
    assert [message for message in run_checks() if message.id != "kidneyweb.W001"] == []


def logged(**record):
    return json.loads(JsonFormatter().format(logging.makeLogRecord(record)))


def test_log_line_holds_plain_values_and_no_objects():
    entry = logged(msg="prediction %s", args=(7,), prediction=7, request=object())

    assert entry["message"] == "prediction 7"
    assert entry["prediction"] == 7
    assert "request" not in entry


def test_log_of_an_error_says_where_and_never_what_was_typed():
    try:
        try:
            raise IntegrityError(1062, "Duplicate entry 'Jane Doe' for key 'name'")
        except IntegrityError as error:
            raise ValueError("Jane Doe") from error
    except ValueError as error:
        entry = logged(msg="failed", exc_info=(type(error), error, error.__traceback__))

    assert "Jane" not in json.dumps(entry)
    assert entry["exception"][0] == "IntegrityError 1062"
    assert any(line == "ValueError" for line in entry["exception"])
    assert any("test_settings.py" in line for line in entry["exception"])


def test_classify_needs_no_settings_at_all():
    picture = ROOT / "tests/samples/ct_slices/A027284_01.dcm"

    finished = run_python("manage.py", "classify", str(picture), "--json", SECRET_KEY="")

    assert finished.returncode == 0
    assert json.loads(finished.stdout)["path"] == str(picture)
