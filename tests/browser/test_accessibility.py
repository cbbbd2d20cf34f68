"""The pages by the rules of axe-core: contrast, names, roles, order of headings."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
ROOT = Path(__file__).resolve().parent.parent.parent
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# What is wrong and where: a rule, and the elements that break it.
CHECK = """
async (tags) => {
  document.querySelectorAll("details").forEach((details) => { details.open = true; });
  const { violations } = await axe.run(document, { runOnly: { type: "tag", values: tags } });
  return violations.map(({ id, nodes }) =>
    `${id}: ${nodes.map((node) => `${node.target} (${node.any[0]?.message ?? ""})`).join("; ")}`);
}
"""


def complaints_of_axe(page: Page) -> list[str]:
    # `scripts/install.sh requirements-dev.txt` brings it.
    page.evaluate((ROOT / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8"))
    return [f"{page.url}: {complaint}" for complaint in page.evaluate(CHECK, RULES)]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_keep_the_rules_of_axe(page, model_in_service, stack, cookie, theme):
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    page.goto("/accounts/sign-in/")
    found = complaints_of_axe(page)

    page.context.add_cookies([cookie])
    upload = stack.upload.get_absolute_url()
    pages = ("/studies/", "/studies/new/", "/uploads/", upload, "/model/")
    for address in (*pages, stack.get_absolute_url()):
        page.goto(address)
        if address == stack.get_absolute_url():
            expect(page.locator("[data-viewer]")).to_have_attribute("data-state", "ready")
        found += complaints_of_axe(page)
    page.locator("[data-keys-open]").click()
    found += complaints_of_axe(page)
    assert found == []
