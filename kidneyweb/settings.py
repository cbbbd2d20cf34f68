"""Settings of the project: one file; the environment makes the differences."""

from datetime import timedelta
from pathlib import Path

import environ
from csp.constants import NONE, SELF

BASE_DIR = Path(__file__).resolve().parent.parent
LOOPBACK_HOSTS = {"localhost", "127.0.0.1", "[::1]"}

env = environ.Env()
# A variable of the environment goes before a line of the file.
env.read_env(BASE_DIR / ".env")

DEBUG = env.bool("DEBUG", default=False)
# Demonstration accounts with a published password: for this machine alone (kidneyweb.checks).
KIDNEYWEB_DEMO = env.bool("KIDNEYWEB_DEMO", default=False)
# `manage.py classify` and `make_phantoms` run without any settings. Other commands check them first
# and refuse an empty key (kidneyweb.checks); Django itself refuses to sign with one.
SECRET_KEY = env("SECRET_KEY", default="")
# These encrypt text that may name a person; the first is the newest (detection.models.encryption).
IDENTIFIER_KEYS = env.list("IDENTIFIER_KEYS", default=[])
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=sorted(LOOPBACK_HOSTS))
IS_LOOPBACK = LOOPBACK_HOSTS.issuperset(ALLOWED_HOSTS)

# This installation keeps its own files here.
DATA_DIR = Path(env("KIDNEYWEB_DATA_DIR", default=str(BASE_DIR / "data"))).absolute()
MEDIA_ROOT = DATA_DIR / "media"
MODEL_ROOT = DATA_DIR / "models"
TRAINING_DATA_ROOT = DATA_DIR / "training"
# Weights that trainings of another architecture than the one in service start from.
IMAGENET_ROOT = DATA_DIR / "imagenet"
LOG_ROOT = DATA_DIR / "logs"
SHIPPED_MODEL_ROOT = BASE_DIR / "ml_models"
# `python -m detection.ml report` wrote the card of the shipped model there.
MODEL_CARD_ROOT = BASE_DIR / "docs" / "model-card"

INSTALLED_APPS = [
    "kidneyweb.apps.KidneywebConfig",
    "accounts.apps.AccountsConfig",
    "detection.apps.DetectionConfig",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_tasks",
    "django_tasks_db",
    "django_filters",
    "crispy_forms",
    "crispy_bootstrap5",
    "axes",
    "csp",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "kidneyweb.headers.browser_features",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.middleware.session_lifetime",
    "accounts.middleware.request_size",
    "accounts.middleware.no_store",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    # Last, as django-axes asks: it replaces the answer to a sign-in that is locked out.
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "kidneyweb.urls"
WSGI_APPLICATION = "kidneyweb.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
CRISPY_ALLOWED_TEMPLATE_PACKS = "bootstrap5"
CRISPY_TEMPLATE_PACK = "bootstrap5"

# Database: MySQL or MariaDB unless the environment says otherwise.
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": env.db_url("DATABASE_URL", default="mysql://kidneyweb@127.0.0.1/kidneyweb")}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"].setdefault("OPTIONS", {}).update(
        {
            # Web and workers write to one file: wait for the lock, and take it before reading.
            "timeout": 30,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;",
        }
    )
else:
    DATABASES["default"].setdefault("OPTIONS", {}).update(
        {
            "charset": "utf8mb4",
            "sql_mode": "STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION",
            "isolation_level": "read committed",
        }
    )
    DATABASES["default"] |= {
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "TEST": {"CHARSET": "utf8mb4"},
    }

# The queue is a table of the database. Two of them, so that a training delays no prediction.
TASKS = {
    "default": {
        "BACKEND": "django_tasks_db.DatabaseBackend",
        "QUEUES": ["default", "training"],
    },
}

# Signing in
AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "sign-in"
PASSWORD_RESET_TIMEOUT = 60 * 60
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
] + [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    }
]

