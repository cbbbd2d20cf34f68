"""Write .env with secret keys of its own, once; an existing .env is left as it is."""

import os
import secrets
import sys
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    target = ROOT / ".env"
    data_dir = Path(os.environ.get("KIDNEYWEB_DATA_DIR", ROOT / "data")).absolute()
    lines = [
        "# Made by `make run`. See .env.example for all settings. Keep this file to yourself.",
        f"SECRET_KEY={secrets.token_urlsafe(50)}",
        f"DATABASE_URL=sqlite:///{quote(str(data_dir / 'kidneyweb.sqlite3'))}",
        "",
    ]
    try:
        # Only its owner may read it, from its first byte on.
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write("\n".join(lines))
    sys.stdout.write("Wrote .env with new secret keys.\n")


if __name__ == "__main__":
    main()
