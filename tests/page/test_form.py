"""How the page is: small, of one host, for small screens, for those who cannot see it or cannot use a mouse."""

import pytest
from axe_playwright_python.sync_playwright import Axe

import patients
from engram_api import Api

MOST_BYTES = 200_000
GRAVE = {"serious", "critical"}
NARROW = 360
# What the keyboard must come to; of radio buttons the checked one, whose group the arrows go through.
FOCUSABLE = (":is(a[href], button, input:not([type=radio]), input:checked, select, summary, [tabindex='0'])"
             ":not([tabindex='-1'], :disabled)")
# Marks what has the focus and shows it; a link that stands for its row shows it by the row.
WATCH_FOCUS = """document.addEventListener("focusin", ({ target }) => {
  const shows = target.matches(".whole") ? target.closest("tr") : target;
  target.dataset.reached = getComputedStyle(shows).outlineStyle === "none" ? "unseen" : "seen";
})"""


@pytest.fixture(scope="module")
def views(api: Api) -> dict[str, str]:
    """The address of every view that has something to show."""
    images, seg = patients.images(21), patients.segmentation(1)
    api.store(*images)
    job = api.segment(21).json()
    study = images[0].StudyInstanceUID
    return {
        "studies": "studies", "no study": "studies?PatientID=none", "study": f"studies/{study}",
        "images": f"series/{study}/{images[0].SeriesInstanceUID}",
        "segmentation": f"series/{seg.StudyInstanceUID}/{seg.SeriesInstanceUID}",
        "result": f"results/{job['id']}", "bank": "bank", "jobs": "jobs", "outgoing": "outgoing", "server": "server",
    }


def settled(page, name: str):
    """Waits until what a view shows is there."""
    if name in ("images", "segmentation", "result"):
        page.slice()
    page.page.wait_for_load_state("networkidle") if name != "jobs" else None


def test_the_first_view_is_small_and_of_this_host_alone(api, visit):
    page = visit(api.base)
    answers = []
    page.page.on("requestfinished", lambda request: answers.append(request))
    page.open()
    page.says("Test, Patient1")
    sizes = {answer.url: answer.sizes() for answer in answers}
    total = sum(size["responseBodySize"] + size["responseHeadersSize"] for size in sizes.values())
    assert len(sizes) > 10 and 10_000 < total < MOST_BYTES, sizes
    assert page.wrong == []


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_axe_finds_no_grave_fault(api, visit, views, theme):
    page = visit(api.base).open()
    if theme == "light":
        page.button("Light theme").click()
    found = []
    for name, view in views.items():
        page.open(view)
        settled(page, name)
        assert page.page.locator("html").get_attribute("data-theme") == theme
        found += faults(page, name, theme)
    page.open(views["study"])
    page.button("Auto-segment").click()
    page.page.locator("dialog").wait_for()
    found += faults(page, "auto-segment", theme)
    assert found == [] and page.wrong == []


def faults(page, name: str, theme: str) -> list[str]:
    """What axe finds; what does not hang on colours is the same in both themes."""
    answer = Axe().run(page.page, options={"runOnly": ["color-contrast"]} if theme == "light" else None).response
    assert "color-contrast" in [one["id"] for one in answer["passes"] + answer["violations"]], "axe has looked"
    grave = [one for one in answer["violations"] if one["impact"] in GRAVE]
    return [f"{name}: {one['id']}: {node['html']}" for one in grave for node in one["nodes"]]


def test_a_small_screen_needs_no_scrolling_sideways(api, visit, views):
    page = visit(api.base, width=NARROW, height=740)
    wide = []
    for name, view in views.items():
        page.open(view)
        settled(page, name)
        width = page.page.evaluate("document.documentElement.scrollWidth")
        wide += [(name, width)] if width > NARROW else []
    assert wide == [] and page.wrong == []


def test_the_keyboard_reaches_everything_and_shows_where_it_is(api, visit, views):
    page = visit(api.base)
    for name in ("studies", "study", "result", "bank"):
        page.open(views[name])
        settled(page, name)
        page.page.evaluate(WATCH_FOCUS)
        for _ in range(page.page.evaluate(f"document.querySelectorAll(`{FOCUSABLE}`).length") + 5):
            page.page.keyboard.press("Tab")
        missed = page.page.evaluate(
            f"[...document.querySelectorAll(`{FOCUSABLE}`)].filter((one) => one.checkVisibility() && "
            "one.dataset.reached !== 'seen').map((one) => one.outerHTML)")
        assert missed == [], name
    assert page.wrong == []


def test_the_theme_is_kept(api, visit):
    page = visit(api.base).open()
    page.button("Light theme").click()
    page.open("bank")
    assert page.page.locator("html").get_attribute("data-theme") == "light"
    page.button("Dark theme").click()
    assert page.page.locator("html").get_attribute("data-theme") == "dark"
