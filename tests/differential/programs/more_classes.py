"""Classes: inheritance, parameters, hooks, special methods, attributes of what is made."""
# %% parameter-inherited-and-overridden
import modal
app = modal.App("a")
class Base:
    size: int = modal.parameter(default=1)
    name: str = modal.parameter()
@app.cls()
class C(Base):
    size: int = modal.parameter(default=5)
    @modal.method()
    def get(self):
        return self.size, self.name
print(C(name="n").get.local(), C(name="m", size=2).get.local())
# %% parameter-in-a-diamond
# differs: fault: inherited parameters cannot be given to a class that has none of its own
import modal
app = modal.App("a")
class A:
    x: int = modal.parameter(default=1)
class B1(A):
    y: int = modal.parameter(default=2)
class B2(A):
    x: int = modal.parameter(default=3)
@app.cls()
class C(B1, B2):
    @modal.method()
    def get(self):
        return self.x, self.y
print(C().get.local(), C(x=7, y=8).get.local())
# %% parameter-in-a-plain-mixin-with-a-value
import modal
app = modal.App("a")
class Mixin:
    x = 4
@app.cls()
class C(Mixin):
    x: int = modal.parameter(default=1)
    @modal.method()
    def get(self):
        return self.x
print(C().get.local())
# %% parameter-replaced-by-a-plain-value
import modal
app = modal.App("a")
class Base:
    x: int = modal.parameter(default=1)
@app.cls()
class C(Base):
    x = 9
    @modal.method()
    def get(self):
        return self.x
print(C().get.local())
# %% parameter-positional-arguments
import modal
app = modal.App("a")
@app.cls()
class C:
    a: int = modal.parameter()
    b: int = modal.parameter()
    @modal.method()
    def get(self):
        return self.a, self.b
print(C(1, 2).get.local())
# %% parameter-annotated-with-typing-optional
import typing
import modal
app = modal.App("a")
@app.cls()
class C:
    a: typing.Optional[int] = modal.parameter(default=None)
    @modal.method()
    def get(self):
        return self.a
# %% parameter-annotated-with-final
import typing
import modal
app = modal.App("a")
@app.cls()
class C:
    a: typing.Final[int] = modal.parameter(default=1)
    @modal.method()
    def get(self):
        return self.a
# %% parameter-annotated-with-annotated
import typing
import modal
app = modal.App("a")
@app.cls()
class C:
    a: typing.Annotated[int, "meta"] = modal.parameter(default=1)
    @modal.method()
    def get(self):
        return self.a
print(C(a=3).get.local())
# %% parameter-of-a-newtype
import typing
import modal
app = modal.App("a")
Size = typing.NewType("Size", int)
@app.cls()
class C:
    a: Size = modal.parameter(default=1)
# %% parameter-of-a-string-annotation
# differs: fault: annotations that are strings are not understood
import modal
app = modal.App("a")
@app.cls()
class C:
    a: "int" = modal.parameter(default=1)
    @modal.method()
    def get(self):
        return self.a
print(C(a=3).get.local())
# %% parameter-of-object
import modal
app = modal.App("a")
@app.cls()
class C:
    a: object = modal.parameter(default=1)
# %% parameter-of-none
# differs: fault: a bare AttributeError of a private name
import modal
app = modal.App("a")
@app.cls()
class C:
    a: None = modal.parameter(default=None)
# %% parameter-of-typing-any
import typing
import modal
app = modal.App("a")
@app.cls()
class C:
    a: typing.Any = modal.parameter(default=1)
# %% parameter-of-complex
import modal
app = modal.App("a")
@app.cls()
class C:
    a: complex = modal.parameter(default=1j)
# %% parameter-of-bytearray
import modal
app = modal.App("a")
@app.cls()
class C:
    a: bytearray = modal.parameter()
# %% parameter-of-a-class
import modal
app = modal.App("a")
class Config:
    pass
@app.cls()
class C:
    a: Config = modal.parameter()
# %% parameter-default-none-for-str
import modal
app = modal.App("a")
@app.cls()
class C:
    a: str = modal.parameter(default=None)
    @modal.method()
    def get(self):
        return self.a
print(C().get.local())
# %% parameter-positional-default-only
import modal
try:
    modal.parameter(3)
except TypeError:
    print("no")
# %% parameter-unknown-argument
import modal
try:
    modal.parameter(default=3, factory=list)
