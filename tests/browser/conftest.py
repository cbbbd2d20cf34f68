"""Chromium on a live server, with the real workers beside it."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.core.management import call_command
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.conftest import signed_in
from tests.factories import study_make
from tests.pictures import block_volume

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


@contextmanager
def worker(queue: str, environment: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "manage.py", "worker", "--queue", queue], cwd=ROOT, env=environment
    )
    yield
    process.terminate()
    process.wait(timeout=180)


@pytest.fixture
def reading_worker(model_in_service, process_environment) -> Iterator[None]:
    with worker("default", process_environment):
        yield


@pytest.fixture
def training_worker(model_in_service, process_environment) -> Iterator[None]:
    with worker("training", process_environment):
        yield


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests of this folder."""
    # Playwright keeps an event loop in this thread, in which Django refuses its database. The
    # tests speak to the pages alone meanwhile, and the fixtures' own work is not asynchronous.
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_OPTIONS)
        expect.set_options(timeout=STEP_TIMEOUT_MS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, live_server) -> Iterator[Page]:
    """A page with cookies and storage of its own."""
    context = browser.new_context(base_url=live_server.url)
    context.set_default_timeout(STEP_TIMEOUT_MS)
    yield context.new_page()
    context.close()


@pytest.fixture
def complaints(page: Page) -> list[str]:
    """What the browser complained of: errors of scripts, of the content security policy."""
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on(
        "console", lambda message: found.append(message.text) if message.type == "error" else None
    )
    return found


@pytest.fixture
def stack(radiologist):
    study = study_make(uploaded_by=radiologist, volume=block_volume())
    finding = study.series.get().predictions.get().findings.get()
    finding.slice_index, finding.x0, finding.y0, finding.x1, finding.y1 = 18, 50, 40, 60, 50
    finding.save()
    return study


@pytest.fixture
def cookie(live_server, radiologist) -> dict[str, str]:
    session = signed_in(radiologist).cookies["sessionid"]
    return {"name": "sessionid", "value": session.value, "url": live_server.url}


@pytest.fixture
def opened(page: Page, stack, cookie):
    page.context.add_cookies([cookie])
    # Tall enough for the whole viewer: places are given in pixels of the window below.
    page.set_viewport_size({"width": 1280, "height": 1100})
    page.goto(stack.get_absolute_url())
    expect(page.locator("[data-viewer]")).to_have_attribute("data-state", "ready")
    return page


@pytest.fixture
def focused(opened):
    opened.locator("[data-stage]").focus()
    return opened


def pane(page: Page, plane: str):
    return page.locator(f'[data-pane="{plane}"]')
