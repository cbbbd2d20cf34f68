"""Write .env with secret keys of its own, once; an existing .env only gets what it lacks."""

import os
import re
import secrets
import sys
from base64 import urlsafe_b64encode
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    target = ROOT / ".env"
    data_dir = Path(os.environ.get("KIDNEYWEB_DATA_DIR", ROOT / "data")).absolute()
    lines = [
        "# Made by `make run`. See .env.example for all settings. Keep this file to yourself.",
        f"SECRET_KEY={secrets.token_urlsafe(50)}",
        _identifier_keys_line(),
        f"DATABASE_URL=sqlite:///{quote(str(data_dir / 'kidneyweb.sqlite3'))}",
        "",
    ]
    try:
        # Only its owner may read it, from its first byte on.
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        _complete(target)
        return
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write("\n".join(lines))
    sys.stdout.write("Wrote .env with new secret keys.\n")


def _complete(target: Path) -> None:
    """Add the key that a .env of an earlier version lacks; without it nothing can be stored."""
    text = target.read_text(encoding="utf-8")
    if "IDENTIFIER_KEYS" in os.environ or re.search(r"^IDENTIFIER_KEYS=", text, re.MULTILINE):
        return
    with target.open("a", encoding="utf-8") as file:
        file.write(("" if text.endswith("\n") else "\n") + _identifier_keys_line() + "\n")
    sys.stdout.write("Added a key for identifiers to .env. Keep a copy of it in a safe place.\n")


def _identifier_keys_line() -> str:
    # A Fernet key: 32 random bytes.
    return f"IDENTIFIER_KEYS={urlsafe_b64encode(secrets.token_bytes(32)).decode()}"


if __name__ == "__main__":
    main()