except TypeError as error:
    print("no")
# %% parameter-not-in-init-without-a-default
import modal
app = modal.App("a")
@app.cls()
class C:
    a: int = modal.parameter(init=False)
    @modal.method()
    def get(self):
        return self.a
try:
    C().get.local()
except AttributeError as error:
    print("none yet")
# %% parameter-not-in-init-of-any-type
import modal
app = modal.App("a")
@app.cls()
class C:
    model: list = modal.parameter(init=False)
    @modal.enter()
    def load(self):
        self.model = [1]
    @modal.method()
    def get(self):
        return self.model
print(C().get.local())
# %% parameter-named-like-a-method
import modal
app = modal.App("a")
@app.cls()
class C:
    local: int = modal.parameter(default=3)
    @modal.method()
    def get(self):
        return self.local
print(C(local=4).get.local())
# %% parameter-with-underscore
import modal
app = modal.App("a")
@app.cls()
class C:
    _hidden: int = modal.parameter(default=3)
    @modal.method()
    def get(self):
        return self._hidden
print(C(_hidden=4).get.local())
# %% parameter-changed-by-enter
import modal
app = modal.App("a")
@app.cls()
class C:
    n: int = modal.parameter(default=3)
    @modal.enter()
    def load(self):
        self.n += 1
    @modal.method()
    def get(self):
        return self.n
c = C(n=1)
print(c.get.local(), c.get.local(), c.n)
# %% parameter-read-from-the-handle
import modal
app = modal.App("a")
@app.cls()
class C:
    n: int = modal.parameter(default=3)
    @modal.method()
    def get(self):
        return self.n
c = C(n=1)
print(c.n, C().n)
# %% parameter-of-the-class-object
import modal
app = modal.App("a")
@app.cls()
class C:
    n: int = modal.parameter(default=3)
print(type(C).__name__)
try:
    print(type(C.n).__name__.lstrip("_"))
except AttributeError:
    print("not there")
# %% parameter-unpacked
import modal
app = modal.App("a")
@app.cls()
class C:
    a: int = modal.parameter()
    b: str = modal.parameter(default="b")
    @modal.method()
    def get(self):
        return self.a, self.b
print(C(**{"a": 1}).get.local(), C(**{"a": 1, "b": "x"}).get.local())
# %% parameter-with-dataclass
import dataclasses
import modal
app = modal.App("a")
@app.cls()
@dataclasses.dataclass
class C:
    a: int = modal.parameter(default=1)
    @modal.method()
    def get(self):
        return self.a
print(C(a=2).get.local())
# %% dataclass-without-parameters
# differs: lenient
import dataclasses
import modal
app = modal.App("a")
@app.cls()
@dataclasses.dataclass
class C:
    a: int = 1
    @modal.method()
    def get(self):
        return self.a
print(C(a=2).get.local())
# %% dataclass-field
# differs: lenient
import dataclasses
import modal
app = modal.App("a")
@app.cls()
@dataclasses.dataclass
class C:
    a: list = dataclasses.field(default_factory=list)
    @modal.method()
    def get(self):
        return self.a
print(C().get.local())
# %% post-init
import dataclasses
import modal
app = modal.App("a")
@app.cls()
class C:
    a: int = modal.parameter(default=1)
    def __post_init__(self):
        self.b = self.a + 1
    @modal.method()
    def get(self):
        return hasattr(self, "b")
print(C().get.local())
# %% namedtuple-base
import typing
import modal
app = modal.App("a")
@app.cls()
class C(typing.NamedTuple):
    a: int = 1
# %% enum-class
# differs: lenient
import enum
import modal
app = modal.App("a")
@app.cls()
class C(enum.Enum):
    A = 1
print(type(C).__name__)
# %% exception-class
# differs: lenient
import modal
app = modal.App("a")
@app.cls()
class C(ValueError):
    @modal.method()
    def get(self):
        return isinstance(self, ValueError)
print(C().get.local())
# %% dict-subclass
# differs: lenient
import modal
app = modal.App("a")
@app.cls()
class C(dict):
    @modal.method()
    def put(self, key, value):
        self[key] = value
        return dict(self)
c = C()
print(c.put.local("a", 1), c.put.local("b", 2))
# %% protocol-base
# differs: lenient
import typing
import modal
app = modal.App("a")
class Runs(typing.Protocol):
    def run(self): ...
