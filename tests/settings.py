"""Settings of the test suite: the real ones, faster and harmless. The queue stays the real one."""

import atexit
import os
import secrets
import shutil
import sys
import tempfile
from base64 import urlsafe_b64encode
from pathlib import Path

# Before the settings are read. Whatever a test keeps, it keeps outside the project's own data.
os.environ.setdefault("SECRET_KEY", secrets.token_urlsafe(50))
os.environ.setdefault("IDENTIFIER_KEYS", urlsafe_b64encode(secrets.token_bytes(32)).decode())
if "KIDNEYWEB_DATA_DIR" not in os.environ:
    os.environ["KIDNEYWEB_DATA_DIR"] = tempfile.mkdtemp(prefix="kidneyweb-tests-")
    atexit.register(shutil.rmtree, os.environ["KIDNEYWEB_DATA_DIR"], ignore_errors=True)
# Of several test processes each has a folder of its own below that; what a test starts is told one.
if "PYTEST_XDIST_WORKER" in os.environ and "pytest" in sys.modules:
    own = Path(os.environ["KIDNEYWEB_DATA_DIR"]) / os.environ["PYTEST_XDIST_WORKER"]
    own.mkdir(exist_ok=True)
    os.environ["KIDNEYWEB_DATA_DIR"] = str(own)
# The suite is the same whatever the .env of this checkout allows.
os.environ.update(
    DEBUG="0", KIDNEYWEB_DEMO="0", KIDNEYWEB_HTTPS="0", ALLOWED_HOSTS="localhost", EMAIL_URL=""
)

from kidneyweb.settings import *  # noqa: E402, F403
from kidneyweb.settings import DATA_DIR, DATABASES, STORAGES  # noqa: E402

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
STORAGES = STORAGES | {
    # No manifest: the tests run without collectstatic.
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_AUTOREFRESH = True
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # A file, not memory: workers are processes of their own.
    DATABASES["default"]["TEST"] = {"NAME": str(DATA_DIR / "test.sqlite3")}
# The suite runs wherever its own small files have room.
MIN_FREE_BYTES = 0
