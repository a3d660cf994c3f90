"""Reports in a real browser: at three widths, light and dark, nothing is wider than the page and nothing goes wrong."""

import os
import shutil
from pathlib import Path

import pytest

from tests.commands import wmloop

pytestmark = pytest.mark.browser

#: CSS pixels: a desktop, a tablet and a phone.
SIZES = {"desktop": (1280, 900), "tablet": (820, 1180), "phone": (390, 844)}
#: What sticks out of the page to the right, but for what scrolls in a box of its own.
STICKS_OUT = """() => [...document.querySelectorAll('body *')]
    .filter(e => !e.closest('.wide, pre, svg') && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
    .map(e => e.outerHTML.slice(0, 120))"""
#: The least contrast of a paragraph's words with the page, as WCAG defines it.
CONTRAST = """() => {
    const light = text => { const [r, g, b] = text.match(/[0-9.]+/g).map(Number).map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b };
    const page = light(getComputedStyle(document.body).backgroundColor);
    return Math.min(...[...document.querySelectorAll('p, td, th, figcaption, a, svg text')].map(e => {
        const style = getComputedStyle(e), ink = light(e.closest('svg') ? style.fill : style.color);
        return (Math.max(ink, page) + 0.05) / (Math.min(ink, page) + 0.05) })) }"""


@pytest.fixture(scope="module")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install 'wmloop[browser]'")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with playwright.sync_playwright() as driver:
        if found is None and not Path(driver.chromium.executable_path).exists():
            pytest.skip("there is no Chromium: apt-get install chromium, or playwright install chromium")
        sandbox = [] if os.getuid() else ["--no-sandbox"]  # which root cannot have
        browser = driver.chromium.launch(executable_path=found, args=sandbox)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(twice, tmp_path_factory):
    """Return the report of one run, and one that compares two."""
    folder = tmp_path_factory.mktemp("pages")
    shutil.copytree(twice.runs / "tiny", folder / "other")
    shutil.copytree(twice.runs / "tiny", folder / "tiny")
    assert wmloop("eval", "tiny", "--tracks", 3, runs=folder).exit_code == 0
    for names, page in ((["tiny"], "one.html"), (["tiny", "other"], "two.html")):
        assert wmloop("report", *names, "--to", folder / page, runs=folder).exit_code == 0
    return folder


@pytest.mark.parametrize("page", ["one.html", "two.html"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_a_page_fits_and_says_nothing_on_the_console(chromium, pages, page, scheme, size):
    width, height = SIZES[size]
    context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    try:
        opened, said, asked = context.new_page(), [], []
        opened.on("console", lambda message: said.append(message.text))
        opened.on("pageerror", lambda error: said.append(str(error)))
        opened.on("request", lambda request: asked.append(request.url))
        opened.goto((pages / page).as_uri(), wait_until="load")
        for details in opened.locator("details").all():
            details.evaluate("e => e.open = true")
        assert said == []
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
        assert opened.evaluate("() => document.documentElement.scrollWidth") <= width
        assert opened.evaluate(STICKS_OUT) == []
        assert opened.evaluate("() => [...document.images].every(i => i.complete && i.naturalWidth > 0)")
        assert opened.evaluate(CONTRAST) >= 3
        if place := os.environ.get("WMLOOP_SCREENSHOTS"):
            opened.screenshot(path=Path(place) / f"{page}-{scheme}-{size}.png", full_page=True)
    finally:
        context.close()