@app.cls()
class C(Runs):
    @modal.method()
    def run(self):
        return 3
print(C().run.local())
# %% metaclass
import modal
app = modal.App("a")
class Meta(type):
    def __new__(mcs, name, bases, namespace):
        namespace["tag"] = "made by Meta"
        return super().__new__(mcs, name, bases, namespace)
@app.cls()
class C(metaclass=Meta):
    @modal.method()
    def get(self):
        return self.tag
print(C().get.local())
# %% init-subclass
import modal
app = modal.App("a")
seen = []
class Base:
    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        seen.append(cls.__name__)
@app.cls()
class C(Base):
    @modal.method()
    def get(self):
        return list(seen)
print(C().get.local())
# %% new
import modal
app = modal.App("a")
@app.cls()
class C:
    def __new__(cls, *args, **kwargs):
        made = super().__new__(cls)
        made.tag = 5
        return made
    @modal.method()
    def get(self):
        return self.tag
print(C().get.local())
# %% getattr-of-the-user
import modal
app = modal.App("a")
@app.cls()
class C:
    def __getattr__(self, name):
        if name.startswith("auto_"):
            return name[5:]
        raise AttributeError(name)
    @modal.method()
    def get(self):
        return self.auto_x
print(C().get.local(), C().auto_y)
# %% cached-property
import functools
import modal
app = modal.App("a")
made = []
@app.cls()
class C:
    @functools.cached_property
    def value(self):
        made.append(1)
        return 3
    @modal.method()
    def get(self):
        return self.value + self.value
c = C()
print(c.get.local(), c.get.local(), len(made))
# %% property-with-a-setter
import modal
app = modal.App("a")
@app.cls()
class C:
    _v = 1
    @property
    def v(self):
        return self._v
    @v.setter
    def v(self, value):
        self._v = value * 2
    @modal.method()
    def put(self, value):
        self.v = value
        return self.v
c = C()
print(c.put.local(4))
print(c.v)
# %% classmethod-as-a-constructor
import modal
app = modal.App("a")
@app.cls()
class C:
    n: int = modal.parameter(default=0)
    @classmethod
    def of(cls, n):
        return cls(n=n)
    @modal.method()
    def get(self):
        return self.n
c = C()
print(type(c.of).__name__)
# %% classmethod-on-the-registered-class
import modal
app = modal.App("a")
@app.cls()
class C:
    @classmethod
    def tag(cls):
        return cls.__name__
    @modal.method()
    def get(self):
        return self.tag()
print(C().get.local())
try:
    print(C.tag())
except AttributeError:
    print("not on the class")
# %% staticmethod-on-the-registered-class
import modal
app = modal.App("a")
@app.cls()
class C:
    @staticmethod
    def tag():
        return 4
    @modal.method()
    def get(self):
        return self.tag()
print(C().get.local())
try:
    print(C.tag())
except AttributeError:
    print("not on the class")
# %% constant-on-the-registered-class
import modal
app = modal.App("a")
@app.cls()
class C:
    LIMIT = 3
    @modal.method()
    def get(self):
        return self.LIMIT
print(C().LIMIT)
print(C.LIMIT)
# %% constant-on-the-registered-class-hasattr
import modal
app = modal.App("a")
@app.cls()
class C:
    LIMIT = 3
print(hasattr(C, "LIMIT"), hasattr(C, "nothing"), getattr(C, "nothing", 5))
# %% nested-class
import modal
app = modal.App("a")
@app.cls()
class C:
    class Inner:
        value = 3
    @modal.method()
    def get(self):
        return self.Inner.value
print(C().get.local())
# %% dunder-call
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def __call__(self, x):
        return x + 1
c = C()
print(c.__call__.local(2))
# %% dunder-len
import modal
app = modal.App("a")
@app.cls()
class C:
    def __len__(self):
        return 3
    @modal.method()
    def get(self):
        return len(self)
print(C().get.local())
try:
    print(len(C()))
except TypeError:
    print("no len")
# %% dunder-eq
import modal
app = modal.App("a")
@app.cls()
class C:
    n: int = modal.parameter(default=0)
    def __eq__(self, other):
        return True
    __hash__ = object.__hash__
print(C(n=1) == C(n=2), C() == 3)
# %% dunder-enter
import modal
app = modal.App("a")
@app.cls()
class C:
    def __enter__(self):
        return 3
    def __exit__(self, *args):
        return None
