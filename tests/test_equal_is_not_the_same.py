"""Which arguments of a class share a pool: equal is not the same, and the same is shared."""

import dataclasses
import datetime
import decimal
import enum
import fractions
import pathlib
import typing
import uuid
import warnings

import pytest

import moorage
from moorage.running.pool_keys import identity_of

app = moorage.App("equal")
UTC = datetime.UTC
CET = datetime.timezone(datetime.timedelta(hours=1))


class Echo:
    def __init__(self, *args, **kwargs):
        self.given = args, kwargs

    @moorage.method()
    def shown(self):
        return repr(self.given)


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it has a constructor of its own
    Echo = app.cls()(Echo)


@dataclasses.dataclass(frozen=True)
class Plain:
    x: object
    note: str = dataclasses.field(default="", compare=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    x: object


class Named(typing.NamedTuple):
    x: object


class Number(enum.IntEnum):
    ONE = 1


class AnyCase(str):
    __slots__ = ()

    def __eq__(self, other):
        return self.lower() == other.lower()

    def __hash__(self):
        return hash(self.lower())


class Tagged(str):
    def __new__(cls, text, tag):
        made = super().__new__(cls, text)
        made.tag = tag
        return made

    def __repr__(self):
        return f"{str(self)!r} {self.tag}"


class Unpicklable:
    """Equal by a key, and refused by pickle: equality is all that is known of it."""

    def __init__(self, key):
        self.key = key

    def __eq__(self, other):
        return isinstance(other, Unpicklable) and self.key == other.key

    def __hash__(self):
        return hash(self.key)

    def __reduce_ex__(self, protocol):
        raise TypeError("no")


D = decimal.Decimal
NOON = datetime.datetime(2020, 1, 1, 12)
EQUAL = {
    "one": [1, True, 1.0, Number.ONE, 1 + 0j, fractions.Fraction(1), D("1"), D("1.0"), D("1.00")],
    "zero": [0, False, 0.0, -0.0, 0j, complex(0.0, -0.0), complex(-0.0, 0.0), D("0"), D("-0")],
    "tuples": [(1,), (True,), (1.0,), Named(1), Named(True), ((1,), 2), ((True,), 2)],
    "frozen sets": [frozenset({each}) for each in (1, True, Plain(1), Plain(True))],
    "dataclasses": [Plain(1), Plain(True), Plain(0.0), Plain(-0.0), Plain(1, "n"), Plain(Plain(1))],
    "slots": [Slotted(1), Slotted(True), Slotted((1, [2])[:1]), Slotted((True,))],
    "strings": ["a", AnyCase("a"), AnyCase("A"), Tagged("a", 1), Tagged("a", 2), b"a"],
    "ranges": [range(0, 3, 2), range(0, 4, 2)],
    "times": [NOON.replace(tzinfo=UTC), NOON.replace(hour=13, tzinfo=CET)],
    "folds": [NOON, NOON.replace(fold=1)],
}


@pytest.mark.parametrize("values", EQUAL.values(), ids=EQUAL)
def test_each_instance_has_the_arguments_that_it_was_given(values):
    with app.run():
        assert [Echo(v).shown.remote() for v in values] == [repr(((v,), {})) for v in values]
        assert [Echo(k=v).shown.remote() for v in values] == [repr(((), {"k": v})) for v in values]
        limited = Echo.with_options(max_containers=1)
        assert [limited(v).shown.remote() for v in values] == [repr(((v,), {})) for v in values]


SAME = {
    "dataclass": lambda: Plain(1, "note"),
    "nested": lambda: Plain((Slotted("a"), frozenset({1}))),
    "named tuple": lambda: Named("a"),
    "path": lambda: pathlib.Path("/a/b"),
    "uuid": lambda: uuid.UUID(int=3),
    "decimal": lambda: D("1.0"),
    "fraction": lambda: fractions.Fraction(1, 3),
    "nan": lambda: float("nan"),
    "time": lambda: datetime.datetime(2020, 1, 1, tzinfo=CET),
    "string": lambda: Tagged("a", 1),
    "enum": lambda: Number.ONE,
    "class": lambda: int,
    "range": lambda: range(3),
    "none": lambda: None,
    "unpicklable": lambda: Unpicklable(1),
}


@pytest.mark.parametrize("make", SAME.values(), ids=SAME)
def test_the_same_arguments_share_their_pool(make):
    one, other = make(), make()
    str(one), hash(one)  # a path keeps both: no part of what it is
    assert Echo(one).shown._service.key is Echo(other).shown._service.key


def test_an_object_that_is_equal_only_to_itself_shares_with_itself():
    one = object()
    assert Echo(one).shown._service.key is Echo(one).shown._service.key
    assert Echo(one).shown._service.key is not Echo(object()).shown._service.key


def test_an_unhashable_argument_has_a_pool_of_its_own():
    for value in ([1], {"a": 1}, {1}, Plain([1]), ([1],)):
        assert Echo(value).shown._service.key is not Echo(value).shown._service.key


def test_an_object_inside_itself_has_an_identity():
    class Node:
        def __init__(self):
            self.parent = self

        def __eq__(self, other):
            return isinstance(other, Node)

        def __hash__(self):
            return 1

    one = Node()
    assert identity_of(one) == identity_of(one)
    deep: object = ()
    for _ in range(50):
        deep = Plain(deep)
    assert identity_of(deep) == identity_of(deep)


def test_a_large_unhashable_value_is_not_taken_apart():
    class Array:
        __hash__ = None

        def __eq__(self, other):
            raise AssertionError("compared")

        def __reduce_ex__(self, protocol):
            raise AssertionError("taken apart")

    with pytest.raises(TypeError):
        identity_of(Array())
    hash(identity_of(Plain))
    assert Echo(Array()).shown._service.key is not None
