"""Services to test: small galleries, and a client of the application without a network."""

import io
import threading
from contextlib import contextmanager

import numpy as np

from support.fake_encoder import FakeEncoder
from trine.gallery import Gallery
from trine.service.service import Service
from trine.service.settings import Limits, ServiceSettings

PEOPLE = [
    ("ann", "ann/1", (0.0, 1.0), {"year": 2024, "colour": "red"}),
    ("ann", "ann/2", (0.0, 1.2), {"year": 2020}),
    ("bob", "bob/1", (5.0, 0.0), {"year": 2024}),
]


class PictureEncoder(FakeEncoder):
    """Embeds a picture as the means of its first two channels, in [0, 1]; counts its batches."""

    def __init__(self, **settings):
        super().__init__(fingerprint="means of pictures", **settings)
        self.batches = []

    @property
    def settings(self):
        from types import SimpleNamespace

        return SimpleNamespace(dimension=2, kind="images", network="means", shape=(3, 8, 8))

    def embed(self, items):
        self.batches.append(len(items))
        return super().embed([item.reshape(-1, item.shape[2])[:, :2].mean(0) / 255 for item in items])


def picture(red=0, green=0, *, side=16, form="PNG"):
    """The bytes of a picture of one colour."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (red, green, 0)).save(buffer, form)
    return buffer.getvalue()


def people(folder, *, encoder=None, name="people.db"):
    """A gallery of a few vectors."""
    given = {"encoder": encoder} if encoder else {"dimension": 2, "fingerprint": "by hand", "threshold": 0.5}
    gallery = Gallery.open(folder / name, **given)
    if encoder is None:
        for identity, item, row, metadata in PEOPLE:
            gallery.enrol(identity, item, embedding=np.array(row), metadata=metadata)
    return gallery


@contextmanager
def served(galleries, folder, **settings):
    """A service and a client of it, which raises what the application fails to answer."""
    from starlette.testclient import TestClient

    from trine.service.app import create_app

    limits = settings.pop("limits", {})
    given = ServiceSettings(folder / "state", limits=Limits(**{"rate": 0, **limits}), **settings)
    service = Service(galleries, given)
    with service, TestClient(create_app(service), base_url="http://localhost") as client:
        client.service = service
        yield client


def error_of(response, status, code):
    """The message of an error of the one shape."""
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "hint"}
    assert body["error"]["code"] == code
    assert body["error"]["hint"]
    return body["error"]["message"]


@contextmanager
def running(service):
    """A service that listens on loopback in this process; yields its address."""
    from trine.service.server import bind, server_of

    listener, ready = bind("127.0.0.1", 0), threading.Event()
    server = server_of(service, ready=ready.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        assert ready.wait(30)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