try:
    with C() as c:
        print(c)
except (TypeError, AttributeError):
    print("no")
# %% dunder-getitem
import modal
app = modal.App("a")
@app.cls()
class C:
    def __getitem__(self, key):
        return key
try:
    print(C()[3])
except TypeError:
    print("no")
# %% dunder-iter
import modal
app = modal.App("a")
@app.cls()
class C:
    def __iter__(self):
        return iter([1, 2])
try:
    print(list(C()))
except TypeError:
    print("no")
# %% dunder-str
import modal
app = modal.App("a")
@app.cls()
class C:
    def __str__(self):
        return "mine"
    @modal.method()
    def get(self):
        return str(self)
print(C().get.local())
# %% bool-of-things
import modal
app = modal.App("a")
@app.function()
def f():
    pass
@app.cls()
class C:
    pass
print(bool(app), bool(f), bool(C), bool(C()))
# %% hash-of-things
import modal
app = modal.App("a")
@app.function()
def f():
    pass
@app.cls()
class C:
    pass
print(len({app, f, C}), f == f, C == C, f in [f], f != C)
# %% enter-order-of-several
import modal
app = modal.App("a")
seen = []
class A:
    @modal.enter()
    def a(self):
        seen.append("a")
class B:
    @modal.enter()
    def b(self):
        seen.append("b")
@app.cls()
class C(A, B):
    @modal.enter()
    def z(self):
        seen.append("z")
    @modal.enter()
    def c(self):
        seen.append("c")
    @modal.method()
    def get(self):
        return seen
print(C().get.local())
# %% enter-on-an-abstract-base
import abc
import modal
app = modal.App("a")
class Base(abc.ABC):
    @modal.enter()
    def load(self):
        self.model = self.make()
    @abc.abstractmethod
    def make(self): ...
@app.cls()
class C(Base):
    def make(self):
        return "model"
    @modal.method()
    def get(self):
        return self.model
print(C().get.local())
# %% abstract-left-open
import abc
import modal
app = modal.App("a")
@app.cls()
class C(abc.ABC):
    @abc.abstractmethod
    def make(self): ...
    @modal.method()
    def get(self):
        return 1
C().get.local()
# %% abstract-marked-method
import abc
import modal
app = modal.App("a")
class Base(abc.ABC):
    @modal.method()
    @abc.abstractmethod
    def get(self): ...
@app.cls()
class C(Base):
    @modal.method()
    def get(self):
        return 1
print(C().get.local())
# %% abstractmethod-above
import abc
import modal
app = modal.App("a")
class Base(abc.ABC):
    @abc.abstractmethod
    @modal.method()
    def get(self): ...
@app.cls()
class C(Base):
    @modal.method()
    def get(self):
        return 1
print(C().get.local())
# %% generic-base
import typing
import modal
T = typing.TypeVar("T")
app = modal.App("a")
class Base(typing.Generic[T]):
    kind: type
    @modal.method()
    def get(self) -> T:
        return self.kind()
@app.cls()
class C(Base[int]):
    kind = int
print(C().get.local())
# %% generic-registered-and-subscripted
import typing
import modal
T = typing.TypeVar("T")
app = modal.App("a")
@app.cls()
class C(typing.Generic[T]):
    @modal.method()
    def get(self):
        return 1
try:
    C[int]
except TypeError as error:
    print("no")
# %% method-with-varargs
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def get(self, *args, key=1, **kwargs):
        return args, key, kwargs
print(C().get.local(1, 2, key=3, z=4))
# %% method-positional-only
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def get(self, a, /, b):
        return a, b
print(C().get.local(1, b=2))
C().get.local(a=1, b=2)
# %% method-self-named-otherwise
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def get(this, x):
        return x, type(this).__name__
print(C().get.local(3))
# %% method-keyword-self
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def get(me, self):
        return self
print(C().get.local(self=3))
# %% method-without-self
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def get():
        return 1
C().get.local()
# %% method-of-a-lambda
import modal
app = modal.App("a")
@app.cls()
class C:
    get = modal.method()(lambda self: 3)
print(C().get.local())
# %% method-alias
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def get(self):
        return 3
    alias = get
print(C().get.local(), C().alias.local())
# %% method-assigned-later
import modal
app = modal.App("a")
class Plain:
    pass
