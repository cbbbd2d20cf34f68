#!/usr/bin/env bash
# The checks without the tests. scripts/install.sh requirements-dev.txt comes first.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
# The keys live as long as this script: the checks below sign and encrypt nothing.
SECRET_KEY=$(python -c 'import secrets; print(secrets.token_urlsafe(50))')
IDENTIFIER_KEYS=$(python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())')
export SECRET_KEY IDENTIFIER_KEYS

echo "ruff"
ruff check --quiet .
ruff format --check --quiet .
echo "templates"
find templates -name '*.html' -print0 | xargs -0 djade --check --target-version 5.2
echo "scripts and styles"
node_modules/.bin/biome ci --error-on-warnings --colors=off
echo "spelling"
typos
echo "import contracts"
lint-imports --no-cache --no-logo
echo "mypy"
mypy --no-error-summary -p detection.imaging -p detection.ml \
    -p detection.selectors -p detection.services -p detection.views
echo "migrations"
DATABASE_URL="sqlite://:memory:" python manage.py makemigrations --check --dry-run --skip-checks
echo "deployment"
DATABASE_URL="mysql://kidneyweb:none@127.0.0.1/kidneyweb" DEBUG=0 KIDNEYWEB_DEMO=0 \
    ALLOWED_HOSTS=kidney.example.org python manage.py check --deploy --fail-level WARNING
