"""Gradient caching: the gradient of one graph over the same chunks, in the memory of one of them."""

from __future__ import annotations

from collections import UserDict
from functools import partial
from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from trine import ContrastiveLoss, TripletLoss, cached_backward
from trine.errors import InputError


class Moody(nn.Module):
    """What goes wrong where a pass is run twice: dropout, batch norm, and buffers that the output sees."""

    def __init__(self, momentum: float | None = 0.1) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 8), nn.Linear(8, 3)
        self.norm, self.dropout = nn.BatchNorm1d(8, momentum=momentum), nn.Dropout(0.3)
        self.register_buffer("drift", torch.zeros(3))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, items: Tensor) -> Tensor:
        hidden = self.dropout(self.norm(self.first(items)).relu())
        out = self.second(hidden) + self.drift
        self.drift.lerp_(out.detach().mean(0), 0.5)  # in place, and
        self.calls = self.calls + 1  # put anew
        return out


class Tempered(nn.Module):
    """A loss with a parameter, and with something random."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.loss = TripletLoss(mining="all", distance="squared_euclidean")

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        return self.loss(embeddings * self.scale + 0.01 * torch.randn(len(embeddings), 1).double(), labels)


def plain(encoder: nn.Module, items: Tensor, labels: Tensor, loss: nn.Module, chunk: int) -> Tensor:
    """The naive twin: one graph over all chunks."""
    value = loss(torch.cat([encoder(part) for part in items.split(chunk)]), labels)
    value.backward()
    return value.detach()


def gradients(*modules: nn.Module) -> list[Tensor | None]:
    return [each.grad for module in modules for each in module.parameters()]


def both(make, run, *, seed=3):
    """What the twin and the cached step leave behind, each from the same state."""
    left = []
    for how in (plain, lambda *a: cached_backward(*a[:4], chunk=a[4])):
        torch.manual_seed(seed)
        encoder, loss = make()
        torch.manual_seed(seed + 1)
        value = run(how, encoder, loss)
        left.append((value, gradients(encoder, loss), list(encoder.buffers()), torch.rand(3)))
    return left


def assert_alike(one, other, tolerance=1e-12) -> None:
    torch.testing.assert_close(other[0], one[0], rtol=tolerance, atol=tolerance)
    for mine, theirs in zip(other[1], one[1], strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=tolerance)
    for mine, theirs in zip(other[2], one[2], strict=True):
        assert torch.equal(mine, theirs), "buffers move exactly once"
    assert torch.equal(other[3], one[3]), "the generator stands where the twin leaves it"


def batch(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, 5, generator=g).double(), torch.arange(n) % max(2, n // 3)


@given(n=st.integers(4, 30), chunk=st.integers(3, 33), momentum=st.sampled_from([0.1, None]))
def test_everything_is_as_one_graph_over_the_chunks_leaves_it(n, chunk, momentum):
    n += int(n % chunk == 1)  # batch norm refuses a chunk of one item
    items, labels = batch(n)
    make = lambda: (Moody(momentum).double(), Tempered().double())  # noqa: E731
    one, other = both(make, lambda how, encoder, loss: how(encoder, items, labels, loss, chunk))
    assert any(g is not None and bool(g.any()) for g in one[1]), "the twin has a gradient"
    assert_alike(one, other)


def test_gradients_are_added_to_those_that_are_there():
    items, labels = batch(20)

    def twice(how, encoder, loss):
        how(encoder, items, labels, loss, 6)
        return how(encoder, items.flip(0), labels, loss, 8)

    assert_alike(*both(lambda: (Moody().double(), Tempered().double()), twice))


@pytest.mark.parametrize("frozen", ["first layer", "encoder", "loss", "everything"])
def test_what_is_frozen_stays_without_a_gradient(frozen):
    items, labels = batch(12)

    def make():
        encoder, loss = Moody().double(), Tempered().double()
        for module, names in ((encoder.first, ["first layer"]), (encoder, ["encoder"]), (loss, ["loss"])):
            if frozen in (*names, "everything"):
                module.requires_grad_(False)
        return encoder, loss

    def run(how, encoder, loss):
        if frozen == "everything" and how is plain:  # the twin's backward() would raise
            return loss(torch.cat([encoder(part) for part in items.split(5)]), labels)
        return how(encoder, items, labels, loss, 5)

    assert_alike(*both(make, run))


def test_evaluation_mode_keeps_statistics_and_gives_gradients():
    items, labels = batch(12)
    run = lambda how, encoder, loss: how(encoder.eval(), items, labels, loss, 5)  # noqa: E731
    make = lambda: (nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4)).double(), ContrastiveLoss())  # noqa: E731
    one, other = both(make, run)
    assert_alike(one, other)
    assert other[2][-1] == 0


@pytest.mark.parametrize("caches", [True, False])
def test_autocast_holds_in_both_passes(caches):
    items, labels = batch(24)
    seen = []

    class Watched(Moody):
        def forward(self, items: Tensor) -> Tensor:
            out = super().forward(items)
            seen.append(self.first(items).dtype)
            return out

    def run(how, encoder, loss):
        # Where casts of weights are kept, a graph over all chunks adds their gradients in bfloat16.
        with torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=caches):
            return how(encoder, items.float(), labels, loss, 10)

    one, other = both(lambda: (Watched(), TripletLoss(mining="all")), run)
    assert set(seen) == {torch.bfloat16}
    assert len(seen) == 3 + 6
    assert all(g is not None and bool(g.any()) for g in one[1][:2])
    assert_alike(one, other, tolerance=3e-2 if caches else 1e-6)


class Halver:
    """As a gradient scaler, with a scale of 0.5."""

    def scale(self, outputs: Tensor) -> Tensor:
        return outputs * 0.5


def test_a_scaler_scales_every_gradient_and_not_the_value():
    items, labels = batch(16)
    left = []
    for scaler in (None, Halver(), torch.amp.GradScaler("cpu", init_scale=8.0)):
        torch.manual_seed(0)
        encoder, loss = Moody().double(), Tempered().double()
        value = cached_backward(encoder, items, labels, loss, chunk=6, scaler=scaler)
        left.append((value, gradients(encoder, loss)))
    for (value, found), factor in zip(left[1:], (0.5, 8.0), strict=True):
        assert torch.equal(value, left[0][0])
        assert not value.requires_grad
        for mine, theirs in zip(found, left[0][1], strict=True):
            torch.testing.assert_close(mine, factor * theirs, rtol=1e-12, atol=1e-14)


class Pair(NamedTuple):
    left: Tensor
    right: Tensor


class Twofold(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(5, 3)

    def forward(self, items) -> Tensor:
        if isinstance(items, dict):
            left, (right,) = items["left"], items["more"]
        elif isinstance(items, Pair):
            left, right = items.left, items.right
        else:
            left, right = items
        return self.map(left) - self.map(right).relu()


@pytest.mark.parametrize("kind", ["tuple", "list", "dict", "named tuple"])
def test_items_of_several_tensors_are_cut_together(kind):
    left, labels = batch(11)
    right, _ = batch(11, seed=1)
    items = {
        "tuple": (left, right),
        "list": [left, right],
        "dict": {"left": left, "more": (right,)},
        "named tuple": Pair(left, right),
    }[kind]
    torch.manual_seed(0)
    encoder, loss = Twofold().double(), TripletLoss(mining="all")
    loss(encoder(items), labels).backward()
    expected = [each.clone() for each in gradients(encoder)]
    encoder.zero_grad()
    cached_backward(encoder, items, labels, loss, chunk=4)
    for mine, theirs in zip(gradients(encoder), expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-14)


class Weighed(nn.Module):
    """Takes several inputs, as networks of texts do."""

    def __init__(self) -> None:
        super().__init__()
        self.map, self.norm = nn.Linear(5, 3), nn.BatchNorm1d(3)

    def forward(self, rows: Tensor, mask: Tensor | None = None, *, scale: float = 1.0) -> Tensor:
        out = self.norm(self.map(rows)) * scale
        return out if mask is None else out * mask[:, None]

    def pooled(self, rows: Tensor, mask: Tensor) -> dict[str, Tensor]:
        return {"pooled": self(rows, mask)}


class Tokens(UserDict):
    """A mapping that is no dict, such as a tokenizer returns."""


@pytest.mark.parametrize("way", ["tuple", "mapping", "keywords", "partial", "function", "method"])
def test_modules_of_several_inputs_and_functions(way):
    rows, labels = batch(14)
    mask = 1.0 + torch.arange(14).double() % 3

    def run(how, encoder, loss):
        if how is plain:
            parts = [encoder(r, m, scale=2.0) for r, m in zip(rows.split(4), mask.split(4), strict=True)]
            value = loss(torch.cat(parts), labels)
            value.backward()
            return value.detach()
        doubled = partial(encoder, scale=2.0)
        scaled = {"rows": rows, "mask": mask, "scale": 2.0}
        pooled = lambda some: encoder.pooled(some["rows"], some["mask"])["pooled"] * 2  # noqa: E731
        encode, items, modules = {
            "tuple": (doubled, (rows, mask), None),
            "mapping": (encoder, Tokens(scaled), None),
            "keywords": (encoder, scaled, None),
            "partial": (doubled, {"rows": rows, "mask": mask}, None),
            "function": (pooled, Tokens(rows=rows, mask=mask, names=None), encoder),
            "method": (encoder.forward, (rows, mask * 2), None),
        }[way]
        return cached_backward(encode, items, labels, loss, chunk=4, modules=modules)

    make = lambda: (Weighed().double(), TripletLoss(mining="all"))  # noqa: E731
    one, other = both(make, run)
    assert any(g is not None and bool(g.any()) for g in one[1])
    assert_alike(one, other)


def test_a_function_of_several_modules_and_a_parameter():
    rows, labels = batch(13)
    found: list[tuple[Tensor, ...]] = []

    def run(how, encoder, loss):
        temperature = nn.Parameter(torch.tensor(0.7).double())
        head = nn.BatchNorm1d(3).double()
        encode = lambda x: head(encoder(x)) * temperature  # noqa: E731
        if how is plain:
            value = plain(encode, rows, labels, loss, 5)
        else:
            used = [encoder, head, temperature, encoder]
            value = cached_backward(encode, rows, labels, loss, chunk=5, modules=used)
        found.append((temperature.grad, *(each.grad for each in head.parameters()), *head.buffers()))
        return value

    assert_alike(*both(lambda: (Moody().double(), TripletLoss(mining="all")), run))
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-14)
    assert bool(found[0][0].abs() > 0)


def test_what_a_tokenizer_returns():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    settings = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    encoder = transformers.BertModel(transformers.BertConfig(vocab_size=30, **settings)).double().eval()
    ids, mask = torch.randint(0, 30, (9, 6)), torch.ones(9, 6)
    texts = transformers.BatchEncoding({"input_ids": ids, "attention_mask": mask})
    labels, loss = torch.arange(9) // 3, TripletLoss(mining="all")
    encode = lambda some: encoder(**some).last_hidden_state[:, 0]  # noqa: E731
    loss(encode(texts), labels).backward()
    expected = encoder.embeddings.word_embeddings.weight.grad.clone()
    encoder.zero_grad()
    cached_backward(encode, texts, labels, loss, chunk=4, modules=encoder)
    assert bool(expected.any())
    found = encoder.embeddings.word_embeddings.weight.grad
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_items_that_ask_get_a_gradient_too():
    items, labels = batch(9)
    encoder = nn.Linear(5, 2).double().requires_grad_(False)
    expected, found = (items.clone().requires_grad_() for _ in range(2))
    loss = TripletLoss(mining="all")
    loss(encoder(expected), labels).backward()
    cached_backward(encoder, found, labels, loss, chunk=2)
    assert bool(expected.grad.any())
    torch.testing.assert_close(found.grad, expected.grad, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("n", "chunk", "passes"), [(0, 4, 1), (3, 4, 1), (4, 4, 1), (5, 4, 4)])
def test_a_batch_of_one_chunk_is_an_ordinary_step(n, chunk, passes):
    encoder = nn.Linear(5, 2).double()
    calls = []
    encoder.register_forward_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    value = cached_backward(encoder, *batch(n), TripletLoss(), chunk=chunk)
    assert len(calls) == passes
    assert value.shape == ()
    assert encoder.weight.grad is not None
    assert (n > 0) == bool(encoder.weight.grad.any()) or n in (3, 4, 5)


def test_no_graph_holds_more_than_a_chunk():
    """The largest number of rows whose graph is alive at once, counted by what the graph keeps."""
    alive, most = 0, 0

    class Counted(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x: Tensor) -> Tensor:
            nonlocal alive, most
            if x.requires_grad:
                alive += len(x)
                most = max(most, alive)
            ctx.rows = len(x)
            return x.clone()

        @staticmethod
        def backward(ctx, g: Tensor) -> Tensor:
            nonlocal alive
            alive -= ctx.rows
            return g

    class Watched(nn.Linear):
        def forward(self, items: Tensor) -> Tensor:
            return Counted.apply(super().forward(items))

    cached_backward(Watched(5, 2).double(), *batch(29), TripletLoss(mining="all"), chunk=6)
    assert most == 6


def bad(**changes):
    items, labels = batch(8)
    settings = {"encoder": nn.Linear(5, 2).double(), "items": items, "loss": TripletLoss(), "chunk": 3}
    settings |= changes
    return cached_backward(
        settings["encoder"], settings["items"], labels, settings["loss"], chunk=settings["chunk"]
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"chunk": 0}, r"^chunk must be at least 1, given 0$"),
        ({"encoder": nn.Flatten(0)}, r"one row for each of the 3 items of a chunk, given \(15,\); wrap it"),
        ({"items": {}}, r"^items hold no tensor; give a tensor, or a tuple"),
        ({"items": torch.tensor(1.0)}, r"^items must have one item to a row, given a tensor of no dim"),
        ({"items": ["a", "b"]}, r"^items\[0\] must be a tensor, or a tuple, .*, given str; make it one"),
        (
            {"items": {"x": torch.ones(3, 5), "y": torch.ones(4, 5)}},
            r"^items\['y'\] has 4 rows and items\['x'\] has 3; give one row for each item in all of them$",
        ),
        (
            {"loss": TripletLoss(reduction="none")},
            r"^the loss must return one number, given \(\d+,\); reduce",
        ),
    ],
)
def test_each_mistake_has_its_sentence(changes, message):
    with pytest.raises(InputError, match=message):
        bad(**changes)


def test_a_function_whose_modules_are_not_known_is_refused(as_in_production):
    with pytest.raises(InputError, match=r"^the encoder must be a torch.nn.Module, or a function .*; pass"):
        bad(encoder=lambda items: items)
    with pytest.raises(InputError, match=r"given NoneType; pass modules="):
        bad(encoder=None)
    with pytest.raises(InputError, match=r"^modules must list modules and parameters, given str$"):
        cached_backward(lambda items: items, *batch(8), TripletLoss(), chunk=3, modules=["net"])


def test_a_call_without_gradients_is_refused():
    with torch.no_grad(), pytest.raises(InputError, match=r"^cached_backward was called where gradients are"):
        bad()
