"""The page of a service as a picture, docs/page.webp: a photo of a product is asked about.

    python benchmarks/page_picture.py --data ../shared/data/products_grocery

It needs playwright, chromium, and the extras `serve`, `pretrained` and `gallery`. The photos are those
of the Grocery Store data set (Klasson et al. 2019, MIT licence).
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
PRODUCTS = 16
EACH = 9
ASKED = "Arla-Sour-Cream"
SIZE = {"width": 1280, "height": 800}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data/products_grocery")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/page.webp")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photos, asked = copied(given.data, Path(folder) / "groceries")
        service = subprocess.Popen(
            [sys.executable, "-m", "trine", "serve", str(photos), "--port", "0"],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            address = next(line.split()[1] for line in service.stdout if line.startswith("open "))
            given.out.write_bytes(picture(address, asked))
        finally:
            service.terminate()
            service.wait()
    print(f"{given.out}: {given.out.stat().st_size:,} bytes")


def copied(data: Path, to: Path) -> tuple[Path, Path]:
    """Copies some photos of each product; returns the folder, and a photo that is not in it."""
    for product in sorted(path for path in data.iterdir() if path.is_dir())[:PRODUCTS]:
        (to / product.name).mkdir(parents=True)
        for photo in sorted(product.glob("test*.jpg"))[:EACH]:
            shutil.copy(photo, to / product.name)
    return to, sorted((data / ASKED).glob("test*.jpg"))[EACH]


def picture(address: str, asked: Path) -> bytes:
    """Asks about a photo, and takes a picture of the page."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE)
        page.goto(address)
        page.set_input_files("input[type=file]", asked)
        page.wait_for_selector(".verdict")
        page.wait_for_load_state("networkidle")
        shot = Image.open(io.BytesIO(page.screenshot()))
        browser.close()
    buffer = io.BytesIO()
    shot.convert("RGB").save(buffer, "WEBP", quality=80, method=6)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
