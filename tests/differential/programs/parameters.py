"""modal.parameter: types, defaults, and where values are refused."""
# %% given
import modal
app = modal.App("a")
@app.cls()
class C:
    k: int = modal.parameter()
    @modal.method()
    def f(self):
        return self.k
print(C(k=3).f.local())
# %% default
import modal
app = modal.App("a")
@app.cls()
class C:
    k: int = modal.parameter(default=5)
    @modal.method()
    def f(self):
        return self.k
print(C().f.local(), C(k=6).f.local())
# %% attribute
import modal
app = modal.App("a")
@app.cls()
class C:
    k: int = modal.parameter()
    @modal.method()
    def f(self):
        return self.k
print(C(k=3).k)
# %% missing
# differs: lenient
import modal
app = modal.App("a")
@app.cls()
class C:
    k: int = modal.parameter()
    @modal.method()
    def f(self):
        return self.k
c = C()
print("made")
print(c.f.local())
# %% positional
import modal
app = modal.App("a")
@app.cls()
class C:
    k: int = modal.parameter()
    @modal.method()
    def f(self):
        return self.k
c = C(3)
print("made")
print(c.f.local())
# %% unknown
# differs: lenient
import modal
app = modal.App("a")
@app.cls()
class C:
    k: int = modal.parameter()
    @modal.method()
    def f(self):
        return self.k
c = C(k=3, other=4)
print("made")
print(c.f.local())
# %% no-annotation
import modal
app = modal.App("a")
@app.cls()
class C:
    k = modal.parameter()
    @modal.method()
    def f(self):
        return self.k
# %% str
import modal
app = modal.App("a")
@app.cls()
class C:
    k: str = modal.parameter(default="x")
    @modal.method()
    def f(self):
        return self.k
print(C().f.local(), C(k="y").f.local())
# %% bool
import modal
app = modal.App("a")
@app.cls()
class C:
    k: bool = modal.parameter(default=False)
    @modal.method()
    def f(self):
        return self.k
print(C().f.local(), C(k=True).f.local())
# %% bytes
import modal
app = modal.App("a")
@app.cls()
class C:
    k: bytes = modal.parameter(default=b"x")
    @modal.method()
    def f(self):
        return self.k
print(C().f.local(), C(k=b"y").f.local())
# %% float
import modal
app = modal.App("a")
@app.cls()
class C:
    k: float = modal.parameter(default=1.0)
    @modal.method()
    def f(self):
        return self.k
print(C().f.local())
# %% list
import modal
app = modal.App("a")
@app.cls()
class C:
    k: list[int] = modal.parameter()
    @modal.method()
    def f(self):
        return self.k
print(C(k=[1]).f.local())
# %% dict
import modal
app = modal.App("a")
@app.cls()
class C:
    k: dict = modal.parameter()
    @modal.method()
    def f(self):
        return self.k
print(C(k={}).f.local())
# %% optional
# differs: fault: a union type is a bare AttributeError
import modal
app = modal.App("a")
@app.cls()
class C:
    k: int | None = modal.parameter(default=None)
    @modal.method()
    def f(self):
        return self.k
print(C().f.local())
# %% literal
from typing import Literal
import modal
app = modal.App("a")
@app.cls()
class C:
    k: Literal["a", "b"] = modal.parameter(default="a")
    @modal.method()
    def f(self):
        return self.k
print(C().f.local())
# %% enum
import enum
import modal
app = modal.App("a")
class E(enum.Enum):
    A = 1
@app.cls()
class C:
    k: E = modal.parameter(default=E.A)
    @modal.method()
    def f(self):
        return self.k
print(C().f.local())
# %% any
from typing import Any
import modal
app = modal.App("a")
@app.cls()
class C:
    k: Any = modal.parameter(default=1)
    @modal.method()
    def f(self):
        return self.k
print(C().f.local())
# %% str-for-int
# differs: lenient
import modal
app = modal.App("a")
@app.cls()
class C:
    k: int = modal.parameter()
    @modal.method()
    def f(self):
        return self.k
c = C(k="3")
print("made")
print(repr(c.f.local()))
# %% bool-for-int
# differs: lenient
import modal
app = modal.App("a")
@app.cls()
class C:
    k: int = modal.parameter()
    @modal.method()
    def f(self):
        return self.k
c = C(k=True)
print("made")
print(repr(c.f.local()))
# %% int-for-str
# differs: lenient
import modal
app = modal.App("a")
@app.cls()
class C:
    k: str = modal.parameter()
    @modal.method()
    def f(self):
        return self.k
c = C(k=3)
print("made")
print(repr(c.f.local()))
# %% int-for-bool
# differs: lenient
import modal
app = modal.App("a")
@app.cls()
class C:
    k: bool = modal.parameter()
    @modal.method()
    def f(self):
        return self.k
