"""Chromium on a live server, with the real workers beside it."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import call_command
from playwright.sync_api import Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parent.parent.parent
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
# What one step of a page may take on a busy machine; the steps that wait for a model say their own.
STEP_TIMEOUT_MS = 60_000
# Root cannot have Chromium's sandbox; the others keep it from calling home.
CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def model_in_service(transactional_db) -> str:
    call_command("register_model")
    return (ROOT / "ml_models/default").read_text(encoding="utf-8").split()[0]


@pytest.fixture
def workers(model_in_service, process_environment) -> Iterator[None]:
    processes = [
        subprocess.Popen(
            [sys.executable, "manage.py", "worker", "--queue", queue],
            cwd=ROOT,
            env=process_environment,
        )
        for queue in ("default", "training")
    ]
    yield
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(timeout=180)


@pytest.fixture
def page(live_server, monkeypatch) -> Iterator[Page]:
    # Playwright keeps an event loop in this thread, in which Django refuses its database. The
    # test speaks to the pages alone meanwhile, and the fixtures' own clean-up is not asynchronous.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_OPTIONS)
        context = browser.new_context(base_url=live_server.url)
        context.set_default_timeout(STEP_TIMEOUT_MS)
        expect.set_options(timeout=STEP_TIMEOUT_MS)
        yield context.new_page()
        browser.close()
