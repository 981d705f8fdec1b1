"""Classes of the program itself, which go by value, are in a container what their source says."""

import sys

import pytest

from .outside import Program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pidfds are Linux's")

# The classes are those that people write; `look` says what each is in a container.
PROGRAM = """
from __future__ import annotations

import abc, collections.abc, copy, dataclasses, decimal, enum, functools, os, sys, typing

import moorage

app = moorage.App("classes")


class Slotted:
    __slots__ = ("a", "__b", "__weakref__")

    def __init__(self):
        self.a, self.__b = 1, 2

    def b(self):
        return self.__b


class Further(Slotted):
    __slots__ = "c"


class Documented:
    __slots__ = {"x": "what x is"}


@dataclasses.dataclass(slots=True)
class Point:
    x: int
    y: int = 2


class Pair(typing.NamedTuple):
    x: int
    y: str = "a"


class Plugin:
    made = []

    def __init_subclass__(cls, *, kind, **others):
        super().__init_subclass__(**others)
        cls.kind = kind
        Plugin.made.append(cls.__name__)


class Reader(Plugin, kind="reader"):
    pass


class Tagged(type):
    by_name = {}

    def __new__(meta, name, bases, body, *, tag):
        made = super().__new__(meta, name, bases, body)
        if name in meta.by_name:
            raise TypeError(f"{name} is there already")
        meta.by_name[name] = made
        made.tag = tag
        return made

    def __init__(cls, name, bases, body, *, tag):
        super().__init__(name, bases, body)

    def __call__(cls, *args):
        made = super().__call__(*args)
        made.was_called = True
        return made


class Blog(metaclass=Tagged, tag="blog"):
    pass


class Planet(enum.Enum):
    EARTH = (5.97e24, 6.4e6)
    MARS = (6.4e23, 3.4e6)
    HOME = EARTH

    def __init__(self, mass, radius):
        self.mass, self.radius = mass, radius

    @property
    def density(self):
        return self.mass / self.radius**3


class Coded(bytes, enum.Enum):
    def __new__(cls, value, label):
        made = bytes.__new__(cls, [value])
        made._value_, made.label = value, label
        return made

    X = (1, "the unknown")


class Level(int, enum.Enum):
    LOW = 1

    @classmethod
    def _missing_(cls, value):
        return cls.LOW


class Rights(enum.Flag, boundary=enum.KEEP):
    READ = 1
    WRITE = 2


class Word(enum.StrEnum):
    HELLO = enum.auto()


@dataclasses.dataclass
class Size:
    width: int


class Paper(Size, enum.Enum):
    A4 = 210


class Price(decimal.Decimal, enum.Enum):
    LOW = "1.5"

    def twice(self):
        return 2 * self.value


class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self): ...


class Square(Shape):
    def area(self):
        return 4


class View(collections.abc.Mapping):
    def __getitem__(self, key):
        return key

    def __iter__(self):
        return iter("ab")

    def __len__(self):
        return 2


class Folder(os.PathLike):
    def __fspath__(self):
        return "/tmp"


class Outer:
    class Inner:
        def outer(self):
            return Outer


class Ring:
    pass


Ring.itself = Ring


class Count:
    n = 0


@app.function()
def look():
    further = Further()
    assert (further.a, further.b(), hasattr(further, "__dict__")) == (1, 2, False)
    assert not hasattr(Documented(), "__dict__") and not hasattr(Point(1), "__dict__")
    assert copy.deepcopy(Point(1)) == Point(1) and Pair(1)._replace(x=2) == (2, "a")
    assert Reader.kind == "reader" and Plugin.made == ["Reader"]
    assert Blog.tag == "blog" and Blog().was_called and Tagged.by_name == {"Blog": Blog}
    assert Planet.EARTH.density > Planet.MARS.density and Planet["HOME"] is Planet.EARTH
    assert list(Planet.__members__) == ["EARTH", "MARS", "HOME"] and len(Planet) == 2
    assert Planet((6.4e23, 3.4e6)) is Planet.MARS
    assert Coded.X.label == "the unknown" and Coded.X == b"\\x01" and Coded(1) is Coded.X
    assert Level(9) is Level.LOW and Rights(3) == Rights.READ | Rights.WRITE
    assert Rights.READ in Rights(3) and Rights(3).name == "READ|WRITE"
    assert Word.HELLO == "hello" and Paper.A4.width == 210
    assert Price.LOW.twice() == decimal.Decimal("3.0")
    assert issubclass(Square, Shape) and Square().area() == 4
    try:
        Shape()
    except TypeError as error:
        assert "area" in str(error)
    else:
        raise AssertionError
    assert isinstance(View(), collections.abc.Mapping) and dict(View()) == {"a": "a", "b": "b"}
    assert isinstance(Folder(), os.PathLike) and os.fspath(Folder()) == "/tmp"
    assert Outer.Inner().outer() is Outer and Outer.Inner.__qualname__ == "Outer.Inner"
    assert Ring.itself is Ring


@app.function()
def give(value):
    return value


@app.function()
def count(value):
    Count.n += 1
    return Count.n, value


if __name__ == "__main__":
    with app.run(placement="process"):
        look.remote()
        further = give.remote(Further())
        assert (further.a, further.b()) == (1, 2)
        for member in (Planet.HOME, Coded.X, Level.LOW, Rights.WRITE, Word.HELLO, Paper.A4):
            assert give.remote(member) is member
        for kind in (Reader, Blog, Planet, Square, View, Outer.Inner, Point, Pair):
            assert give.remote(kind) is kind
        assert give.remote([Point(1), Pair(1)]) == [Point(1), Pair(1)]
        assert type(give.remote(Blog())) is Blog and Tagged.by_name == {"Blog": Blog}
        # The variables of a class are those of one process: objects that cross change none.
        Count.n = 5
        assert [count.remote(Count())[0] for _ in range(3)] == [6, 7, 8]
        assert Count.n == 5
"""


def test_classes_of_the_program_are_what_their_source_says(tmp_path):
    with Program(tmp_path, PROGRAM) as program:
        code, out, err = program.end()
    assert (code, out) == (0, ""), err
