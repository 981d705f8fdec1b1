"""The embedder, with its own small model, and with one whose every batch takes a second."""

import json
import time
from textwrap import dedent

import embeddings
import modal
import pytest
from embeddings import Embedder, app, similarity

from moorage.testing import FakeContainer, FakeStatistics, Probe, Sequencer

# The embedder's wait_ms, in seconds.
WAIT = 0.05


class SlowModel:
    """In the place of `Model`: a second for a batch, two for loading.  Notes what it got."""

    loads: int
    batches: list[list[str]]
    refuses: tuple[str, ...] = ()

    def __init__(self, name):
        type(self).loads += 1
        time.sleep(2)
        if name in self.refuses:
            raise MemoryError("CUDA out of memory")

    def encode(self, texts):
        self.batches.append(texts)
        time.sleep(1)
        return [[float(len(text))] for text in texts]


@pytest.fixture(autouse=True)
def bill(monkeypatch, tmp_path):
    """What was billed until now."""
    monkeypatch.setattr(embeddings, "BILL", tmp_path / "bill.jsonl")

    def lines():
        file = embeddings.BILL
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    return lines


@pytest.fixture
def model(monkeypatch):
    fresh = type("Model", (SlowModel,), {"loads": 0, "batches": []})
    monkeypatch.setattr(embeddings, "Model", fresh)
    return fresh


# -- what comes out ------------------------------------------------------------------------


def test_like_texts_are_near(run_app):
    run_app(app)
    tea, coffee, net = Embedder().embed.map(["a cup of tea", "a cup of coffee", "mend the net"])
    assert similarity(tea, tea) == pytest.approx(1)
    assert similarity(tea, coffee) > similarity(tea, net)


def test_each_caller_gets_its_own_vector_whatever_batch_it_was_in(run_app):
    run_app(app)
    texts = [f"text number {n}" for n in range(50)]
    alone = embeddings.Model("large")
    assert list(Embedder(model_name="large").embed.map(texts)) == alone.encode(texts)


def test_vectors_can_be_sent(run_app):
    run_app(app, serialize=True)
    assert len(Embedder().embed.remote("tea")) == 64


def test_the_command_line(run_app, capsys):
    run_app(app)
    embeddings.main("a warm drink")
    assert capsys.readouterr().out.splitlines() == [
        "0.52  a warm cup of tea",
        "0.52  a drink of cold water",
        "0.26  how to mend a net",
    ]


# -- batches --------------------------------------------------------------------------------


def test_one_text_waits_for_company_and_then_goes_alone(model, clock, fake_container):
    embedder = fake_container(Embedder())
    start = clock.now()
    assert embedder.call("tea") == [3.0]
    assert clock.now() - start == pytest.approx(WAIT + 1)


def test_a_full_batch_goes_at_once(model, clock, fake_container):
    embedder = fake_container(Embedder())
    start = clock.now()
    assert list(embedder.map(["a", "bb", "ccc", "dddd"])) == [[1.0], [2.0], [3.0], [4.0]]
    assert clock.now() - start == 1
    assert model.batches == [["a", "bb", "ccc", "dddd"]]


@pytest.mark.parametrize(("after", "sizes"), [(WAIT - 0.01, [2]), (WAIT + 0.01, [1, 1])])
def test_who_comes_within_the_wait_is_in_the_batch(after, sizes, model, clock, fake_container):
    embedder = fake_container(Embedder())
    first = embedder.submit("first")
    clock.sleep(after)
    second = embedder.submit("second")
    first.result(), second.result()
    assert [len(batch) for batch in model.batches] == sizes


def test_two_batches_at_once_and_never_three(model, clock, fake_container):
    embedder = fake_container(Embedder())
    both = [embedder.submit(str(n)) for n in range(20)]
    embedder.wait_running(8)
    assert embedder.statistics() == FakeStatistics(running=8, queued=12, peak=2, limit=2)
    assert [each.result() for each in both]
    assert clock.now() == 2 + 3  # 5 batches, two by two
    assert [len(batch) for batch in model.batches] == [4] * 5


def test_a_bad_text_fails_its_batch_and_no_other(model, fake_container):
    embedder = fake_container(Embedder())
    calls = [embedder.submit(text) for text in ("a", "b", "c", None, "e", "f", "g", "h")]
    errors = [type(call.exception()) for call in calls]
    assert errors == [TypeError] * 4 + [type(None)] * 4