@modal.method()
def get(self):
    return 3
Plain.get = get
C = app.cls()(Plain)
print(C().get.local())
# %% method-wrapped-below
import functools
import modal
app = modal.App("a")
def twice(f):
    @functools.wraps(f)
    def inner(*args, **kwargs):
        return f(*args, **kwargs) * 2
    return inner
@app.cls()
class C:
    @modal.method()
    @twice
    def get(self, x):
        return x
print(C().get.local(4))
# %% method-wrapped-above
import functools
import modal
app = modal.App("a")
def twice(f):
    @functools.wraps(f)
    def inner(*args, **kwargs):
        return f(*args, **kwargs) * 2
    return inner
@app.cls()
class C:
    @twice
    @modal.method()
    def get(self, x):
        return x
C().get.local(4)
# %% method-partialmethod
import functools
import modal
app = modal.App("a")
@app.cls()
class C:
    def _get(self, x):
        return x
    get = functools.partialmethod(_get, 3)
    @modal.method()
    def call(self):
        return self.get()
print(C().call.local())
# %% method-recursion
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def fact(self, n):
        return 1 if n < 2 else n * self.fact.local(n - 1)
print(C().fact.local(5))
# %% method-calls-itself-directly
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def fact(self, n):
        return 1 if n < 2 else n * self.fact(n - 1)
print(C().fact.local(5))
# %% two-instances-of-one-class-share-nothing
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter()
    def load(self):
        self.seen = []
    @modal.method()
    def add(self, x):
        self.seen.append(x)
        return self.seen
a, b = C(), C()
print(a.add.local(1), b.add.local(2), a.add.local(3))
# %% enter-raises-then-again
import modal
app = modal.App("a")
tries = []
@app.cls()
class C:
    @modal.enter()
    def load(self):
        tries.append(1)
        if len(tries) == 1:
            raise RuntimeError("first")
    @modal.method()
    def get(self):
        return len(tries)
c = C()
try:
    c.get.local()
except RuntimeError as error:
    print(error)
print(c.get.local())
# %% enter-returns-a-value
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter()
    def load(self):
        return 3
    @modal.method()
    def get(self):
        return 1
print(C().get.local())
# %% enter-with-a-default
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter()
    def load(self, n=3):
        self.n = n
    @modal.method()
    def get(self):
        return self.n
print(C().get.local())
# %% one-hook-enter-and-exit-in-a-subclass
import modal
app = modal.App("a")
class Base:
    @modal.enter()
    def hook(self):
        self.n = 1
@app.cls()
class C(Base):
    @modal.exit()
    def hook(self):
        pass
    @modal.method()
    def get(self):
        return hasattr(self, "n")
print(C().get.local())
# %% method-overridden-by-a-hook
import modal
app = modal.App("a")
class Base:
    @modal.method()
    def get(self):
        return 1
@app.cls()
class C(Base):
    @modal.enter()
    def get(self):
        self.n = 1
    @modal.method()
    def other(self):
        return self.n
print(C().other.local())
# %% method-overridden-by-none
import modal
app = modal.App("a")
class Base:
    @modal.method()
    def get(self):
        return 1
@app.cls()
class C(Base):
    get = None
    @modal.method()
    def other(self):
        return self.get
print(C().other.local(), C().get)
# %% cls-from-a-plain-call
import modal
app = modal.App("a")
class Plain:
    @modal.method()
    def get(self):
        return 3
C = app.cls()(Plain)
print(Plain().get, type(C).__name__) if False else print(type(C).__name__)
print(C().get.local())
# %% two-registrations-of-one-class
import modal
app = modal.App("a")
class Plain:
    @modal.method()
    def get(self):
        return 3
A = app.cls()(Plain)
B = app.cls(min_containers=1)(Plain)
print(A().get.local(), B().get.local())
# %% registered-in-two-apps
import modal
one, two = modal.App("a"), modal.App("b")
class Plain:
    @modal.method()
    def get(self):
        return 3
A = one.cls()(Plain)
B = two.cls()(Plain)
print(A().get.local(), B().get.local())
# %% class-made-by-type
import modal
app = modal.App("a")
C = app.cls(serialized=True)(type("C", (), {"get": modal.method()(lambda self: 3)}))
print(C().get.local())
# %% class-made-by-a-factory
import modal
app = modal.App("a")
def make(n):
    class C:
        @modal.method()
        def get(self):
            return n
    C.__name__ = C.__qualname__ = f"C{n}"
    return app.cls(serialized=True)(C)
