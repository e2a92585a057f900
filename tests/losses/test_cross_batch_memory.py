"""Cross-batch memory: a ring against a deque, and the loss over batch and memory in plain loops."""

from collections import deque

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from support.multiprocess import run_processes
from support.reference import distance
from trine import ContrastiveLoss, CrossBatchMemory, TripletLoss, contrastive_loss, triplet_loss
from trine.engine.relations import Relations
from trine.errors import InputError
from trine.losses import Memory


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def stream(sizes, *, items=12, width=3, seed=0):
    """Batches in which items of four identities come again and again, embedded anew each time."""
    g = generator(seed)
    for size in sizes:
        ids = torch.randperm(items, generator=g)[:size]
        yield torch.randn(len(ids), width, dtype=torch.float64, generator=g), ids % 4 - 3, ids


@given(st.integers(1, 7), st.lists(st.integers(0, 10), max_size=6))
def test_the_ring_holds_what_a_deque_does(size, sizes):
    memory, twin = Memory(size, dimension=3).double(), deque(maxlen=size)
    for rows, labels, ids in stream(sizes):
        memory.enqueue(rows, labels, ids)
        twin.extend(zip(rows.tolist(), labels.tolist(), ids.tolist(), strict=True))
        held, seen = len(memory), int(memory.seen)
        slots = [(seen - held + age) % size for age in range(held)]
        oldest_first = [
            (memory.rows[at].tolist(), memory.labels[at].item(), memory.ids[at].item()) for at in slots
        ]
        assert oldest_first == list(twin)
        joined = memory.joined(rows, labels, ids)
        assert len(joined[0]) == len(rows) + len(twin)
        assert joined[2].tolist() == [*ids.tolist(), *memory.ids[:held].tolist()]


def looped(batch, past, margin):
    """Σ ℓ over all triplets of a batch against itself and the past, and how many are active."""
    rows, labels, ids = batch
    columns = [*zip(rows.tolist(), labels.tolist(), ids.tolist(), strict=True), *past]
    total, active, stale = 0.0, 0, 0
    for a, label, item in zip(rows.tolist(), labels.tolist(), ids.tolist(), strict=True):
        others = [(y, yl) for y, yl, yi in columns if yi != item]
        stale += sum(yi == item for _, _, yi in past)
        for p in (y for y, yl in others if yl == label):
            for n in (y for y, yl in others if yl != label):
                gap = distance(a, p, "euclidean") - distance(a, n, "euclidean") + margin
                total, active = total + max(gap, 0), active + (gap > 0)
    return total, active, stale


@pytest.mark.parametrize("size", [3, 8, 100])
def test_the_loss_is_that_of_plain_loops_over_batch_and_memory(size):
    criterion = CrossBatchMemory(TripletLoss(margin=0.3, mining="all"), size=size, dimension=3).double()
    past, stale = deque(maxlen=size), 0
    for rows, labels, ids in stream([6, 6, 5, 7, 6]):
        total, active, copies = looped((rows, labels, ids), past, 0.3)
        stale += copies
        assert active > 5
        loss = criterion(rows, labels, ids)
        torch.testing.assert_close(loss, torch.tensor(total / active, dtype=torch.float64))
        past.extend(zip(rows.tolist(), labels.tolist(), ids.tolist(), strict=True))
    assert stale > 0, "items have come again while the memory still held them"


def test_the_gradient_goes_to_the_batch_on_both_sides_and_not_to_the_past():
    first, second = list(stream([6, 6]))
    criterion = CrossBatchMemory(TripletLoss(margin=0.3, mining="all"), size=9, dimension=3).double()
    past = first[0].clone().requires_grad_()
    criterion(past, *first[1:]).backward()
    past.grad = None
    rows = second[0].clone().requires_grad_()
    criterion(rows, *second[1:]).backward()
    assert past.grad is None

    twin = second[0].clone().requires_grad_()
    columns, labels = torch.cat([twin, first[0]]), torch.cat([second[1], first[1]])
    ids = torch.cat([second[2], first[2]])
    d = (twin[:, None] - columns[None]).square().sum(2).clamp(min=1e-30).sqrt()
    apart = second[2][:, None] != ids[None]
    same = (second[1][:, None] == labels[None]) & apart
    other = (second[1][:, None] != labels[None]) & apart
    gaps = (d[:, :, None] - d[:, None, :] + 0.3)[same[:, :, None] & other[:, None, :]]
    (gaps.clamp(min=0).sum() / (gaps > 0).sum()).backward()
    torch.testing.assert_close(rows.grad, twin.grad)