def test_one_of_a_batch_is_cancelled_and_the_others_are_served(model, fake_container):
    embedder = fake_container(Embedder())
    with embedder.hold("start") as gate:
        calls = [embedder.submit(text) for text in "abcd"]
        gate.wait_held()
        calls[1].cancel()
        assert calls[1].cancelled()
    assert [calls[n].result() for n in (0, 2, 3)] == [[1.0]] * 3


async def test_callers_that_are_tasks(model, clock, fake_container):
    embedder = fake_container(Embedder())
    calls = [embedder.submit("x" * n) for n in range(6)]
    await embedder.wait_running.aio(6)
    assert [await call for call in calls] == [[float(n)] for n in range(6)]


# -- races ----------------------------------------------------------------------------------


def test_a_batch_may_overtake_another_and_the_bill_is_right(model, bill):
    """The second batch ends while the first still encodes; both count their words."""
    order = Sequencer()
    encode = model.encode

    def in_turn(self, texts):
        with order(1 if "first" in texts else 0):
            return encode(self, texts)

    model.encode = in_turn
    with FakeContainer(Embedder()) as embedder:
        first = [embedder.submit(text) for text in ("first", "a", "b", "c")]
        second = [embedder.submit(text) for text in ("second", "d", "e", "f")]
        assert [call.result() for call in second] == [[6.0], [1.0], [1.0], [1.0]]
        assert not first[0].done()
        assert [call.result() for call in first] == [[5.0], [1.0], [1.0], [1.0]]
    assert bill() == [{"model": "small", "words": 8, "batches": 2}]


def test_a_container_that_is_told_to_do_less_forms_one_batch_at_a_time(model, fake_container):
    embedder = fake_container(Embedder())
    embedder.set_limit(1)
    assert len(list(embedder.map("abcdefgh"))) == 8
    assert embedder.statistics() == FakeStatistics(finished=8, peak=1, limit=1)


# -- containers -----------------------------------------------------------------------------


def test_the_model_is_loaded_once_however_many_ask_at_once(model, run_app):
    run_app(app)
    assert len(list(Embedder().embed.map("abcdefgh"))) == 8
    assert model.loads == 1


def test_a_second_container_comes_with_the_work_and_goes_without_and_a_third_never_comes(
    model, clock, run_app, bill
):
    probe = Probe()
    run_app(app, probe=probe)
    embed = Embedder().embed
    list(embed.map(map(str, range(64))))  # 16 batches: 2 beside each other in 2 containers
    assert (clock.now(), model.loads, embed.statistics().peak_containers) == (2 + 4, 2, 2)
    clock.sleep(119)
    assert len(embed.statistics().containers) == 2
    clock.sleep(2)
    assert embed.statistics().containers == ()
    assert [line["batches"] for line in bill()] == [8, 8]
    assert f"\n{probe.events.of('starting', 'ready', 'draining')}\n" == dedent("""
          0 s  Embedder(model_name='small')-1  starting
          0 s  Embedder(model_name='small')-2  starting
          2 s  Embedder(model_name='small')-1  ready
          2 s  Embedder(model_name='small')-2  ready
        126 s  Embedder(model_name='small')-2  draining
        126 s  Embedder(model_name='small')-1  draining
    """)


def test_each_model_has_containers_of_its_own(model, run_app):
    run_app(app)
    small, large = Embedder(), Embedder(model_name="large")
    calls = [small.embed.spawn("a"), large.embed.spawn("b"), small.embed.spawn("c")]
    modal.FunctionCall.gather(*calls)
    assert sorted(model.batches) == [["a", "c"], ["b"]]  # both in one instant


def test_a_model_that_does_not_load_fails_who_waits_for_it(model, clock, run_app, bill):
    model.refuses = ("large",)
    run_app(app)
    large = Embedder(model_name="large")
    calls = [large.embed.spawn(text) for text in "ab"]
    for call in calls:
        with pytest.raises(MemoryError, match="out of memory"):
            call.get()
    assert clock.now() == 2
    assert Embedder(model_name="small").embed.remote("tea") == [3.0]
    model.refuses = ()
    assert large.embed.remote("tea") == [3.0]  # when it loads again, all is well
    assert bill() == []


def test_a_model_that_there_is_not(run_app):
    run_app(app)
    with pytest.raises(FileNotFoundError, match="no weights for 'huge'"):
        Embedder(model_name="huge").embed.remote("tea")


def test_the_bill_is_written_when_the_app_is_left_in_the_midst_of_a_batch(model, clock, bill):
    with app.run():
        Embedder().embed.remote("two words")
        call = Embedder().embed.spawn("never answered")
        clock.sleep(0.5)
    assert bill() == [{"model": "small", "words": 2, "batches": 1}]
    with pytest.raises(modal.exception.RemoteError):
        call.get()