print(make(1)().get.local(), make(2)().get.local())
# %% class-with-too-long-a-name
import modal
app = modal.App("a")
C = type("C" * 70, (), {})
app.cls(serialized=True)(C)
# %% class-with-unicode-name
import modal
app = modal.App("a")
@app.cls()
class Größe:
    @modal.method()
    def get(self):
        return 1
print(Größe().get.local())
# %% method-with-unicode-name
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def größe(self):
        return 1
print(C().größe.local())
# %% function-with-unicode-name
import modal
app = modal.App("a")
@app.function()
def größe():
    return 1
print(größe.local())
# %% attributes-of-an-instance
# differs: lenient
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def get(self):
        return 1
c = C()
for name in ("get", "with_options", "update_autoscaler", "keep_warm", "object_id", "local", "hydrate", "nothing"):
    print(name, hasattr(c, name))
# %% attributes-of-a-class
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def get(self):
        return 1
for name in ("get", "with_options", "with_concurrency", "with_batching", "from_name", "hydrate", "lookup", "remote", "local", "map", "keep_warm", "update_autoscaler", "is_hydrated", "from_id", "__name__", "__qualname__", "__module__", "__wrapped__", "app", "bind"):
    print(name, hasattr(C, name))
# %% attributes-of-a-function
# differs: lenient
import modal
app = modal.App("a")
@app.function()
def f():
    return 1
for name in ("remote", "local", "map", "starmap", "for_each", "spawn", "spawn_map", "experimental_spawn_map", "remote_gen", "call", "with_options", "get_raw_f", "is_generator", "tag", "spec", "app", "stub", "web_url", "get_web_url", "shell", "lookup", "from_name", "keep_warm", "update_autoscaler", "get_current_stats", "hydrate", "is_hydrated", "object_id", "cluster_size", "name", "client", "experimental_get_flash_urls"):
    try:
        print(name, hasattr(f, name))
    except Exception as error:
        print(name, type(error).__name__)
# %% attributes-of-an-app
# differs: lenient
import modal
app = modal.App("a")
for name in ("function", "cls", "run", "deploy", "name", "description", "app_id", "is_interactive", "include", "registered_functions", "local_entrypoint", "list_objects", "spawn_sandbox", "lookup", "set_description", "image", "tags", "set_tags", "get_tags", "stop", "from_name", "server", "nothing", "indexed_objects"):
    try:
        print(name, hasattr(app, name))
    except Exception as error:
        print(name, type(error).__name__)
# %% attributes-of-a-call-class
import modal
for name in ("get", "get_gen", "iter", "cancel", "from_id", "gather", "num_inputs", "get_call_graph", "object_id", "hydrate", "from_name", "result"):
    print(name, hasattr(modal.FunctionCall, name))
# %% aio-of-a-function
# differs: lenient
import modal
app = modal.App("a")
@app.function()
def f():
    return 1
for name in ("remote", "map", "starmap", "for_each", "spawn", "spawn_map", "remote_gen", "local", "with_options", "get_web_url", "update_autoscaler", "get_current_stats", "hydrate", "keep_warm", "experimental_spawn_map", "with_concurrency"):
    found = getattr(f, name, None)
    print(name, hasattr(found, "aio"))
# %% aio-of-an-app
import modal
app = modal.App("a")
for name in ("run", "deploy", "include", "function", "cls", "stop", "set_tags", "get_tags", "lookup", "local_entrypoint"):
    print(name, hasattr(getattr(app, name, None), "aio"))
# %% aio-of-a-class
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def get(self):
        return 1
c = C()
for name in ("hydrate", "with_options", "from_name", "with_concurrency"):
    print(name, hasattr(getattr(C, name), "aio"))
for name in ("remote", "map", "spawn", "local", "remote_gen"):
    print(name, hasattr(getattr(c.get, name), "aio"))
# %% isinstance-of-things
import modal
import modal.cls
import modal.functions
app = modal.App("a")
@app.function()
def f():
    pass
@app.cls()
class C:
    @modal.method()
    def get(self):
        return 1