# Lockout: of one name from one address, so that nobody can lock a colleague out from elsewhere.
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_LOCKOUT_TEMPLATE = "accounts/locked_out.html"
AXES_CLIENT_IP_CALLABLE = "accounts.client_address.client_address"
# The logs hold neither names nor addresses; the access log of the database does.
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address", "user_agent"]
AXES_VERBOSE = False
# How many proxies of our own stand before the web process. X-Forwarded-* is believed only then.
KIDNEYWEB_PROXY_COUNT = env.int("KIDNEYWEB_PROXY_COUNT", default=0)

# Sessions have an idle limit, which the server keeps, and an absolute one. accounts.middleware says
# which requests put off the idle limit.
SESSION_COOKIE_AGE = env.int("SESSION_IDLE_SECONDS", default=30 * 60)
SESSION_ABSOLUTE_SECONDS = env.int("SESSION_ABSOLUTE_SECONDS", default=12 * 60 * 60)
# Pages ask for these by themselves; such a request keeps no session alive.
SESSION_IDLE_PAGES = {"study-status", "upload-status", "detection_trainingrun_progress"}
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True

# Transport: HTTPS everywhere, except where only this machine can reach the pages.
KIDNEYWEB_HTTPS = env.bool("KIDNEYWEB_HTTPS", default=not (DEBUG or IS_LOOPBACK))
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = KIDNEYWEB_HTTPS
SECURE_HSTS_SECONDS = 365 * 24 * 60 * 60 if KIDNEYWEB_HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = KIDNEYWEB_HTTPS
# A load balancer asks for the health of the process without TLS.
SECURE_REDIRECT_EXEMPT = [r"^healthz$"]
if KIDNEYWEB_PROXY_COUNT:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# What a browser may do with a page.
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        # Bootstrap's style sheet draws its ticks, arrows and close buttons from data: images.
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    },
}

# Files: sent ones lie on the disk from the first byte, readable by this account alone.
FILE_UPLOAD_HANDLERS = ["detection.views.receiving.ReceivingHandler"]
# No upload may use the last of the disk: database and logs go on.
MIN_FREE_BYTES = env.int("KIDNEYWEB_MIN_FREE_MB", default=512) * 2**20
# One more than detection.services.uploads takes, which then says that it is too many.
DATA_UPLOAD_MAX_NUMBER_FILES = 5001
# The size of a whole request: an upload (detection.services.uploads) and what surrounds its files.
# Somebody who is not signed in may send a form, and no more.
MAX_REQUEST_BYTES = 4 * 2**30 + 16 * 2**20
MAX_STRANGERS_REQUEST_BYTES = 2**20
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
NODE_MODULES = BASE_DIR / "node_modules"
STATICFILES_DIRS = [BASE_DIR / "static"] + [
    (prefix, NODE_MODULES / folder)
    for prefix, folder in (
        ("vendor/bootstrap", "bootstrap/dist"),
        ("vendor/bootstrap-icons", "bootstrap-icons/font"),
        ("vendor/htmx", "htmx.org/dist"),
        ("vendor/niivue", "@niivue/niivue/dist"),
    )
    if (NODE_MODULES / folder).is_dir()
]
STORAGES = {
    "default": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"file_permissions_mode": 0o600, "directory_permissions_mode": 0o700},
    },
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = DEBUG

# Mails become files below the data folder, unless a server is named.
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_FILE_PATH = DATA_DIR / "mail"
if env("EMAIL_URL", default=""):
    vars().update(env.email_url("EMAIL_URL"))
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env("DEFAULT_FROM_EMAIL", default="reading-room@localhost")

LANGUAGE_CODE = "en"
USE_I18N = True
USE_TZ = True
TIME_ZONE = env("TIME_ZONE", default="UTC")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "kidneyweb.logs.JsonFormatter"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["console"], "level": env("LOG_LEVEL", default="INFO")},
    "loggers": {
        # Django's own handlers would mail pages, with what was typed into them.
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        "axes": {"level": "WARNING"},
    },
}
