"""app.cls: methods, hooks, parameters, inheritance, and what an instance is before any run."""
# %% local
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def f(self, x):
        return x + 1
print(C().f.local(1))
# %% local-async
import asyncio
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    async def f(self, x):
        return x + 1
print(asyncio.run(C().f.local(1)))
# %% local-generator
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def f(self, n):
        yield from range(n)
print(list(C().f.local(3)))
# %% local-raises
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def f(self, n):
        raise KeyError(n)
C().f.local("k")
# %% enter-before-the-first-local
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter()
    def load(self):
        print("enter")
        self.k = 5
    @modal.method()
    def f(self, x):
        return x + self.k
c = C()
print("made")
print(c.f.local(1))
print(c.f.local(2))
# %% enter-once-an-instance
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter()
    def load(self):
        print("enter")
    @modal.method()
    def f(self, x):
        return x
print(C().f.local(1))
print(C().f.local(2))
# %% exit-never-locally
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.exit()
    def close(self):
        print("exit")
    @modal.method()
    def f(self, x):
        return x
print(C().f.local(1))
# %% enter-order
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter()
    def b(self):
        print("b")
    @modal.enter()
    def a(self):
        print("a")
    @modal.method()
    def f(self):
        return "f"
print(C().f.local())
# %% enter-snap-first
import modal
app = modal.App("a")
@app.cls(enable_memory_snapshot=True)
class C:
    @modal.enter()
    def late(self):
        print("late")
    @modal.enter(snap=True)
    def early(self):
        print("early")
    @modal.method()
    def f(self):
        return "f"
print(C().f.local())
# %% enter-snap-not-enabled
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter(snap=True)
    def early(self):
        print("early")
    @modal.method()
    def f(self):
        return "f"
# %% enter-inherited-order
import modal
app = modal.App("a")
class Base:
    @modal.enter()
    def base(self):
        print("base")
@app.cls()
class C(Base):
    @modal.enter()
    def derived(self):
        print("derived")
    @modal.method()
    def f(self):
        return "f"
print(C().f.local())
# %% enter-overridden
import modal
app = modal.App("a")
class Base:
    @modal.enter()
    def load(self):
        print("base")
@app.cls()
class C(Base):
    @modal.enter()
    def load(self):
        print("derived")
    @modal.method()
    def f(self):
        return "f"
print(C().f.local())
# %% enter-no-parentheses
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter
    def load(self):
        pass
    @modal.method()
    def f(self):
        return "f"
# %% exit-no-parentheses
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.exit
    def close(self):
        pass
# %% method-no-parentheses
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method
    def f(self):
        return "f"
# %% cls-no-parentheses
import modal
app = modal.App("a")
@app.cls
class C:
    @modal.method()
    def f(self):
        return "f"
# %% enter-fails
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter()
    def load(self):
        raise OSError("no model")
    @modal.method()
    def f(self):
        return "f"
c = C()
print("made")
c.f.local()
# %% enter-on-a-method
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter()
    @modal.method()
    def f(self):
        return "f"
# %% method-on-an-enter-hook
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    @modal.enter()
    def f(self):
        return "f"
# %% enter-and-exit-on-one
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter()
    @modal.exit()
    def both(self):
        print("both")
    @modal.method()
    def f(self):
        return "f"
print(C().f.local())
# %% enter-on-a-function
# differs: lenient
import modal
app = modal.App("a")
@app.function()
@modal.enter()
def f():
    return 1
# %% method-on-a-function
# differs: lenient
import modal
app = modal.App("a")
@app.function()
@modal.method()
def f():
    return 1
# %% cls-on-a-function
import modal
app = modal.App("a")
@app.cls()
def f():
    return 1
# %% no-methods
import modal
app = modal.App("a")
@app.cls()
class C:
    def plain(self):
        return 1
print(C().plain())
# %% plain-method
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def f(self, x):
        return self.plain(x) + 1
    def plain(self, x):
        return x * 10
c = C()
print(c.f.local(1), c.plain(2))
# %% plain-method-enters
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter()
    def load(self):
        print("enter")
        self.k = 3
    @modal.method()
    def f(self, x):
        return x
    def plain(self):
        return self.k
print(C().plain())
# %% attribute-enters
import modal
app = modal.App("a")
@app.cls()
class C:
    size = 7
    @modal.enter()
    def load(self):
        print("enter")
        self.k = 3
    @modal.method()
    def f(self, x):
        return x
