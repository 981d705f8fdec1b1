"""Retry policies: what may be written, and the pauses that follow."""

from datetime import timedelta

import pytest

from moorage import App, Retries, config
from moorage.exception import InvalidError
from moorage.retries import retry_policy


@pytest.fixture(params=[True, False], ids=["strict", "lenient"])
def strict(request, monkeypatch):
    monkeypatch.setattr(config, "strict", request.param)
    return request.param


def test_attributes_are_modals():
    policy = Retries(max_retries=3, initial_delay=0.5)
    assert policy.max_retries == 3
    assert policy.backoff_coefficient == 2.0
    assert policy.initial_delay == timedelta(seconds=0.5)
    assert policy.max_delay == timedelta(seconds=60)
    assert repr(policy) == (
        "Retries(max_retries=3, backoff_coefficient=2.0, initial_delay=0.5, max_delay=60)"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_retries": 0},
        {"max_retries": 100},
        {"max_retries": 1, "initial_delay": 0},
        {"max_retries": 1, "initial_delay": 0.5},
        {"max_retries": 1, "initial_delay": 60, "max_delay": 60, "backoff_coefficient": 10},
        {"max_retries": 1, "initial_delay": 10, "max_delay": 1},
        {"max_retries": 1, "backoff_coefficient": 1},
    ],
)
def test_accepted(arguments, strict):
    Retries(**arguments)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"max_retries": -1}, "max_retries"),
        ({"max_retries": 1, "max_delay": 0.5}, "max_delay"),
        ({"max_retries": 1, "max_delay": 61}, "max_delay"),
        ({"max_retries": 1, "initial_delay": -1}, "initial_delay"),
        ({"max_retries": 1, "initial_delay": 61}, "initial_delay"),
        ({"max_retries": 1, "backoff_coefficient": 0.5}, "backoff_coefficient"),
        ({"max_retries": 1, "backoff_coefficient": 11}, "backoff_coefficient"),
        ({"max_retries": 1, "max_delay": float("nan")}, "max_delay"),
        # The first in this order counts.
        ({"max_retries": -1, "max_delay": 61}, "max_retries"),
        ({"max_retries": 1, "max_delay": 61, "initial_delay": 61}, "max_delay"),
        ({"max_retries": 1, "initial_delay": 61, "backoff_coefficient": 11}, "initial_delay"),
    ],
)
def test_out_of_range(arguments, names, strict):
    with pytest.raises(InvalidError, match=names):
        Retries(**arguments)


@pytest.mark.parametrize("name", ["max_retries", "initial_delay", "max_delay"])
@pytest.mark.parametrize("value", ["3", None])
def test_no_number_is_a_type_error(name, value, strict):
    with pytest.raises(TypeError, match=name) as caught:
        Retries(**{"max_retries": 1, name: value})
    assert isinstance(caught.value, InvalidError) is not strict


@pytest.mark.parametrize("value", [True, 2.5])
def test_no_int_is_refused_at_once_or_when_used_in_strict_mode(value, strict):
    with pytest.raises(TypeError, match="max_retries must be an int") as caught:
        retry_policy(Retries(max_retries=value), "f")
    assert isinstance(caught.value, InvalidError) is not strict


def test_only_keywords():
    with pytest.raises(TypeError):
        Retries(3)


@pytest.mark.parametrize(
    ("policy", "delays"),
    [
        (Retries(max_retries=9), [1, 2, 4, 8]),
        (Retries(max_retries=9, initial_delay=0.25), [0.25, 0.5, 1, 2]),
        (Retries(max_retries=9, initial_delay=3, backoff_coefficient=1), [3, 3, 3, 3]),
        (Retries(max_retries=9, initial_delay=10, max_delay=15), [10, 15, 15, 15]),
        (Retries(max_retries=9, initial_delay=10, max_delay=1), [1, 1, 1, 1]),
        (Retries(max_retries=9, initial_delay=0), [0, 0, 0, 0]),
    ],
)
def test_delays(policy, delays, strict):
    floor = 1 if strict else 0
    assert [policy.delay(n) for n in range(1, 5)] == [max(floor, delay) for delay in delays]


def test_very_late_retries_have_a_delay():
    assert Retries(max_retries=9, backoff_coefficient=10).delay(10_000) == 60
    assert Retries(max_retries=9, backoff_coefficient=10, initial_delay=0).delay(10_000) == 0


def test_retries_count_from_one():
    with pytest.raises(ValueError, match="from 1, got 0"):
        Retries(max_retries=1).delay(0)


def test_an_int_is_that_many_one_second_apart():
    policy = retry_policy(3, "f")
    assert policy.max_retries == 3
    assert [policy.delay(n) for n in (1, 2, 3)] == [1, 1, 1]


def test_none_and_policies_stay():
    policy = Retries(max_retries=1)
    assert retry_policy(None, "f") is None
    assert retry_policy(policy, "f") is policy
    assert retry_policy(0, "f").max_retries == 0


@pytest.mark.parametrize("retries", ["3", 2.5, object, -1])
def test_anything_else_is_invalid(retries, strict):
    with pytest.raises(InvalidError):
        retry_policy(retries, "f")


def test_the_error_names_the_function_and_what_to_write():
    with pytest.raises(InvalidError, match=r"'f' must be .* got '3'; write retries=3"):
        retry_policy("3", "f")


def test_a_bool_is_no_number_of_retries(strict):
    with pytest.raises(TypeError) as caught:
        retry_policy(True, "f")
    assert isinstance(caught.value, InvalidError) is not strict


class Uneven(Retries):
    asked = 0

    def delay(self, attempt):
        Uneven.asked += 1
        return (0.25, 4.0, 0.5)[attempt - 1]


def test_a_subclass_is_asked_once_for_its_pauses():
    Uneven.asked = 0
    policy = retry_policy(Uneven(max_retries=3), "f")
    assert [policy.delay(attempt) for attempt in (1, 2, 3)] == [0.25, 4.0, 0.5]
    assert policy.max_retries == Uneven.asked == 3
    assert policy == retry_policy(Uneven(max_retries=3), "f")
    assert hash(policy) == hash(retry_policy(Uneven(max_retries=3), "f"))
    assert policy != Retries(max_retries=3)
    assert Retries(max_retries=3) != policy
    assert retry_policy(policy, "f") is policy  # as with_options() has it
    assert retry_policy(Uneven(max_retries=0), "f").max_retries == 0


def test_a_subclass_with_very_many_retries_is_not_asked_for_all():
    class Same(Retries):
        def delay(self, attempt):
            return 0.125

    assert retry_policy(Same(max_retries=10**9), "f").delay(10**8) == 0.125


@pytest.mark.parametrize("pause", [-1.0, float("nan"), float("inf"), "soon"])
def test_a_subclass_whose_pause_is_none(pause):
    class Wrong(Retries):
        def delay(self, attempt):
            return pause

    with pytest.raises(InvalidError, match="delay"):
        retry_policy(Wrong(max_retries=1), "f")


def test_a_subclass_that_fails_fails_where_it_is_used():
    class Fails(Retries):
        def delay(self, attempt):
            raise LookupError("of the user's")

    app = App()
    with pytest.raises(LookupError, match="of the user's"):
        app.function(retries=Fails(max_retries=1))(lambda: None)
