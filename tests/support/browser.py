"""A real browser on a real service; what the page writes to the console as an error fails the test."""

import shutil
import threading
import time
from contextlib import contextmanager

import pytest

CHROMIUM = "/usr/bin/chromium"
SIZES = {"desk": (1280, 800), "phone": (390, 800)}

# Without the Content-Security-Policy of the service these would go unnoticed.
_VIOLATIONS = "addEventListener('securitypolicyviolation', e => console.error('CSP: ' + e.violatedDirective))"


@contextmanager
def chromium():
    """Starts the browser, with a camera that shows a test picture; skips where it is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    if shutil.which(CHROMIUM) is None:
        pytest.skip(f"needs {CHROMIUM}: apt-get install chromium")
    camera = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *camera])
        yield browser
        browser.close()


@contextmanager
def opened(browser, address, *, size="desk", scheme="light", refused=()):
    """Opens a page; afterwards, the test fails for each error on it but the statuses that it expects."""
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    context.set_default_timeout(15_000)
    context.add_init_script(_VIOLATIONS)
    page = context.new_page()
    errors = []
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    yield page
    context.close()
    assert [error for error in errors if not any(str(status) in error for status in refused)] == []


def check_fits_a_phone(path):
    """A page of 390 pixels does not scroll sideways; a table on it that does says so."""
    with chromium() as browser, opened(browser, path.as_uri(), size="phone") as page:
        assert page.evaluate("document.scrollingElement.scrollWidth") <= 390
        for inner, outer, hint in page.evaluate(
            "[...document.querySelectorAll('.scroll')].map("
            "e => [e.scrollWidth, e.clientWidth, e.querySelector('.hint')?.clientHeight ?? 0])"
        ):
            assert (inner > outer) == (hint > 0)


def show_as(page, size, scheme):
    """Shows a page at another size, and light or dark."""
    width, height = SIZES[size]
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=scheme)


def until(page, condition, *given, seconds=15):
    """Waits for a condition: an expression, or a function of what is given.

    Playwright's own wait evaluates text in the page, which its Content-Security-Policy forbids. An element
    that the condition reads may be missing for a moment, while the page is drawn again.
    """
    from playwright.sync_api import Error

    def holds():
        try:
            return page.evaluate(condition, *given)
        except Error as error:
            if "properties of null" not in str(error):
                raise
            return False

    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"{condition} did not become true in {seconds} s"
        page.wait_for_timeout(30)


@contextmanager
def listening(service):
    """Serves on a free port of this machine; yields the address of the page."""
    uvicorn = pytest.importorskip("uvicorn")
    from trine.service.app import create_app
    from trine.service.server import address_of, bind

    listener = bind("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(create_app(service), log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield address_of(listener)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