c = C()
print(c.size)
print(c.k)
# %% attribute-missing
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def f(self, x):
        return x
print(C().nothing)
# %% class-attribute
import modal
app = modal.App("a")
@app.cls()
class C:
    size = 7
    @modal.method()
    def f(self, x):
        return x
print(C.size)
# %% method-calls-method-local
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def f(self, x):
        return self.g.local(x) + 1
    @modal.method()
    def g(self, x):
        return x * 10
print(C().f.local(1))
# %% method-called-directly
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def f(self, x):
        return x
C().f(1)
# %% method-on-the-class
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def f(self, x):
        return x
C.f.local(1)
# %% method-on-the-class-remote
# differs: network
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def f(self, x):
        return x
C.f.remote(1)
# %% remote-outside-a-run
# differs: network
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def f(self, x):
        return x
C().f.remote(1)
# %% type-of-the-class
import modal
app = modal.App("a")
@app.cls()
class C:
    """Does things."""
    @modal.method()
    def f(self, x):
        return x
print(type(C).__name__, type(C()).__name__, type(C().f).__name__)
# %% isinstance
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def f(self, x):
        return x
print(isinstance(C(), modal.cls.Obj))
# %% type-of-self
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def f(self):
        return type(self).__name__
print(C().f.local())
# %% state-between-calls
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter()
    def load(self):
        self.n = 0
    @modal.method()
    def f(self):
        self.n += 1
        return self.n
c = C()
print(c.f.local(), c.f.local(), C().f.local())
# %% set-attribute
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def f(self):
        return self.k
c = C()
c.k = 5
print(c.f.local())
# %% init
# differs: lenient
import modal
app = modal.App("a")
@app.cls()
class C:
    def __init__(self, k):
        self.k = k
    @modal.method()
    def f(self):
        return self.k
print(C(3).f.local())
# %% init-without-arguments
# differs: lenient
import modal
app = modal.App("a")
@app.cls()
class C:
    def __init__(self):
        self.k = 4
    @modal.method()
    def f(self):
        return self.k
print(C().f.local())
# %% init-of-a-base
# differs: lenient
import modal
app = modal.App("a")
class Base:
    def __init__(self):
        self.k = 4
@app.cls()
class C(Base):
    @modal.method()
    def f(self):
        return self.k
print(C().f.local())
# %% arguments-nobody-takes
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def f(self):
        return 1
C(3).f.local()
# %% keyword-nobody-takes
# differs: lenient
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def f(self):
        return 1
c = C(k=3)
print("made")
c.f.local()
# %% inherited-method
import modal
app = modal.App("a")
class Base:
    @modal.method()
    def f(self, x):
        return x + 1
@app.cls()
class C(Base):
    pass
print(C().f.local(1))
# %% overridden-method
import modal
app = modal.App("a")
class Base:
    @modal.method()
    def f(self, x):
        return self.step(x)
    def step(self, x):
        return x
@app.cls()
class C(Base):
    def step(self, x):
        return x * 100
print(C().f.local(2))
# %% super
import modal
app = modal.App("a")
class Base:
    def step(self, x):
        return x + 1
@app.cls()
class C(Base):
    @modal.method()
    def f(self, x):
        return super().step(x) * 10
print(C().f.local(2))
# %% inherit-from-a-registered-class
import modal
app = modal.App("a")
@app.cls()
class Base:
    @modal.method()
    def f(self, x):
        return x
@app.cls()
class C(Base):
    pass
print(C().f.local(1))
# %% two-classes-of-one-base
import modal
app = modal.App("a")
class Base:
    @modal.method()
    def f(self):
        return self.name()
@app.cls()
class A(Base):
    def name(self):
        return "A"
@app.cls()
class B(Base):
    def name(self):
        return "B"
print(A().f.local(), B().f.local())
# %% mixin-mro
import modal
app = modal.App("a")
class One:
    @modal.enter()
    def one(self):
        print("one")
class Two:
    @modal.enter()
    def two(self):
        print("two")
@app.cls()
class C(One, Two):
    @modal.method()
    def f(self):
        return "f"
print(C().f.local())
# %% staticmethod-and-property
import modal
app = modal.App("a")
@app.cls()
class C:
    @staticmethod
    def double(x):
        return x * 2
    @classmethod
    def name(cls):
        return cls.__name__
    @property
    def three(self):
        return 3
    @modal.method()
    def f(self):
        return self.double(self.three), self.name()
print(C().f.local(), C().double(4), C().three)
# %% same-name-twice
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def f(self):
        return 1
