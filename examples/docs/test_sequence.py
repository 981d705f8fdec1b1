"""The order of steps in two threads, written down with a Sequencer."""

from moorage.testing import Sequencer

stock = {"book": 1}


def sell(steps: tuple[int, int], sequencer: Sequencer) -> bool:
    with sequencer(steps[0]):
        there = stock["book"]
    with sequencer(steps[1]):
        if there:
            stock["book"] -= 1
    return there > 0


def test_the_last_book_is_sold_twice(fake_container, virtual_clock):
    container, sequencer = fake_container(sell, max_inputs=2), Sequencer()
    first = container.submit((0, 2), sequencer)
    second = container.submit((1, 3), sequencer)
    assert first.result()
    assert second.result()
    assert stock["book"] == -1  # the bug, on every run