c = C(k=1)
print("made")
print(repr(c.f.local()))
# %% float-for-int
# differs: lenient
import modal
app = modal.App("a")
@app.cls()
class C:
    k: int = modal.parameter()
    @modal.method()
    def f(self):
        return self.k
c = C(k=3.0)
print("made")
print(repr(c.f.local()))
# %% none-for-int
# differs: lenient
import modal
app = modal.App("a")
@app.cls()
class C:
    k: int = modal.parameter()
    @modal.method()
    def f(self):
        return self.k
c = C(k=None)
print("made")
print(repr(c.f.local()))
# %% default-of-another-type
# differs: lenient
import modal
app = modal.App("a")
@app.cls()
class C:
    k: int = modal.parameter(default="x")
    @modal.method()
    def f(self):
        return self.k
print("registered")
print(C().f.local())
# %% not-in-init
import modal
app = modal.App("a")
@app.cls()
class C:
    k: int = modal.parameter(init=False, default=7)
    @modal.method()
    def f(self):
        return self.k
print(C().f.local())
# %% not-in-init-but-given
import modal
app = modal.App("a")
@app.cls()
class C:
    k: int = modal.parameter(init=False, default=7)
    @modal.method()
    def f(self):
        return self.k
print(C(k=8).f.local())
# %% not-in-init-set-by-enter
import modal
app = modal.App("a")
@app.cls()
class C:
    model: object = modal.parameter(init=False)
    @modal.enter()
    def load(self):
        self.model = "m"
    @modal.method()
    def f(self):
        return self.model
print(C().f.local())
# %% several
import modal
app = modal.App("a")
@app.cls()
class C:
    a: int = modal.parameter()
    b: str = modal.parameter(default="b")
    @modal.method()
    def f(self):
        return (self.a, self.b)
print(C(a=1).f.local(), C(b="c", a=2).f.local())
# %% default-before-required
import modal
app = modal.App("a")
@app.cls()
class C:
    b: str = modal.parameter(default="b")
    a: int = modal.parameter()
    @modal.method()
    def f(self):
        return (self.a, self.b)
print(C(a=1).f.local())
# %% inherited
import modal
app = modal.App("a")
class Base:
    a: int = modal.parameter(default=1)
@app.cls()
class C(Base):
    b: int = modal.parameter(default=2)
    @modal.method()
    def f(self):
        return (self.a, self.b)
print(C().f.local(), C(a=5, b=6).f.local())
# %% with-init
import modal
app = modal.App("a")
@app.cls()
class C:
    a: int = modal.parameter()
    def __init__(self):
        self.b = 1
    @modal.method()
    def f(self):
        return self.a
# %% seen-in-enter
import modal
app = modal.App("a")
@app.cls()
class C:
    a: int = modal.parameter()
    @modal.enter()
    def load(self):
        self.b = self.a * 2
    @modal.method()
    def f(self):
        return self.b
print(C(a=4).f.local())
# %% plain-annotation
import modal
app = modal.App("a")
@app.cls()
class C:
    a: int
    b: int = 3
    c: int = modal.parameter(default=4)
    @modal.method()
    def f(self):
        return (self.b, self.c)
print(C().f.local())
# %% postponed-annotations
# differs: fault: annotations that are strings are not understood
from __future__ import annotations
import modal
app = modal.App("a")
@app.cls()
class C:
    k: int = modal.parameter()
    @modal.method()
    def f(self):
        return self.k
print(C(k=3).f.local())
# %% two-instances
import modal
app = modal.App("a")
@app.cls()
class C:
    k: int = modal.parameter()
    @modal.enter()
    def load(self):
        print("enter", self.k)
    @modal.method()
    def f(self):
        return self.k
one, two = C(k=1), C(k=2)
print(two.f.local(), one.f.local())
# %% big-int
import modal
app = modal.App("a")
@app.cls()
class C:
    k: int = modal.parameter()
    @modal.method()
    def f(self):
        return self.k
print(C(k=2**70).f.local())
# %% positional-default
import modal
app = modal.App("a")
@app.cls()
class C:
    k: int = modal.parameter(3)
    @modal.method()
    def f(self):
        return self.k
# %% a-function-too
import modal
print(type(modal.parameter(default=3)).__name__ != "int")
# %% subclass-of-int
import modal
app = modal.App("a")
class N(int):
    pass
@app.cls()
class C:
    k: int = modal.parameter()
    @modal.method()
    def f(self):
        return self.k
print(C(k=N(3)).f.local())
# %% on-a-function
import modal
app = modal.App("a")
@app.function()
def f(k: int = modal.parameter(default=3)):
    return 1
print(f.local())
# %% concurrent-class
import modal
app = modal.App("a")
@app.cls()
@modal.concurrent(max_inputs=4)
class C:
    k: int = modal.parameter()
    @modal.method()
    def f(self):
        return self.k
print(C(k=3).f.local())
