"""The pictures of docs/tutorial.md, from a run of `trine demo` and the commands of that page.

    trine demo && python benchmarks/tutorial_pictures.py runs/demo

It needs playwright and chromium, and the extras `train`, `gallery` and `serve`.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

OUT = Path(__file__).resolve().parents[1] / "docs/images"
WIDE, HIGH = 1080, 760


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, nargs="?", default=Path("runs/demo"))
    run = parser.parse_args().run.resolve()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDE, "height": HIGH})
        suspects = Path(folder) / "suspects.html"
        trine("audit", run, "digits", "--page", suspects, "--top", "8")
        trine("doctor", run)
        page.goto((run / "report.html").as_uri())
        saved(page.screenshot(), "report")
        page.goto(suspects.as_uri())
        saved(page.screenshot(), "suspects")
        saved((run / "picture.png").read_bytes(), "digits")
        saved((run / "doctor.png").read_bytes(), "doctor")
        saved(asked(page, run), "ask")
        browser.close()


def trine(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "trine", *map(str, arguments)], check=True, capture_output=True)


def asked(page: Page, run: Path) -> bytes:
    """Serves the run's gallery, and asks on the page who is on a picture."""
    service = subprocess.Popen(
        [sys.executable, "-m", "trine", "serve", "--gallery", str(run / "digits.db"), "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        page.goto(next(line.split()[1] for line in service.stdout or () if line.startswith("open ")))
        page.set_input_files("input[type=file]", run / "probe.png")
        page.wait_for_selector(".verdict")
        page.wait_for_load_state("networkidle")
        return page.screenshot()
    finally:
        service.terminate()
        service.wait()


def saved(picture: bytes, name: str) -> None:
    """Writes a picture as WebP, at most as wide as the page."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.thumbnail((WIDE, 4 * WIDE), Image.Resampling.LANCZOS)
    path = OUT / f"{name}.webp"
    image.save(path, "WEBP", quality=75, method=6)
    print(f"{path}: {image.size}, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