def test_an_item_never_meets_its_own_past():
    criterion = CrossBatchMemory(TripletLoss(mining="hard"), size=8, dimension=1)
    labels, ids = torch.tensor([0, 1]), torch.tensor([4, 5])
    criterion(torch.tensor([[0.0], [1.0]]), labels, ids)
    # Each is alone in its identity but for its own past, so there is no triplet.
    again = torch.tensor([[3.0], [3.0]], requires_grad=True)
    loss = criterion(again, labels, ids)
    loss.backward()
    assert loss.item() == 0
    assert again.grad.abs().sum() == 0
    assert criterion(again, labels, torch.tensor([6, 7])).item() > 0, "other items do meet them"


def test_before_the_warmup_it_is_the_plain_loss_and_keeps_nothing():
    plain = TripletLoss(margin=0.3, mining="semihard")
    criterion = CrossBatchMemory(plain, size=20, dimension=3, warmup=2).double()
    differs = []
    for call, (rows, labels, ids) in enumerate(stream([6] * 5)):
        expected = triplet_loss(rows, labels, margin=0.3, mining="semihard", item_ids=ids)
        loss = criterion(rows, labels, ids)
        assert len(criterion.memory) == max(0, 6 * (call - 1))
        differs.append(bool(loss != expected))
    assert differs == [False, False, False, True, True]


def test_evaluation_looks_at_the_batch_alone():
    criterion = CrossBatchMemory(TripletLoss(mining="hard"), size=20, dimension=3).double()
    (one, two, three) = list(stream([6] * 3))
    criterion(*one)
    before = {name: value.clone() for name, value in criterion.state_dict().items()}
    criterion.eval()
    assert criterion(*two) == triplet_loss(two[0], two[1], mining="hard", item_ids=two[2])
    assert all(torch.equal(value, before[name]) for name, value in criterion.state_dict().items())
    criterion.train()
    assert criterion(*three) != triplet_loss(three[0], three[1], mining="hard", item_ids=three[2])


@pytest.mark.parametrize("rule", ["semihard", "random"])
def test_a_loaded_state_goes_on_as_if_nothing_had_happened(rule):
    def made():
        return CrossBatchMemory(TripletLoss(mining=rule, seed=3), size=13, dimension=3, warmup=1)

    whole, batches = made(), [(rows.float(), *rest) for rows, *rest in stream([6, 4, 6, 5, 6, 6])]
    expected = [whole(*batch).item() for batch in batches]
    for stop in range(len(batches)):
        first, second = made(), made()
        for batch in batches[:stop]:
            first(*batch)
        second.load_state_dict(first.state_dict())
        assert [second(*batch).item() for batch in batches[stop:]] == expected[stop:]
    assert len(set(expected)) == len(expected)


def test_half_precision_rows_are_remembered_as_they_are():
    criterion = CrossBatchMemory(TripletLoss(margin=0.3, mining="hard"), size=9, dimension=3)
    one, two = [(rows.half(), *rest) for rows, *rest in stream([6, 6])]
    criterion(*one)
    rows = two[0].clone().requires_grad_()
    loss = criterion(rows, *two[1:])
    loss.backward()
    assert criterion.memory.rows.dtype == loss.dtype == torch.float32
    assert rows.grad.dtype == torch.float16
    wide = CrossBatchMemory(TripletLoss(margin=0.3, mining="hard"), size=9, dimension=3)
    for batch in (one, two):
        expected = wide(batch[0].float(), *batch[1:])
    assert loss == expected


def test_it_moves_with_the_module():
    criterion = CrossBatchMemory(TripletLoss(), size=9, dimension=3)
    criterion(*next(stream([6])))
    moved = criterion.to("meta")
    assert {str(value.device) for value in moved.state_dict().values()} == {"meta"}
    assert criterion.double().memory.rows.dtype == torch.float64