@app.cls()
class C:
    @modal.method()
    def f(self):
        return 2
print(C().f.local())
# %% nested
# differs: lenient
import modal
app = modal.App("a")
def make():
    @app.cls()
    class C:
        @modal.method()
        def f(self):
            return 1
    return C
print(make()().f.local())
# %% nested-serialized
import modal
app = modal.App("a")
def make(k):
    @app.cls(serialized=True)
    class C:
        @modal.method()
        def f(self):
            return k
    return C
print(make(3)().f.local())
# %% cls-twice
import modal
app = modal.App("a")
@app.cls()
@app.cls()
class C:
    @modal.method()
    def f(self):
        return 1
# %% dataclass
# differs: lenient
import dataclasses
import modal
app = modal.App("a")
@app.cls()
@dataclasses.dataclass
class C:
    k: int = 3
    @modal.method()
    def f(self):
        return self.k
print(C().f.local())
# %% cls-arguments
import modal
app = modal.App("a")
@app.cls(min_containers=0, max_containers=3, scaledown_window=30, timeout=20, cpu=1.0, gpu="T4")
class C:
    @modal.method()
    def f(self):
        return 1
print(C().f.local())
# %% cls-unknown-argument
import modal
app = modal.App("a")
@app.cls(name="x", threads=2)
class C:
    @modal.method()
    def f(self):
        return 1
# %% cls-name-argument
import modal
app = modal.App("a")
@app.cls(name="x")
class C:
    @modal.method()
    def f(self):
        return 1
# %% cls-timeout-none
# differs: lenient
import modal
app = modal.App("a")
@app.cls(timeout=None)
class C:
    @modal.method()
    def f(self):
        return 1
print(C().f.local())
# %% cls-old-names
# differs: lenient
import modal
app = modal.App("a")
@app.cls(keep_warm=1)
class C:
    @modal.method()
    def f(self):
        return 1
# %% method-is-generator
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method(is_generator=True)
    def f(self):
        return iter([1, 2])
print(list(C().f.local()))
# %% method-unknown-argument
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method(name="x")
    def f(self):
        return 1
# %% method-old-keep-warm
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method(keep_warm=2)
    def f(self):
        return 1
# %% method-twice
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    @modal.method()
    def f(self):
        return 1
print(C().f.local())
# %% method-on-a-staticmethod
# differs: fault: .local() of a static method fails by accident; in a container it runs
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    @staticmethod
    def f(x):
        return x
print(C().f.local(3))
# %% undecorated-class-with-methods
import modal
class C:
    @modal.method()
    def f(self, x):
        return x
print(type(C().f).__name__)
# %% enter-calls-plain-method
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter()
    def load(self):
        self.model = self.build()
    def build(self):
        return "model"
    @modal.method()
    def f(self):
        return self.model
print(C().f.local())
# %% async-enter-sync-method
# differs: fault: async enter hooks are skipped under .local()
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter()
    async def load(self):
        self.k = 5
    @modal.method()
    def f(self):
        return self.k
print(C().f.local())
# %% async-enter-async-method
# differs: fault: enter hooks are skipped for async methods under .local()
import asyncio
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter()
    async def load(self):
        self.k = 5
    @modal.method()
    async def f(self):
        return self.k
print(asyncio.run(C().f.local()))
# %% sync-enter-async-method
# differs: fault: enter hooks are skipped for async methods under .local()
import asyncio
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter()
    def load(self):
        self.k = 5
    @modal.method()
    async def f(self):
        return self.k
print(asyncio.run(C().f.local()))
# %% hook-called-by-hand
# differs: fault: calling a hook is a bare KeyError
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter()
    def load(self):
        print("enter")
    @modal.method()
    def f(self):
        return 1
C().load()
# %% keep-a-bound-method
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def f(self, x):
        return x
g = C().f
print(g.local(1))
# %% slots
# differs: fault: __slots__ end in an AttributeError about a private name
import modal
app = modal.App("a")
@app.cls()
class C:
    __slots__ = ("k",)
    @modal.enter()
    def load(self):
        self.k = 1
    @modal.method()
    def f(self):
        return self.k
print(C().f.local())
# %% call-of-an-instance
import modal
app = modal.App("a")
@app.cls()
class C:
    def __call__(self, x):
        return x * 2
    @modal.method()
    def f(self):
        return 1
print(C()(4))
# %% repr
# differs: lenient
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def f(self):
        return 1