print(isinstance(f, modal.Function), isinstance(f, modal.functions.Function))
print(isinstance(C, modal.Cls), isinstance(C, modal.cls.Cls), isinstance(C, type), isinstance(C(), modal.cls.Obj))
print(isinstance(C().get, modal.Function), isinstance(app, modal.App), callable(C))
# %% same-classes
import modal
import modal.app
import modal.cls
import modal.functions
import modal.retries
print(modal.App is modal.app.App, modal.Cls is modal.cls.Cls, modal.Function is modal.functions.Function)
print(modal.Retries is modal.retries.Retries, modal.FunctionCall is modal.functions.FunctionCall)
# %% iterate-over-things
import modal
app = modal.App("a")
@app.function()
def f():
    yield 1
@app.cls()
class C:
    pass
for thing in (app, f, C, C()):
    try:
        iter(thing)
        print("iterable")
    except TypeError:
        print("no")
    try:
        len(thing)
        print("has a length")
    except TypeError:
        print("no")
# %% await-things
import asyncio
import modal
app = modal.App("a")
@app.function()
def f():
    return 1
async def main():
    for make in (lambda: app, lambda: f, lambda: f.local()):
        try:
            await make()
        except TypeError as error:
            print("no")
asyncio.run(main())
# %% with-things
import modal
app = modal.App("a")
@app.function()
def f():
    return 1
for thing in (app, f):
    try:
        with thing:
            print("entered")
    except (TypeError, AttributeError) as error:
        print(type(error).__name__)
# %% copy-of-things
import copy
import modal
app = modal.App("a")
@app.function()
def f():
    return 1
g = copy.copy(f)
print(g.local(), g is f)
# %% setattr-on-things
import modal
app = modal.App("a")
@app.function()
def f():
    return 1
f.extra = 3
print(f.extra)
app.extra = 4
print(app.extra)
# %% delattr-on-an-instance
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def get(self):
        self.x = 1
        del self.x
        return hasattr(self, "x")
print(C().get.local())
# %% vars-of-self
import modal
app = modal.App("a")
@app.cls()
class C:
    n: int = modal.parameter(default=1)
    @modal.enter()
    def load(self):
        self.m = 2
    @modal.method()
    def get(self):
        return sorted(k for k in vars(self) if not k.startswith("_"))
print(C().get.local())
# %% self-is-the-users-class
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def get(self):
        return type(self).__name__, type(self).__module__ == __name__, isinstance(self, object)
print(C().get.local())
# %% thread-local-state
import threading
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter()
    def load(self):
        self.thread = threading.get_ident()
    @modal.method()
    def same(self):
        return self.thread == threading.get_ident()
print(C().same.local())
# %% context-manager-in-enter
import contextlib
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter()
    def load(self):
        self.stack = contextlib.ExitStack()
        self.stack.callback(print, "closed")
    @modal.exit()
    def close(self):
        self.stack.close()
    @modal.method()
    def get(self):
        return 1
c = C()
print(c.get.local())
# %% hook-becomes-a-method
import modal
app = modal.App("a")
class Base:
    @modal.enter()
    def hook(self):
        self.n = 1
@app.cls()
class C(Base):
    @modal.method()
    def hook(self):
        return 2
    @modal.method()
    def get(self):
        return hasattr(self, "n")
print(C().get.local(), C().hook.local())
# %% hook-changes-its-time
import modal
app = modal.App("a")
seen = []
class Base:
    @modal.enter()
    def hook(self):
        seen.append("Base")
@app.cls(enable_memory_snapshot=True)
class C(Base):
    @modal.enter(snap=True)
    def hook(self):
        seen.append("C")
    @modal.method()
    def get(self):
        return seen
print(C().get.local())
# %% method-becomes-a-hook-and-is-called
import modal
app = modal.App("a")
class Base:
    @modal.method()
    def get(self):
        return 1
@app.cls()
class C(Base):
    @modal.enter()
    def get(self):
        self.n = 1
    @modal.method()
    def other(self):
        return self.n
print(C().other.local(), type(C().get).__name__)
# %% parameter-of-a-base-given-to-a-class-that-has-none
# differs: fault: inherited parameters cannot be given to a class that has none of its own
import modal
app = modal.App("a")
class Base:
    x: int = modal.parameter(default=1)
@app.cls()
class C(Base):
    @modal.method()
    def get(self):
        return self.x
print(C().get.local())
print(C(x=5).get.local())