@pytest.mark.parametrize("rule", ["all", "hard", "random"])
def test_processes_that_share_a_batch_remember_the_same(rule):
    """Each of two has its own anchors and the rows of both; together they are one process."""

    def made():
        loss = TripletLoss(margin=0.3, mining=rule, reduction="sum")
        return CrossBatchMemory(loss, size=11, dimension=3, warmup=1).double()

    alone, ranks = made(), [made(), made()]
    for rows, labels, ids in stream([7, 6, 5, 7]):
        x, expected = rows.clone().requires_grad_(), alone
        value = expected(x, labels, ids)
        value.backward()
        sums, gradients = 0, torch.zeros_like(rows)
        for rank, criterion in enumerate(ranks):
            y = rows.clone().requires_grad_()
            mine = torch.arange(rank, len(rows), 2)
            part = criterion(
                y[mine], labels[mine], ids[mine],
                references=y, reference_labels=labels, reference_ids=ids,
            )  # fmt: skip
            part.backward()
            sums, gradients = sums + part.detach(), gradients + y.grad
        torch.testing.assert_close(sums, value.detach())
        torch.testing.assert_close(gradients, x.grad)
        for criterion in ranks:
            for name, kept in alone.memory.state_dict().items():
                assert torch.equal(criterion.memory.state_dict()[name], kept), name


@pytest.mark.slow
def test_real_processes_remember_what_one_would():
    for found in run_processes(3, "support.multiprocess_memory:everything"):
        assert len(found["memories"]) == 16
        for kind, tolerance in (("memories", 1e-10), ("steps", 1e-5)):
            for case in found[kind]:
                assert case["norm"] > 1e-3
                assert max(case["value"], case["gradient"]) < tolerance, case
                assert case["same"]
            assert found[kind][-1]["held"] == 16


def test_the_contrastive_loss_remembers_too():
    criterion = CrossBatchMemory(ContrastiveLoss(reduction="sum"), size=20, dimension=3).double()
    one, two = list(stream([6, 5]))
    criterion(*one)
    columns = [torch.cat(both) for both in zip(two, one, strict=True)]
    expected = contrastive_loss(
        two[0], two[1], reduction="sum", item_ids=two[2],
        references=columns[0], reference_labels=columns[1], reference_ids=columns[2],
    )  # fmt: skip
    assert criterion(*two) == expected


def test_rows_that_are_not_finite_do_not_enter():
    memory = Memory(3, dimension=2)
    rows = torch.tensor([[1.0, 2.0], [float("nan"), 0.0], [3.0, float("inf")], [4.0, 5.0]])
    memory.enqueue(rows, torch.tensor([0, 1, 2, 3]), torch.tensor([0, 1, 2, 3]))
    assert len(memory) == 2
    assert memory.ids[:2].tolist() == [0, 3]
    assert memory.rows.isfinite().all()


@pytest.mark.usefixtures("as_in_production")
def test_mistakes_are_named():
    batch = next(stream([6]))
    for arguments, message in (
        ({"size": 0, "dimension": 2}, "size of a memory must be at least 1, given 0"),
        ({"size": 2, "dimension": 0}, "dimension of a memory must be at least 1, given 0"),
        ({"size": 2, "dimension": 2, "warmup": -1}, "warmup must be at least 0, given -1"),
    ):
        with pytest.raises(InputError, match=message):
            CrossBatchMemory(TripletLoss(), **arguments)
    criterion = CrossBatchMemory(TripletLoss(), size=4, dimension=2)
    with pytest.raises(InputError, match="a memory needs item_ids, or a repeated item"):
        criterion(*batch[:2])
    with pytest.raises(InputError, match="a memory needs item_ids, or a repeated item"):
        criterion(*batch, references=batch[0], reference_labels=batch[1])
    with pytest.raises(InputError, match="LabelRelations name none: give labels"):
        criterion(batch[0], Relations.from_labels(batch[1]), batch[2])
    with pytest.raises(InputError, match="holds embeddings of 2 columns, given 3: set dimension="):
        criterion(*batch)
    with pytest.raises(InputError, match="item_ids must have one entry for each of the 6 rows, given 5"):
        criterion(batch[0], batch[1], batch[2][:5])