print(repr(C), repr(app.registered_classes["C"]) if hasattr(app, "registered_classes") else "")
# %% getitem
import modal
app = modal.App("a")
@app.cls()
class C:
    def __getitem__(self, k):
        return k
    @modal.method()
    def f(self):
        return 1
print(C()[3])
# %% enter-hook-calls-a-method
# differs: fault: an enter hook that calls .local() of its own instance recurses for ever
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter()
    def load(self):
        self.k = 3
        self.k = self.f.local(1)
    @modal.method()
    def f(self, x):
        return x + self.k
print(C().f.local(1))
# %% enter-hook-calls-a-plain-method-of-a-base
import modal
app = modal.App("a")
class Base:
    def prepare(self):
        return 3
@app.cls()
class C(Base):
    @modal.enter()
    def load(self):
        self.k = self.prepare()
    @modal.method()
    def f(self, x):
        return x + self.k
print(C().f.local(1))
# %% enter-with-arguments
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter()
    def load(self, k):
        self.k = k
    @modal.method()
    def f(self, x):
        return x
print("registered")
C().f.local(1)
# %% exit-with-arguments
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.exit()
    def close(self, kind, error, trace):
        pass
    @modal.method()
    def f(self, x):
        return x
print(C().f.local(1))
# %% enter-snap-str
import modal
app = modal.App("a")
@app.cls(enable_memory_snapshot=True)
class C:
    @modal.enter(snap="yes")
    def load(self):
        print("enter")
    @modal.method()
    def f(self, x):
        return x
print(C().f.local(1))
# %% exit-unknown-argument
import modal
class C:
    @modal.exit(snap=True)
    def close(self):
        pass
# %% enter-generator
# differs: fault: the hook is called, and its code never runs
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.enter()
    def load(self):
        yield 1
    @modal.method()
    def f(self, x):
        return x
print(C().f.local(1))
# %% base-is-decorated-too
import modal
app = modal.App("a")
class Base:
    @modal.method()
    def f(self):
        return "base"
@app.cls()
class C(Base):
    @modal.method()
    def f(self):
        return "derived"
print(C().f.local())
# %% override-without-a-decorator
import modal
app = modal.App("a")
class Base:
    @modal.method()
    def f(self):
        return "base"
@app.cls()
class C(Base):
    def f(self):
        return "plain"
print(C().f())
# %% override-enter-without-a-decorator
import modal
app = modal.App("a")
class Base:
    @modal.enter()
    def load(self):
        print("base")
@app.cls()
class C(Base):
    def load(self):
        print("plain")
    @modal.method()
    def f(self):
        return "f"
print(C().f.local())
# %% super-of-a-method
# differs: fault: super() in a method recurses for ever under .local()
import modal
app = modal.App("a")
class Base:
    @modal.method()
    def f(self, x):
        return x + 1
@app.cls()
class C(Base):
    @modal.method()
    def f(self, x):
        return super().f.local(x) * 10
print(C().f.local(1))
# %% three-generations
import modal
app = modal.App("a")
class A:
    @modal.enter()
    def a(self):
        print("a")
class B(A):
    @modal.enter()
    def b(self):
        print("b")
@app.cls()
class C(B):
    @modal.enter()
    def c(self):
        print("c")
    @modal.method()
    def f(self):
        return "f"
print(C().f.local())
# %% instances-are-equal
import modal
app = modal.App("a")
@app.cls()
class C:
    k: int = modal.parameter(default=1)
    @modal.method()
    def f(self):
        return 1
print(C() == C(), C(k=1) == C(k=1))
# %% methods-of-one-instance
# differs: fault: each look at a method of an instance makes another Function
import modal
app = modal.App("a")
@app.cls()
class C:
    @modal.method()
    def f(self):
        return 1
c = C()
print(c.f is c.f, hasattr(c, "f"), hasattr(c, "nothing"))
# %% dir-and-names
# differs: fault: a class has the docstring of Cls, not its own
import modal
app = modal.App("a")
@app.cls()
class C:
    """Says f."""
    @modal.method()
    def f(self):
        return 1
print(C.__doc__ == "Says f.", hasattr(C, "__name__"))
# %% isinstance-of-the-class
import modal
app = modal.App("a")
class Plain:
    @modal.method()
    def f(self):
        return 1
C = app.cls()(Plain)
print(isinstance(C(), Plain))
# %% undecorated-class-keeps-working
import modal
app = modal.App("a")
class Plain:
    def __init__(self):
        self.k = 3
    @modal.method()
    def f(self):
        return self.k
print(type(Plain().f).__name__)
