"""The documentation names everything that can be called or set."""

import ast
import json
import re
import tomllib
from pathlib import Path

import pytest
from django.core.management import get_commands

from detection.ml.data.sources import COLUMNS as SOURCE_COLUMNS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
TRAINING = (ROOT / "docs/training.md").read_text(encoding="utf-8")
CONTRACTS = (ROOT / "docs/contracts.md").read_text(encoding="utf-8")
ENV_EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
PAGES = sorted(
    file.relative_to(ROOT).as_posix()
    for file in (ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md"))
)
MAX_LINE = 120
OWN_APPS = {"accounts", "detection", "kidneyweb"}


def own_commands() -> list[str]:
    folders = [ROOT / app / "management/commands" for app in OWN_APPS]
    return sorted(
        file.stem for folder in folders for file in folder.glob("*.py") if file.stem[0] != "_"
    )


def command_line_verbs() -> list[str]:
    # Read, not imported: the verbs are the first arguments of add_parser("...").
    files = ("__main__", "ensemble_verbs", "search_verb")
    trees = [ast.parse((ROOT / f"detection/ml/{one}.py").read_text("utf-8")) for one in files]
    return sorted(
        node.args[0].value
        for tree in trees
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


@pytest.mark.parametrize("command", sorted({*own_commands()} - {"classify"}))
def test_command_has_its_row(command):
    assert re.search(rf"^\| `manage\.py {command}[ `]", README, flags=re.MULTILINE)


def test_classify_has_its_section():
    section = README.partition("## Command line\n")[2].partition("\n## ")[0]
    assert "manage.py classify PATH" in section
    assert "| `status` |" in section


@pytest.mark.parametrize("verb", command_line_verbs())
def test_verb_has_its_row(verb):
    assert f"| `{verb}` |" in TRAINING


@pytest.mark.parametrize("name", documented_settings())
def test_setting_is_documented(name):
    assert f"| `{name}` |" in README


def test_every_setting_that_is_read_has_its_line():
    assert settings_read()
    assert settings_read() <= set(documented_settings())


def test_columns_of_a_data_folder_are_documented():
    page = (ROOT / "docs/training-data.md").read_text(encoding="utf-8")
    for column in ("source", *SOURCE_COLUMNS):
        assert f"| `{column}` |" in page


def test_every_dependency_has_its_reason():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for requirements in ("requirements.txt", "requirements-dev.txt"):
        lines = (ROOT / requirements).read_text(encoding="utf-8").splitlines()
        for line in lines:
            name = re.match(r"[A-Za-z0-9-]+", line)
            if name and not line.startswith("-r"):
                assert f"**{name[0]}" in changelog or f"`{name[0]}`" in changelog, name[0]
    packages = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))
    for name in packages["dependencies"] | packages["devDependencies"]:
        assert f"**{name}**" in changelog, name


def contract_ids() -> list[str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return [contract["id"] for contract in settings["tool"]["importlinter"]["contracts"]]


@pytest.mark.parametrize("contract", contract_ids())
def test_contract_stands_with_a_line_that_breaks_it(contract):
    assert f"### {contract}: " in CONTRACTS or f"| `{contract}` | in `" in CONTRACTS


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    missing = [target for target in targets if not ((ROOT / page).parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_links_into_a_page_lead_to_a_heading(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target, heading in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", text):
        file = (ROOT / page).parent / target if target else ROOT / page
        titles = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert heading in {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in titles}


def test_every_page_is_in_the_table_of_contents():
    contents = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    pages = {page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")}
    assert pages - {"README.md"} <= set(re.findall(r"\]\(([^)#]+)", contents))


def short_lined() -> list[str]:
    """Return what is read in an editor: pages and templates. CHANGELOG.md only grows."""
    templates = (file for file in (ROOT / "templates").rglob("*") if file.is_file())
    pages = [page for page in PAGES if page != "CHANGELOG.md"]
    return [*pages, *sorted(file.relative_to(ROOT).as_posix() for file in templates)]


@pytest.mark.parametrize("name", short_lined())
def test_no_line_is_longer_than_120_characters(name):
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    # A row of a table cannot be wrapped.
    long = [
        number
        for number, line in enumerate(lines, start=1)
        if len(line) > MAX_LINE and not line.startswith("|")
    ]
    assert not long
