"""The documentation names everything that can be called or set."""

import ast
import re
from pathlib import Path

import pytest
from django.core.management import get_commands

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
ENV_EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
OWN_APPS = {"accounts", "detection", "kidneyweb"}


def own_commands() -> list[str]:
    folders = [ROOT / app / "management/commands" for app in OWN_APPS]
    return sorted(
        file.stem for folder in folders for file in folder.glob("*.py") if file.stem[0] != "_"
    )


def command_line_verbs() -> list[str]:
    # Read, not imported: the verbs are the first arguments of add_parser("...").
    tree = ast.parse((ROOT / "detection/ml/__main__.py").read_text(encoding="utf-8"))
    return sorted(
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "add_parser"
    )


def documented_settings() -> list[str]:
    return re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", ENV_EXAMPLE, flags=re.MULTILINE)


def settings_read() -> set[str]:
    source = (ROOT / "kidneyweb/settings.py").read_text(encoding="utf-8")
    return set(re.findall(r"\benv(?:\.\w+)?\(\s*\"([A-Z][A-Z0-9_]+)\"", source))


def test_own_commands_are_found():
    assert {"classify", "worker", "seed_demo"} <= set(own_commands()) <= set(get_commands())


@pytest.mark.parametrize("command", own_commands())
def test_command_is_documented(command):
    assert f"manage.py {command}" in README
    assert f"`{command}`" in ARCHITECTURE


@pytest.mark.parametrize("verb", command_line_verbs())
def test_verb_is_documented(verb):
    assert f"`{verb}`" in README or f"detection.ml {verb}`" in README
    assert f"`{verb}`" in ARCHITECTURE


@pytest.mark.parametrize("name", documented_settings())
def test_setting_is_documented(name):
    assert f"| `{name}` |" in README


def test_every_setting_that_is_read_has_its_line():
    assert settings_read()
    assert settings_read() <= set(documented_settings())


def test_every_dependency_has_its_reason():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for requirements in ("requirements.txt", "requirements-dev.txt"):
        lines = (ROOT / requirements).read_text(encoding="utf-8").splitlines()
        for line in lines:
            name = re.match(r"[A-Za-z0-9-]+", line)
            if name and not line.startswith("-r"):
                assert f"**{name[0]}" in changelog or f"`{name[0]}`" in changelog, name[0]


@pytest.mark.parametrize(
    "page", ["README.md", "CHANGELOG.md", "docs/architecture.md", "docs/mysql.md"]
)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    missing = [target for target in targets if not ((ROOT / page).parent / target).exists()]
    assert not missing
