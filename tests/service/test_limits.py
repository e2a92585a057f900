"""Limits in bytes, seconds and rates, without a server."""

import asyncio

import pytest

from trine.service.errors import ApiError
from trine.service.limits import AnswerInTime, Memory, Rates, limited


def parts(*sizes, more=True, pause=0.0):
    """Receives a request of parts of these sizes, for ever if there is more."""
    left = list(sizes)
    taken = []

    async def receive():
        await asyncio.sleep(pause)
        size = left.pop(0) if left else 100
        taken.append(size)
        return {"type": "http.request", "body": b"x" * size, "more_body": more or bool(left)}

    receive.taken = taken
    return receive


async def read_all(receive):
    while (message := await receive())["more_body"]:
        pass
    return message


def reading(receive, *, headers=None, most=1000, seconds=5.0, memory=1 << 30):
    async def run():
        with Memory(memory).share() as take:
            await read_all(limited(receive, headers or {}, most=most, seconds=seconds, take=take))

    asyncio.run(run())


def test_an_endless_request_ends_at_the_limit():
    receive = parts()
    with pytest.raises(ApiError, match="larger than") as caught:
        reading(receive)
    assert caught.value.code == "too_large"
    assert sum(receive.taken) == 1100
    reading(parts(400, 600, more=False))


@pytest.mark.parametrize(
    ("length", "code"),
    [("1001", "too_large"), *((text, "invalid_request") for text in ("9" * 30, "-1", "1e3", "²"))],
)
def test_what_a_request_says_of_its_length(length, code):
    receive = parts()
    with pytest.raises(ApiError) as caught:
        reading(receive, headers={"content-length": length})
    assert (caught.value.code, receive.taken) == (code, [])


def test_a_slow_request_is_refused():
    with pytest.raises(ApiError) as caught:
        reading(parts(1, pause=0.05), seconds=0.12)
    assert caught.value.code == "too_slow"


def test_memory_is_shared_and_given_back():
    memory = Memory(1000)
    with memory.share() as first:
        first(700)
        with memory.share() as second, pytest.raises(ApiError) as caught:
            second(400)
        assert caught.value.code == "busy"
    with memory.share() as take:
        take(1000)


def test_rates_hold_in_the_long_run_and_allow_a_burst():
    now = [0.0]
    rates = Rates(10.0, 5, clock=lambda: now[0])
    taken = 0
    for _ in range(1000):
        taken += rates.wait("ann") == 0
        now[0] += 0.01
    assert 5 + 99 <= taken <= 5 + 101
    now[0] += 60
    assert [rates.wait("ann") == 0 for _ in range(6)] == [True] * 5 + [False]
    assert rates.wait("bob") == 0
    assert rates.wait("ann") == pytest.approx(0.1)


def test_without_a_rate_nobody_waits():
    rates = Rates(0, 1)
    assert {rates.wait("ann") for _ in range(1000)} == {0.0}


@pytest.mark.parametrize(("seconds", "late"), [(5.0, False), (0.02, True)])
def test_a_late_answer_is_not_sent(seconds, late):
    sent = []

    async def app(scope, receive, send):
        await asyncio.sleep(0.1)
        await send({"type": "http.response.start"})

    async def send(message):
        sent.append(message)

    async def run():
        wrapped = AnswerInTime(app, seconds=seconds)
        try:
            await wrapped({}, None, send)
        finally:
            assert wrapped.late == late
            await asyncio.sleep(0.15)
            assert wrapped.late == 0

    if late:
        with pytest.raises(ApiError, match="no answer within"):
            asyncio.run(run())
    else:
        asyncio.run(run())
    assert len(sent) == (0 if late else 1)
