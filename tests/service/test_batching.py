"""Requests that arrive together are embedded as one batch; an item that is refused fails alone."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from trine.errors import InputError
from trine.service.batching import BatchingEncoder, unwrapped


class SlowEncoder:
    """Embeds numbers as themselves, takes its time, and notes its batches; it refuses 13."""

    def __init__(self, seconds=0.05):
        self.seconds, self.batches, self.strangers = seconds, [], None
        self.settings = SimpleNamespace(dimension=1)

    def embed(self, items):
        time.sleep(self.seconds)
        self.batches.append(len(items))
        if 13 in items:
            raise InputError("13 cannot be embedded")
        return np.array(items, dtype=np.float32).reshape(-1, 1)


def together(encoder, requests):
    """Asks from as many threads at once; returns the answer, or the error, of each."""
    found, barrier = {}, threading.Barrier(len(requests))

    def ask(place, items):
        barrier.wait()
        try:
            found[place] = encoder.embed(items).ravel().tolist()
        except InputError as error:
            found[place] = str(error)

    threads = [threading.Thread(target=ask, args=each) for each in enumerate(requests)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[place] for place in range(len(requests))]


def test_those_who_wait_are_embedded_together():
    sizes = []
    inner = SlowEncoder()
    encoder = BatchingEncoder(inner, observe=sizes.append)
    requests = [[float(i)] for i in range(100, 120)]
    assert together(encoder, requests) == requests
    assert sum(inner.batches) == 20
    assert len(inner.batches) <= 4, "one for whoever came first, and those who waited"
    assert sizes == inner.batches


def test_a_batch_has_a_limit():
    inner = SlowEncoder()
    encoder = BatchingEncoder(inner, most=4)
    assert together(encoder, [[float(i)] * 2 for i in range(10)]) == [[float(i)] * 2 for i in range(10)]
    assert max(inner.batches) <= 4
    assert encoder.embed([1.0] * 9).shape == (9, 1)
    assert inner.batches[-1] == 9, "a larger request goes by itself"


def test_an_item_that_is_refused_fails_alone():
    encoder = BatchingEncoder(SlowEncoder())
    requests = [[1.0], [13], [2.0], [3.0, 13], [4.0]]
    wrong = "13 cannot be embedded"
    assert together(encoder, requests) == [[1.0], wrong, [2.0], wrong, [4.0]]
    with pytest.raises(InputError):
        encoder.embed([13])
    assert encoder.embed([5.0]).tolist() == [[5.0]]


def test_everything_else_is_that_of_the_encoder():
    inner = SlowEncoder()
    encoder = BatchingEncoder(inner)
    assert encoder.settings.dimension == 1
    encoder.strangers = "somebody"  # as `Gallery.forget` sets it
    assert inner.strangers == "somebody"
    assert unwrapped(encoder) is inner
    assert unwrapped(None) is None
    assert encoder.embed(np.zeros((3, 1))).shape == (3, 1)


def test_requests_of_a_service_are_batched(tmp_path):
    from support.services import PictureEncoder, people, picture, served

    encoder = PictureEncoder()
    with served({"shop": people(tmp_path, encoder=encoder)}, tmp_path) as client:
        hosted = client.service.galleries["shop"]
        with hosted.gallery.encoder._turn:  # as if a batch were at work
            threads = [
                threading.Thread(
                    target=client.post,
                    args=("/v1/galleries/shop/identify",),
                    kwargs={"files": {"picture": picture(i)}},
                )
                for i in range(6)
            ]
            for thread in threads:
                thread.start()
            until = time.monotonic() + 10
            while len(hosted.gallery.encoder._queue) < 6:
                assert time.monotonic() < until
                time.sleep(0.01)
        for thread in threads:
            thread.join()
        assert encoder.batches == [6]
        assert 'trine_batch_items_sum{gallery="shop"} 6.0' in client.get("/metrics").text
