"""The cloud's objects and arguments: what is accepted, refused and shown offline."""

# %% flow-1
import modal
app = modal.App("a", image=modal.Image.debian_slim().pip_install("numpy"), secrets=[modal.Secret.from_dict({"A": "1"})], volumes={"/d": modal.Volume.from_name("v")}, tags={"team": "x"})
@app.function(gpu="A100:2", cpu=(1, 2), memory=(512, 1024), timeout=60, region=["us"], cloud="aws", schedule=modal.Cron("0 9 * * 1"))
def f(x=2): return x * 2
print(f.local(), f.local(4), app.name)

# %% flow-2
# differs: lenient
import modal
image = modal.Image.debian_slim()
with image.imports():
     import json, no_such_module
app = modal.App("a")
@app.function(image=image)
def f(): return json.dumps([1])
print(f.local())

# %% flow-3
# differs: lenient
import modal
image = modal.Image.debian_slim()
with image.imports():
     import no_such_module
app = modal.App("a")
@app.function(image=image)
def f(): return no_such_module.x
f.local()

# %% flow-4
import modal
v = modal.Volume.from_name("v", create_if_missing=True)
app = modal.App("a")
@app.cls(volumes={"/data": v, "/ro": v.read_only()}, secrets=[modal.Secret.from_name("s")], gpu=["H100", "A100"])
class C:
     n: int = modal.parameter(default=3)
     @modal.method()
     def m(self): return self.n
print(C().m.local(), C(n=5).m.local())

# %% flow-5
import modal
def with_git(image, *extra): return image.apt_install("git", *extra)
i = modal.Image.debian_slim().pipe(with_git, "curl").env({"A": "1"}).workdir("/app"); print(type(i) is modal.Image)

# %% flow-6
import modal
q = modal.Queue.from_name("q", create_if_missing=True)
d = modal.Dict.from_name("d")
app = modal.App("a")
@app.function()
def f(a, b): return (type(a).__name__, b.name)
print(f.local(q, d))

# %% flow-7
import modal
steps = [("pip_install", ("a",)), ("apt_install", ("b",)), ("run_commands", ("c",)), ("env", ({"A": "1"},)), ("workdir", ("/x",)), ("cmd", (["x"],)), ("entrypoint", ([],)), ("shell", (["sh"],))]
i = modal.Image.debian_slim()
for name, args in steps:
     j = getattr(i, name)(*args); print(name, type(j).__name__, j is i)
     i = j

# %% flow-8
import modal
kinds = [modal.Image, modal.Volume, modal.Secret, modal.Dict, modal.Queue, modal.Proxy, modal.NetworkFileSystem, modal.Sandbox]
for k in kinds:
     try: k()
     except RuntimeError: print(k.__name__, "RuntimeError")
     except modal.exception.InvalidError: print(k.__name__, "InvalidError")

# %% flow-9
import modal
for n in ("commit", "reload", "listdir", "read_file", "iterdir", "remove_file", "copy_files", "info", "hydrate"): print(n, hasattr(getattr(modal.Volume.from_name("v"), n), "aio"))

# %% flow-10
import modal
for n in ("get", "put", "pop", "update", "len", "contains", "keys", "values", "items", "clear"): print(n, hasattr(getattr(modal.Dict.from_name("v"), n), "aio"))

# %% flow-11
import modal
for n in ("get", "put", "get_many", "put_many", "len", "iterate", "clear"): print(n, hasattr(getattr(modal.Queue.from_name("v"), n), "aio"))

# %% flow-12
import modal
import inspect
for n in ("pip_install", "uv_pip_install", "apt_install", "run_commands", "run_function", "add_local_file", "add_local_dir", "add_local_python_source", "from_registry", "from_dockerfile", "debian_slim", "uv_sync", "poetry_install_from_file", "micromamba_install", "dockerfile_commands", "pip_install_from_pyproject", "pip_install_private_repos"): print(n, [p for p in inspect.signature(getattr(modal.Image, n)).parameters if p != "kwargs"][:6])

# %% flow-13
import modal
import inspect
for k, n in ((modal.Volume, "from_name"), (modal.Secret, "from_name"), (modal.Secret, "from_dict"), (modal.Dict, "from_name"), (modal.Queue, "from_name"), (modal.Cron, "__init__"), (modal.Period, "__init__"), (modal.SchedulerPlacement, "__init__"), (modal.Proxy, "from_name")): print(k.__name__, list(inspect.signature(getattr(k, n)).parameters))

# %% flow-14
import modal
import inspect
print(list(inspect.signature(modal.CloudBucketMount).parameters))
print(list(inspect.signature(modal.Dict.get).parameters)[-2:], list(inspect.signature(modal.Queue.put).parameters)[-5:])

# %% flow-15
import modal
from pathlib import Path
m = modal.FilePatternMatcher("**/*.pyc", "**/__pycache__", ".git", "!.git/keep")
print([p for p in ("a.py", "a.pyc", "x/__pycache__/a.py", ".git/config", ".git/keep", "x/.git/y") if not m(Path(p))])

# %% secret-dict-invalid-1
import modal
modal.Secret.from_dict({"A": 1})

# %% secret-dict-invalid-2
import modal
modal.Secret.from_dict({1: "a"})

# %% secret-dict-invalid-3
import modal
modal.Secret.from_dict([("A", "1")])

# %% secret-name-type-1
import modal
modal.Secret.from_name("s", "x")

# %% secret-name-type-2
import modal
modal.Secret.from_name("s", create_if_missing=True)

# %% secret-env-invalid-1
import modal
modal.Secret.from_local_environ(["MY_MISSING_KEY"])

# %% secret-env-invalid-2
import modal
modal.Secret.from_local_environ("MY_MISSING_KEY")

# %% secret-env-type-1
import modal
modal.Secret.from_local_environ(3)

# %% secret-env-type-2
import modal
modal.Secret.from_local_environ([3])

# %% secret-env-type-3
import modal
modal.Secret.from_local_environ()

# %% secret-make-invalid-1
import modal
modal.Secret()

# %% secret-make-invalid-2
import modal
modal.Secret({"A": "1"})

# %% secret-make-attribute-1
import modal
print(modal.Secret.from_dict({}).object_id)

# %% secret-make-attribute-2
import modal
modal.Secret.from_dict({}).client

# %% volume-name-invalid-1
import modal
modal.Volume.from_name("a b")

# %% volume-name-invalid-2
import modal
modal.Volume.from_name("a/b")

# %% volume-name-invalid-3
import modal
modal.Volume.from_name("")

# %% volume-name-type-1
import modal
modal.Volume.from_name(3)

# %% volume-name-type-2
import modal
modal.Volume.from_name(None)

# %% volume-name-type-3
import modal
modal.Volume.from_name()

# %% volume-make-invalid-1
import modal
modal.Volume()

# %% volume-make-attribute-1
# differs: lenient
import modal
modal.Volume.new()

# %% volume-make-attribute-2
# differs: lenient
import modal
modal.Volume.persisted("a")

# %% volume-make-attribute-3
# differs: lenient
import modal
modal.Volume.lookup("a")

# %% volume-opts-type-1
import modal
modal.Volume.from_name("v").with_mount_options(sub_path=3); print("ok")

# %% volume-opts-type-2
import modal
modal.Volume.from_name("v").with_mount_options(True)

# %% volume-opts-type-3
import modal
modal.Volume.from_name("v").read_only(True)

# %% volume-opts-invalid-1
import modal
modal.Volume.from_name("v").read_only().with_mount_options(read_only=False); print("ok")

# %% dict-name-invalid-1
import modal
modal.Dict.from_name("a b")

# %% dict-name-type-1
import modal
modal.Dict.from_name(3)

# %% dict-name-invalid-2
import modal
modal.Dict.from_name("")

# %% dict-name-runtime-1
import modal
modal.Dict()

# %% dict-name-type-2
import modal
modal.Dict({"a": 1})

# %% dict-name-type-3
import modal
modal.Dict.from_name("d", {"a": 1})

# %% dict-name-attribute-1
# differs: lenient
import modal
modal.Dict.lookup("d")

# %% queue-name-invalid-1
import modal
modal.Queue.from_name("a b")

# %% queue-name-type-1
import modal
modal.Queue.from_name(3)

# %% queue-name-runtime-1
import modal
modal.Queue()

# %% queue-name-type-2
import modal
modal.Queue(3)

# %% queue-name-type-3
import modal
len(modal.Queue.from_name("d"))

# %% queue-name-invalid-2
import modal
modal.Queue.validate_partition_key("")

# %% queue-name-invalid-3
import modal
modal.Queue.validate_partition_key("a"*65)

# %% queue-name-attribute-1
import modal
modal.Queue.validate_partition_key(3)

# %% nfs-invalid-1
import modal
modal.NetworkFileSystem.from_name("a b")

# %% nfs-type-1
import modal
modal.NetworkFileSystem.from_name(3)

# %% nfs-invalid-2
import modal
modal.NetworkFileSystem()

# %% proxy-invalid-1
import modal
modal.Proxy()

# %% cron-type-1
import modal
modal.Cron(3)

# %% cron-type-2
import modal
modal.Cron()

# %% cron-type-3
import modal
modal.Cron("* * * * *", timezone=3)

# %% period-type-1
import modal
modal.Period(days=1.5)

# %% period-type-2
import modal
modal.Period(days="1")

# %% period-type-3
import modal
modal.Period(3)

# %% period-value-1
import modal
modal.Period(days=2**40)

# %% placement-type-1
import modal
modal.SchedulerPlacement(region=3)

# %% placement-type-2
import modal
modal.SchedulerPlacement(zone=3)

# %% placement-type-3
import modal
modal.SchedulerPlacement(instance_type=3)

# %% bucket-type-1
import modal
modal.CloudBucketMount()

# %% bucket-type-2
import modal
hash(modal.CloudBucketMount("b"))

# %% probe-invalid-1
import modal
modal.Probe.with_tcp(0)

# %% probe-invalid-2
import modal
modal.Probe.with_tcp(70000)

# %% probe-invalid-3
import modal
modal.Probe.with_tcp("80")

# %% probe-frozeninstance-1
import modal
modal.Probe(tcp_port=3).tcp_port = 4

# %% sandbox-invalid-1
import modal
modal.Sandbox()

# %% objects-invalid-1
import modal
from modal.object import Object
Object()

# %% objects-runtime-1
import modal
modal.Workspace()

# %% objects-runtime-2
import modal
modal.Environment()

# %% objects-invalid-2
import modal
modal.Environment.from_name("a b"); print("ok")

# %% objects-type-1
import modal
modal.Environment.from_name(3); print("ok")

# %% objects-invalid-3
import modal
modal.Cluster.from_context()

# %% objects-type-2
import modal
modal.Client()

# %% objects-type-3
import modal
modal.Tunnel()

# %% objects-frozeninstance-1
import modal
t = modal.Tunnel("h", 1234, "u", 80)
print(t.url, t.tls_socket, t.tcp_socket)
t.host = "x"

# %% objects-attribute-1
import modal
modal.Volume.from_name("v").nope

# %% objects-attribute-2
import modal
modal.Image.nope

# %% secret-dict-fine-1
import modal
modal.Secret.from_dict({"A": "1", "B": None}); print("ok")
modal.Secret.from_dict(); print("ok")
modal.Secret.from_dict({"A": None}); print("ok")
print(modal.Secret.from_dict({"A": "1"}).name)
modal.Secret.from_dict({"": "x"}); print("ok")
modal.Secret.from_dict({"a b": "x"}); print("ok")

# %% secret-name-fine-1
# differs: lenient
import modal
print(modal.Secret.from_name("s").name)
print(repr(modal.Secret.from_name("s")))
modal.Secret.from_name("a b"); print("ok")
modal.Secret.from_name(""); print("ok")
modal.Secret.from_name(3); print("ok")
modal.Secret.from_name(None); print("ok")
modal.Secret.from_name("s", required_keys=["A"]); print("ok")
modal.Secret.from_name("s", required_keys="A"); print("ok")
modal.Secret.from_name("s", required_keys=3); print("ok")
modal.Secret.from_name("s", environment_name=3); print("ok")
print(repr(modal.Secret.from_name("s", environment_name="main", required_keys=["A"])))

# %% secret-dotenv-fine-1
# differs: lenient
import modal
print(repr(modal.Secret.from_dotenv()))
print(repr(modal.Secret.from_dotenv("/nonexistent/x")))
print(repr(modal.Secret.from_dotenv(filename="x.env")))
modal.Secret.from_dotenv(3); print("ok")

# %% secret-make-fine-1
import modal
print(repr(modal.Secret.from_dict({"A": "1", "B": "2"})))
print(repr(modal.Secret.from_dict({})))
print(modal.Secret.from_dict({}).name, modal.Secret.from_dotenv().name)
print(type(modal.Secret.objects).__name__)
print(modal.Secret.from_dict({"A":"1"}) == modal.Secret.from_dict({"A":"1"}), len({modal.Secret.from_name("a"), modal.Secret.from_name("a")}))

# %% volume-name-fine-1
# differs: lenient
import modal
print(modal.Volume.from_name("v").name)
print(repr(modal.Volume.from_name("v")))
modal.Volume.from_name("a"*64); print("ok")
modal.Volume.from_name("a.b-c_D9"); print("ok")
modal.Volume.from_name("-a"); print("ok")
modal.Volume.from_name("vo-abcdefghijklmnopqrstuv"); print("ok")
modal.Volume.from_name("v", create_if_missing=3); print("ok")
modal.Volume.from_name("v", version=2); print("ok")
modal.Volume.from_name("v", version=9); print("ok")
modal.Volume.from_name("v", version="2"); print("ok")
modal.Volume.from_name("v", create_if_missing=True, create_options={"version": 2}); print("ok")
modal.Volume.from_name("v", create_options=3); print("ok")
modal.Volume.from_name("v", create_options={"nope": 2}); print("ok")
modal.Volume.from_name("v", environment_name="a b"); print("ok")
modal.Volume.from_name("v", environment_name=3); print("ok")
modal.Volume.from_name("v", version=2, create_options={"version": 1}); print("ok")
print(repr(modal.Volume.from_name("v", create_if_missing=True, environment_name="e")))

# %% volume-make-fine-1
import modal
print(repr(modal.Volume.from_id("vo-123")))
print(modal.Volume.from_id("vo-123").name)
print(modal.Volume.from_id("nonsense"))
modal.Volume.from_id(3); print("ok")
print(type(modal.Volume.objects).__name__)

# %% volume-opts-fine-1
# differs: lenient
import modal
v = modal.Volume.from_name("v"); r = v.read_only(); print(type(r).__name__, r is v, repr(r), r.name)
print(repr(modal.Volume.from_name("v").with_mount_options(read_only=True, sub_path="/a")))
print(repr(modal.Volume.from_name("v").with_mount_options(sub_path="a")))
modal.Volume.from_name("v").with_mount_options(sub_path="../a"); print("ok")
modal.Volume.from_name("v").with_mount_options(sub_path=""); print("ok")
modal.Volume.from_name("v").with_mount_options(sub_path="/"); print("ok")
modal.Volume.from_name("v").with_mount_options(); print("ok")
modal.Volume.from_name("v").with_mount_options(read_only="x"); print("ok")
modal.Volume.from_name("v").with_mount_options(sub_path="a").with_mount_options(sub_path="b"); print("ok")
print(modal.Volume.rename, )if 0 else print(callable(modal.Volume.rename))

# %% dict-name-fine-1
import modal
print(repr(modal.Dict.from_name("d")), modal.Dict.from_name("d").name)
print(repr(modal.Dict.from_name("d", create_if_missing=True)))
print(repr(modal.Dict.from_id("di-1")))
bool(modal.Dict.from_name("d")); print("ok")
print(type(modal.Dict.objects).__name__)

# %% queue-name-fine-1
import modal
print(repr(modal.Queue.from_name("d")), modal.Queue.from_name("d").name)
print(repr(modal.Queue.from_name("d", create_if_missing=True)))
print(repr(modal.Queue.from_id("qu-1")))
print(modal.Queue.validate_partition_key("a"))
print(modal.Queue.validate_partition_key(None))

# %% nfs-fine-1
import modal
print(repr(modal.NetworkFileSystem.from_name("n")))
modal.NetworkFileSystem.from_name("n", create_if_missing=True); print("ok")

# %% proxy-fine-1
# differs: lenient
import modal
print(repr(modal.Proxy.from_name("n")))
print(repr(modal.Proxy.from_name("a b", environment_name="e")))
modal.Proxy.from_name(3); print("ok")

# %% cron-fine-1
# differs: lenient
import modal
modal.Cron("* * * * *"); print("ok")
modal.Cron("nonsense"); print("ok")
modal.Cron("* * * * *", "Europe/Paris"); print("ok")
modal.Cron("* * * * *", timezone="Nowhere/Nope"); print("ok")
modal.Cron("* * * * *", timezone=None); print("ok")
modal.Cron(None); print("ok")
modal.Cron(b"* * * * *"); print("ok")
print(isinstance(modal.Cron("x"), modal.schedule.Schedule), [c.__name__ for c in modal.Period.__mro__])
modal.Cron(cron_string="* * * * *"); print("ok")

# %% period-fine-1
# differs: lenient
import modal
modal.Period(); print("ok")
modal.Period(days=1, seconds=1.5); print("ok")
modal.Period(days=-1); print("ok")
modal.Period(days=None); print("ok")
modal.Period(seconds=None); print("ok")
modal.Period(seconds=1); print("ok")
modal.Period(seconds=float("nan")); print("ok")
import fractions; modal.Period(seconds=fractions.Fraction(1,2)); print("ok")
modal.schedule.Schedule(3); print("ok")

# %% placement-fine-1
# differs: lenient
import modal
from modal.scheduler_placement import SchedulerPlacement
SchedulerPlacement(); print("ok")
from modal.scheduler_placement import SchedulerPlacement
SchedulerPlacement(region="us", zone="a", spot=True, instance_type=["x"]); print("ok")
modal.SchedulerPlacement(spot="x")
modal.SchedulerPlacement("us"); print("ok")
modal.SchedulerPlacement(region=("us", "eu")); print("ok")

# %% bucket-fine-1
import modal
modal.CloudBucketMount(3); print("ok")
modal.CloudBucketMount("b", bucket_endpoint_url="x"); print("ok")
modal.CloudBucketMount("b", key_prefix="a"); print("ok")
modal.CloudBucketMount("b", key_prefix="a/"); print("ok")
modal.CloudBucketMount("b", requester_pays=True); print("ok")
modal.CloudBucketMount("b", secret=3); print("ok")
b = modal.CloudBucketMount("b"); b.read_only = True; print(b.read_only)

# %% probe-fine-1
import modal
print(modal.Probe.with_tcp(8000))
print(modal.Probe.with_exec("a", "b", interval_ms=5))
print(modal.Probe.with_tcp(3) == modal.Probe(tcp_port=3), hash(modal.Probe(3)) == hash(modal.Probe(3)))
modal.Probe.with_tcp(True)

# %% objects-fine-1
import modal
from modal.object import Object
print(all(issubclass(c, Object) for c in (modal.Image, modal.Volume, modal.Secret, modal.Dict, modal.Queue, modal.Proxy, modal.Sandbox, modal.NetworkFileSystem, modal.Environment, modal.Workspace, modal.Cluster, modal.SandboxSnapshot)))
print(repr(modal.Environment.from_name("e")), modal.Environment.from_name("e").name)
print(repr(modal.Workspace.from_context()), modal.Workspace.from_context().name)
print(type(modal.Environment.from_name("e").members).__name__, type(modal.Environment.from_name("e").roles).__name__)
print(repr(modal.Cluster.from_id("cl-1")), modal.Cluster.from_id("cl-1").object_id)
print(repr(modal.SandboxSnapshot.from_id("sn-1")))
modal.Server()
print(type(modal.Server.from_name("a", "b")).__name__)
print(modal.forward(8000) is not None)
modal.forward("x"); print("ok")
modal.Volume.from_name("v").__class__.__name__
print(modal.Volume.__name__, modal.Volume.__module__ in ("modal.volume", "moorage.volume"))

# %% image-base-invalid-1
import modal
modal.Image()

# %% image-base-type-1
import modal
modal.Image.debian_slim(python_version=3.12)

# %% image-base-type-2
import modal
modal.Image.debian_slim(bad=1)

# %% image-base-type-3
import modal
modal.Image.from_registry()

# %% image-base-invalid-2
import modal
modal.Image.from_name("a b"); print("ok")

# %% image-base-attribute-1
import modal
modal.Image.from_name(3)

# %% image-base-invalid-3
import modal
modal.Image.from_name("")

# %% image-base-attribute-2
import modal
modal.Image.debian_slim().object_id

# %% image-base-attribute-3
import modal
modal.Image.debian_slim().pip_install("a").client

# %% image-pip-invalid-1
import modal
modal.Image.debian_slim().pip_install(["a", ["b"]])

# %% image-pip-invalid-2
import modal
modal.Image.debian_slim().pip_install(3)

# %% image-pip-invalid-3
import modal
modal.Image.debian_slim().pip_install("a", None)

# %% image-pip-type-1
import modal
modal.Image.debian_slim().pip_install("a", bad=1)

# %% image-pip-type-2
import modal
modal.Image.debian_slim().pip_install("a", secrets=3)

# %% image-pip-type-3
import modal
modal.Image.debian_slim().pip_install("a", secrets=modal.Secret.from_name("s"))

# %% image-pip-attribute-1
import modal
modal.Image.debian_slim().pip_install_private_repos(3, git_user="u", secrets=[modal.Secret.from_name("s")])

# %% image-apt-invalid-1
import modal
modal.Image.debian_slim().apt_install(3)

# %% image-apt-invalid-2
import modal
modal.Image.debian_slim().apt_install(["a", ["b"]])

# %% image-apt-invalid-3
import modal
modal.Image.micromamba().micromamba_install(3)

# %% image-apt-type-1
import modal
modal.Image.debian_slim().dockerfile_commands("RUN a", context_mount=3)

# %% image-set-invalid-1
import modal
modal.Image.debian_slim().env({"A": 1})

# %% image-set-attribute-1
import modal
modal.Image.debian_slim().env([("A", "1")])

# %% image-set-attribute-2
import modal
modal.Image.debian_slim().env("A=1")

# %% image-set-invalid-2
import modal
modal.Image.debian_slim().env({"A": None})

# %% image-set-type-1
import modal
modal.Image.debian_slim().env(A="1")

# %% image-set-type-2
import modal
modal.Image.debian_slim().env()

# %% image-set-attribute-3
import modal
modal.Image.debian_slim().env(3)

# %% image-set-invalid-3
import modal
modal.Image.debian_slim().entrypoint("a")

# %% image-set-type-3
import modal
modal.Image.debian_slim().pipe(3)

# %% image-local-invalid-1
import modal
modal.Image.debian_slim().add_local_file("nope", "a")

# %% image-local-invalid-2
import modal
modal.Image.debian_slim().add_local_file("nope", "a", copy=True); print("ok")

# %% image-local-type-1
import modal
modal.Image.debian_slim().add_local_file("nope")

# %% image-local-type-2
import modal
modal.Image.debian_slim().add_local_file(3, "/a")

# %% image-local-type-3
import modal
modal.Image.debian_slim().add_local_file("nope", 3)

# %% image-local-attribute-1
import modal
import pathlib; modal.Image.debian_slim().add_local_file(pathlib.Path("x"), pathlib.PurePosixPath("/a"))

# %% image-local-invalid-3
import modal
modal.Image.debian_slim().add_local_dir("nope", "a")

# %% image-gone-attribute-1
# differs: lenient
import modal
modal.Image.debian_slim().copy_local_file("a")

# %% image-gone-attribute-2
# differs: lenient
import modal
modal.Image.debian_slim().copy_local_dir("a")

# %% image-gone-attribute-3
# differs: lenient
import modal
modal.Image.debian_slim().copy_mount(3)

# %% image-docker-type-1
import modal
modal.Image.from_dockerfile(3); print("ok")

# %% image-docker-type-2
import modal
modal.Image.from_dockerfile("nope", context_mount=3)

# %% image-docker-invalid-1
import modal
modal.Image.from_dockerfile("nope", gpu=3)

# %% image-docker-type-3
import modal
modal.Image.from_dockerfile()

# %% image-docker-invalid-2
import modal
modal.Image.from_dockerfile("nope", env={"A": 1})

# %% image-func-invalid-1
import modal
modal.Image.debian_slim().run_function(lambda: 3); print("ok")

# %% image-func-invalid-2
import modal
modal.Image.debian_slim().run_function(3)

# %% image-func-type-1
import modal
def f(): pass
modal.Image.debian_slim().run_function(f, args=3); print("ok")

# %% image-func-invalid-3
import modal
def f(): pass
modal.Image.debian_slim().run_function(f, gpu=3)

# %% image-func-type-2
import modal
def f(): pass
modal.Image.debian_slim().run_function(f, region=3)

# %% image-func-type-3
# differs: lenient
import modal
def f(): pass
modal.Image.debian_slim().run_function(f, mounts=3)

# %% match-attribute-1
# differs: lenient
import modal
modal.FilePatternMatcher(3)(__import__("pathlib").Path("x"))

# %% match-value-1
import modal
modal.FilePatternMatcher("[a")(__import__("pathlib").Path("x"))

# %% match-value-2
import modal
modal.FilePatternMatcher("!")(__import__("pathlib").Path("x"))

# %% match-value-3
import modal
from pathlib import Path
m = modal.FilePatternMatcher(r"a\*b", "[]", "")
print([m(Path(p)) for p in ("a*b","axb","")])

# %% image-base-fine-1
# differs: lenient
import modal
modal.Image.debian_slim(python_version="2.7")
modal.Image.debian_slim("3.12"); print("ok")
modal.Image.debian_slim(python_version=3)
modal.Image.debian_slim("3.12.1"); print("ok")
modal.Image.debian_slim("3.8"); print("ok")
modal.Image.debian_slim("3.9"); print("ok")
modal.Image.debian_slim("3.15"); print("ok")
modal.Image.debian_slim("3.14t"); print("ok")
modal.Image.debian_slim("nonsense")
modal.Image.debian_slim("3")
modal.Image.debian_slim("")
modal.Image.debian_slim(force_build="x"); print("ok")
modal.Image.debian_slim(["3.12"])
modal.Image.micromamba("2.7")
modal.Image.micromamba(3.11)
modal.Image.from_registry("python:3.12"); print("ok")
modal.Image.from_registry("ubuntu", add_python="3.12"); print("ok")
modal.Image.from_registry("ubuntu", add_python="2.7")
modal.Image.from_registry("ubuntu", add_python=3.12)
modal.Image.from_registry("ubuntu", add_python="3.8")
modal.Image.from_registry("ubuntu", add_python="3.12.1"); print("ok")
modal.Image.from_registry(3); print("ok")
modal.Image.from_registry(""); print("ok")
modal.Image.from_registry("ubuntu", secret=3)
modal.Image.from_registry("ubuntu", setup_dockerfile_commands="RUN x"); print("ok")
modal.Image.from_registry("ubuntu", setup_dockerfile_commands=3)
modal.Image.from_registry("ubuntu", modal.Secret.from_name("s")); print("ok")
modal.Image.from_aws_ecr("x", modal.Secret.from_name("s")); print("ok")
modal.Image.from_aws_ecr("x"); print("ok")
modal.Image.from_gcp_artifact_registry("x", modal.Secret.from_name("s")); print("ok")

# %% image-base-fine-2
# differs: lenient
import modal
modal.Image.from_gcp_artifact_registry("x", 3); print("ok")
modal.Image.from_gcp_artifact_registry("x"); print("ok")
print(repr(modal.Image.from_id("im-1")))
modal.Image.from_id("im-1").object_id
print(repr(modal.Image.from_name("n")))
modal.Image.from_name("a:b"); print("ok")
i = modal.Image.debian_slim(); print(i == i.pip_install(), i is i.pip_install(), i is i.apt_install(), i is i.run_commands(), i is i.dockerfile_commands(), i is i.micromamba_install(), i is i.uv_pip_install(), i is i.env({}), i is i.pip_install([]))

# %% image-pip-fine-1
# differs: lenient
import modal
modal.Image.debian_slim().pip_install("a", "b==2"); print("ok")
modal.Image.debian_slim().pip_install(["a", "b"], "c"); print("ok")
modal.Image.debian_slim().pip_install("a", pre="x", find_links="l", index_url="i", extra_index_url="e", extra_options="-U"); print("ok")
modal.Image.debian_slim().pip_install("a", gpu="nonsense")
modal.Image.debian_slim().pip_install("a", gpu="any"); print("ok")
modal.Image.debian_slim().pip_install("a", gpu="H100:8"); print("ok")
modal.Image.debian_slim().pip_install("a", gpu="H100:99"); print("ok")
modal.Image.debian_slim().pip_install("a", secrets=(modal.Secret.from_name("s"),)); print("ok")
modal.Image.debian_slim().pip_install("a", secrets={}); print("ok")
modal.Image.debian_slim().pip_install("a", env={"A": "1", "B": None}); print("ok")
modal.Image.debian_slim().pip_install("a", env={}, secrets=[]); print("ok")
modal.Image.debian_slim().pip_install("a", env=[]); print("ok")
modal.Image.debian_slim().pip_install(secrets=[1]); print("ok")
modal.Image.debian_slim().uv_pip_install("a", ["b"]); print("ok")
modal.Image.debian_slim().uv_pip_install(requirements=["nope.txt"]); print("ok")
modal.Image.debian_slim().uv_pip_install(requirements=[3])
modal.Image.debian_slim().uv_pip_install("a", uv_version=3); print("ok")
modal.Image.debian_slim().uv_pip_install("a", uv_version="0.5"); print("ok")
modal.Image.debian_slim().uv_pip_install("a", extra_options="-x", pre=True); print("ok")
modal.Image.debian_slim().pip_install_from_requirements("nope.txt"); print("ok")
modal.Image.debian_slim().pip_install_from_requirements(3)
modal.Image.debian_slim().pip_install_from_pyproject("nope.toml"); print("ok")
modal.Image.debian_slim().pip_install_from_pyproject(3); print("ok")
modal.Image.debian_slim().pip_install_from_pyproject("x", optional_dependencies="dev"); print("ok")
modal.Image.debian_slim().pip_install_private_repos("github.com/a/b", git_user="u", secrets=[modal.Secret.from_name("s")]); print("ok")
modal.Image.debian_slim().pip_install_private_repos("gitlab.com/a/b@c", git_user="u", secrets=[modal.Secret.from_name("s")]); print("ok")
modal.Image.debian_slim().poetry_install_from_file("nope.toml"); print("ok")
modal.Image.debian_slim().poetry_install_from_file("nope.toml", ignore_lockfile=True); print("ok")
modal.Image.debian_slim().poetry_install_from_file("nope.toml", poetry_version=None, old_installer=True); print("ok")
modal.Image.debian_slim().uv_sync(); print("ok")

# %% image-pip-fine-2
# differs: lenient
import modal
modal.Image.debian_slim().uv_sync("nope"); print("ok")
modal.Image.debian_slim().uv_sync(groups=[1]); print("ok")
modal.Image.debian_slim().uv_sync(extras=["e"], groups=["g"], frozen=False); print("ok")
modal.Image.debian_slim().uv_sync(3)
modal.Image.debian_slim().uv_sync(uv_version=3); print("ok")

# %% image-apt-fine-1
# differs: lenient
import modal
modal.Image.debian_slim().apt_install("git", ["curl"]); print("ok")
modal.Image.debian_slim().micromamba_install("git", channels=["c"]); print("ok")
modal.Image.micromamba().micromamba_install(spec_file="nope.yml"); print("ok")
modal.Image.micromamba().micromamba_install(channels="c"); print("ok")
modal.Image.micromamba().micromamba_install("x", channels=3)
modal.Image.debian_slim().run_commands("a", ["b"]); print("ok")
modal.Image.debian_slim().run_commands("a", volumes={"/x": modal.Volume.from_name("v")}); print("ok")
modal.Image.debian_slim().dockerfile_commands("RUN a", ["RUN b"]); print("ok")
modal.Image.debian_slim().dockerfile_commands("COPY x y"); print("ok")
modal.Image.debian_slim().dockerfile_commands("RUN a", context_files={"/a": "nope"})
modal.Image.debian_slim().dockerfile_commands("RUN a", context_dir="nope"); print("ok")
modal.Image.debian_slim().dockerfile_commands("RUN a", ignore="x"); print("ok")
modal.Image.debian_slim().dockerfile_commands("RUN a", ignore=3)
modal.Image.debian_slim().dockerfile_commands("RUN a", build_args={"A": 1}); print("ok")
modal.Image.debian_slim().dockerfile_commands("RUN a", build_args=3); print("ok")

# %% image-set-fine-1
# differs: lenient
import modal
modal.Image.debian_slim().env({"A": "1"}); print("ok")
modal.Image.debian_slim().env({1: "1"}); print("ok")
modal.Image.debian_slim().workdir("/a"); print("ok")
modal.Image.debian_slim().workdir("a"); print("ok")
modal.Image.debian_slim().workdir(3)
import pathlib; modal.Image.debian_slim().workdir(pathlib.PurePosixPath("/a")); print("ok")
modal.Image.debian_slim().workdir(None)
modal.Image.debian_slim().entrypoint(["a"]); print("ok")
modal.Image.debian_slim().entrypoint([]); print("ok")
modal.Image.debian_slim().shell(["/bin/bash", "-c"]); print("ok")
modal.Image.debian_slim().cmd(["a"]); print("ok")
modal.Image.debian_slim().cmd([]); print("ok")
print(type(modal.Image.debian_slim().pipe(lambda i, n: i.pip_install(n), "a")).__name__)
modal.Image.debian_slim().pipe(lambda i: 3); print("ok")
print(modal.Image.debian_slim().pipe(lambda i, n, k: (n, k), "a", k=2))

# %% image-local-fine-1
# differs: lenient
import modal
modal.Image.debian_slim().add_local_file("nope", "/a"); print("ok")
modal.Image.debian_slim().add_local_file("nope", "/a/"); print("ok")
modal.Image.debian_slim().add_local_file("nope", "/a", copy="x"); print("ok")
modal.Image.debian_slim().add_local_dir("nope", "/a"); print("ok")
modal.Image.debian_slim().add_local_dir("nope", "/"); print("ok")
modal.Image.debian_slim().add_local_dir("nope", "/a", ignore=["*.py"]); print("ok")
modal.Image.debian_slim().add_local_dir("nope", "/a", ignore="*.py"); print("ok")
modal.Image.debian_slim().add_local_dir("nope", "/a", ignore=[3]); print("ok")
modal.Image.debian_slim().add_local_dir("nope", "/a", ignore=modal.FilePatternMatcher("x")); print("ok")
modal.Image.debian_slim().add_local_dir("nope", "/a", ignore=lambda p: True); print("ok")
modal.Image.debian_slim().add_local_python_source("json"); print("ok")
modal.Image.debian_slim().add_local_python_source("nope_module"); print("ok")
modal.Image.debian_slim().add_local_python_source(); print("ok")
modal.Image.debian_slim().add_local_python_source("json", ignore=3)
modal.Image.debian_slim().add_local_python_source("json", copy=True).pip_install("x"); print("ok")
modal.Image.debian_slim().add_local_python_source("nope_module", copy=True); print("ok")
modal.Image.debian_slim().add_local_python_source("a.b"); print("ok")
modal.Image.debian_slim().add_local_python_source(""); print("ok")

# %% image-after-fine-1
# differs: lenient
import modal
modal.Image.debian_slim().add_local_file("x", "/a").pip_install("a")
modal.Image.debian_slim().add_local_file("x", "/a").run_commands("a")
modal.Image.debian_slim().add_local_dir("x", "/a").env({"A": "1"})
modal.Image.debian_slim().add_local_dir("x", "/a").workdir("/x")
modal.Image.debian_slim().add_local_dir("x", "/a", copy=True).workdir("/x"); print("ok")
modal.Image.debian_slim().add_local_dir("x", "/a").add_local_file("x", "/b").add_local_python_source("json"); print("ok")
modal.Image.debian_slim().add_local_dir("x", "/a").add_local_file("x", "/b", copy=True)
modal.Image.debian_slim().add_local_dir("x", "/a").pip_install(); print("ok")
modal.Image.debian_slim().add_local_dir("x", "/a").run_function(print)
modal.Image.debian_slim().add_local_dir("x", "/a").dockerfile_commands("RUN a")
modal.Image.debian_slim().add_local_python_source("json").apt_install("a")
modal.Image.debian_slim().add_local_python_source("json").cmd(["a"])
modal.Image.debian_slim().add_local_python_source("json").entrypoint([])
modal.Image.debian_slim().add_local_python_source("json").shell(["a"])
modal.Image.debian_slim().add_local_python_source("json").uv_sync()
modal.Image.debian_slim().add_local_python_source().pip_install("a"); print("ok")
modal.Image.debian_slim().add_local_python_source("json").imports(); print("ok")
modal.Image.debian_slim().add_local_python_source("json").pipe(lambda i: i.env({"A": "1"}))

# %% image-docker-fine-1
# differs: lenient
import modal
modal.Image.from_dockerfile("nope"); print("ok")
modal.Image.from_dockerfile("nope", context_dir="x"); print("ok")
modal.Image.from_dockerfile("nope", gpu="T4"); print("ok")
modal.Image.from_dockerfile("nope", secrets=[1])
modal.Image.from_dockerfile("nope", build_args=3); print("ok")
modal.Image.from_dockerfile("nope", ignore=3)
modal.Image.from_dockerfile("nope", ignore=["*"]); print("ok")
modal.Image.from_dockerfile("nope", registry_secret=3); print("ok")

# %% image-func-fine-1
# differs: lenient
import modal
def f(): pass
modal.Image.debian_slim().run_function(f); print("ok")
modal.Image.debian_slim().run_function(print); print("ok")
def f(): pass
modal.Image.debian_slim().run_function(f, timeout="x")
def f(): pass
modal.Image.debian_slim().run_function(f, cpu="x")
def f(): pass
modal.Image.debian_slim().run_function(f, memory=-1)
def f(): pass
modal.Image.debian_slim().run_function(f, secrets=[1])
def f(): pass
modal.Image.debian_slim().run_function(f, kwargs={"a": 1}, args=(1,)); print("ok")
class C:      pass
modal.Image.debian_slim().run_function(C); print("ok")
async def f(): pass
modal.Image.debian_slim().run_function(f); print("ok")
def f():      yield 1
modal.Image.debian_slim().run_function(f); print("ok")

# %% image-imports-fine-1
# differs: lenient
import modal
i = modal.Image.debian_slim()
with i.imports():      import json
print(json.dumps(1))
i = modal.Image.debian_slim()
with i.imports():      import nope_module_x
print("ok")
i = modal.Image.debian_slim()
with i.imports():      raise ImportError("x")
print("ok")
i = modal.Image.debian_slim()
with i.imports():      1/0
i = modal.Image.debian_slim()
with i.imports() as x:      print(x)
i = modal.Image.debian_slim()
with i.imports():      raise ValueError("x")
i = modal.Image.debian_slim()
with i.imports():      import json.nope
i = modal.Image.debian_slim()
with i.imports():      from json import nope
import warnings
i = modal.Image.debian_slim()
with warnings.catch_warnings(record=True) as w:
     warnings.simplefilter("always")
     with i.imports():
          import nope_module_x
print([(x.category.__name__, str(x.message)) for x in w])

# %% match-fine-1
# differs: lenient
import modal
from pathlib import Path
m = modal.FilePatternMatcher("**/*.py")
print([m(Path(p)) for p in ("a.py","d/a.py","d/e/a.py","a.txt",".py","a.py/x")])
from pathlib import Path
m = modal.FilePatternMatcher("*.py")
print([m(Path(p)) for p in ("a.py","d/a.py","./a.py")])
from pathlib import Path
m = modal.FilePatternMatcher("*.py", "!b.py")
print([m(Path(p)) for p in ("a.py","b.py")])
from pathlib import Path
m = modal.FilePatternMatcher("!b.py", "*.py")
print([m(Path(p)) for p in ("a.py","b.py")])
from pathlib import Path
m = modal.FilePatternMatcher("d")
print([m(Path(p)) for p in ("d","d/a","d/e/f","x/d")])
from pathlib import Path
m = modal.FilePatternMatcher("/d/")
print([m(Path(p)) for p in ("d","d/a","x/d")])
from pathlib import Path
m = modal.FilePatternMatcher("**/d")
print([m(Path(p)) for p in ("d","d/a","x/d","x/d/a")])
from pathlib import Path
m = modal.FilePatternMatcher("**")
print([m(Path(p)) for p in ("d","d/a",".x")])
from pathlib import Path
m = modal.FilePatternMatcher("d/**")
print([m(Path(p)) for p in ("d","d/a","d/a/b")])
from pathlib import Path
m = modal.FilePatternMatcher("a?c","[xy].z","[^a-c]q")
print([m(Path(p)) for p in ("abc","a/c","x.z","y.z","w.z","aq","dq","^q")])
from pathlib import Path
m = modal.FilePatternMatcher()
print(m(Path("x")), (~m)(Path("x")))
from pathlib import Path
m = modal.FilePatternMatcher("a.b+c(d)")
print([m(Path(p)) for p in ("a.b+c(d)","aXb+c(d)")])
from pathlib import Path
m = modal.FilePatternMatcher("d/**/f")
print([m(Path(p)) for p in ("d/f","d/a/f","d/a/b/f","dxf","d/xf")])
from pathlib import Path
m = modal.FilePatternMatcher("d", "!d/a")
print([m(Path(p)) for p in ("d","d/a","d/b","d/a/c")])
from pathlib import Path
m = modal.FilePatternMatcher("**/*.py", "!**/keep/**")
print([m(Path(p)) for p in ("a.py","keep/a.py","x/keep/y/a.py")])
modal.FilePatternMatcher(3); print("ok")
modal.FilePatternMatcher(["a"])
print(modal.FilePatternMatcher("a")("a"))
print(modal.FilePatternMatcher("a")("/x/a"), modal.FilePatternMatcher("a")(3))
modal.FilePatternMatcher("!"); print("ok")
modal.FilePatternMatcher.from_file("nope")
print(modal.FilePatternMatcher("a").can_prune_directories(), (~modal.FilePatternMatcher("a")).can_prune_directories())
from modal.file_pattern_matcher import NON_PYTHON_FILES
from pathlib import Path
print([NON_PYTHON_FILES(Path(p)) for p in ("a.py","d/a.py","a.txt","a.pyc","__pycache__/a.py")])
from pathlib import Path
m = modal.FilePatternMatcher("./a", "b/../c", "  s  ", "t/")
print([m(Path(p)) for p in ("a","c","s","t","t/x","b")])
from pathlib import Path
print(modal.FilePatternMatcher("a")(Path("/a")), modal.FilePatternMatcher("/a")(Path("/a")), modal.FilePatternMatcher("a")(Path("../a")), modal.FilePatternMatcher("**/a")(Path("/x/a")))
from pathlib import Path
m = modal.FilePatternMatcher("**.py", "a**b", "**/")
print([m(Path(p)) for p in ("a.py","d/a.py","axb","a/b","a/x/b","q")])
from pathlib import Path
m = modal.FilePatternMatcher(".*", "!.keep")
print([m(Path(p)) for p in (".a",".keep","d/.a")])
from pathlib import Path
m = modal.FilePatternMatcher("*", "!d/*.py")
print([m(Path(p)) for p in ("a","d/a.py","d/b","d")])
from pathlib import Path
m = modal.FilePatternMatcher("**/*", "!**/*.py")
print([m(Path(p)) for p in ("a","d/a.py","d/b","d","x.py/y")])

# %% imports-more-keyboardinterrupt-1
import modal
i = modal.Image.debian_slim()
with i.imports():      raise KeyboardInterrupt

# %% imports-more-systemexit-1
import modal
i = modal.Image.debian_slim()
with i.imports():      raise SystemExit(3)

# %% server-make-attribute-1
# differs: fault: the object_id of a Server speaks of a Function
import modal
modal.Server.from_name("a", "b").object_id

# %% eph-type-1
import modal
c = modal.Queue.ephemeral(version=3)

# %% aio-attribute-1
import modal
modal.Dict.from_name("d").nope

# %% aio-invalid-1
import modal
modal.Sandbox.create(3)

# %% aio-type-1
import modal
modal.Sandbox.create(bad=3)

# %% aio-type-2
import modal
modal.Sandbox.from_id()

# %% cs-invalid-1
import modal
import modal.mount; modal.mount.Mount()

# %% cs-attribute-1
# differs: lenient
import modal
import modal.mount; modal.mount.Mount.from_local_dir("x")

# %% cs-invalid-2
import modal
modal.Volume.objects.create("a b")

# %% cs-type-1
import modal
modal.Volume.objects.create()

# %% cs-type-2
import modal
modal.Volume.from_name("v").objects.list(nope=1)

# %% image-defer-fine-1
# differs: lenient
import modal
modal.Image.debian_slim(python_version="2.7"); print("ok")

# %% server-make-fine-1
import modal
s = modal.Server(); print(type(s).__name__)
s = modal.Server.from_name("a b", "b c"); print("ok")
s = modal.Server.from_name(3, 4); print("ok")
s = modal.Server.from_id("x"); print("ok")

# %% probe-more-fine-1
import modal
print(modal.Probe.with_tcp(True))

# %% place-more-fine-1
# differs: lenient
import modal
modal.SchedulerPlacement(spot="x"); print("ok")

# %% eph-fine-1
import modal
c = modal.Volume.ephemeral(); print(hasattr(c, "__enter__"), hasattr(c, "__aenter__"))
c = modal.Dict.ephemeral(); print(hasattr(c, "__enter__"), hasattr(c, "__aenter__"))

# %% aio-fine-1
import modal
print([hasattr(getattr(modal.Dict, n), "aio") for n in ("get","put","__getitem__","keys","from_name","ephemeral")])
print([hasattr(getattr(modal.Dict.from_name("d"), n), "aio") for n in ("get","put","hydrate","keys","info")])
print(hasattr(modal.Image.debian_slim().build, "aio"), hasattr(modal.Sandbox.create, "aio"), hasattr(modal.forward, "aio"), hasattr(modal.Image.from_id, "aio"))
import inspect; print(inspect.isasyncgen(modal.Dict.from_name("d").keys.aio()))
import inspect; c = modal.Dict.from_name("d").get.aio("x"); print(inspect.iscoroutine(c)); c.close()

# %% cs-fine-1
import modal
print([n for n in ("tls_socket","tcp_socket","url") if hasattr(modal.Tunnel, n)])
from modal.sandbox import Sandbox, Probe, SidecarContainer, SidecarManager; print(Sandbox is modal.Sandbox)
from modal.image import Image; from modal.volume import Volume; from modal.secret import Secret; from modal.dict import Dict; from modal.queue import Queue; print(Image is modal.Image, Volume is modal.Volume, Secret is modal.Secret, Dict is modal.Dict, Queue is modal.Queue)
from modal.schedule import Cron, Period; from modal.proxy import Proxy; from modal.client import Client; from modal.mount import Mount; print(Cron is modal.Cron, Period is modal.Period, Proxy is modal.Proxy, Client is modal.Client, Mount.__name__)
from modal.io_streams import StreamReader, StreamWriter; from modal.container_process import ContainerProcess; print(StreamReader.__name__, StreamWriter.__name__, ContainerProcess.__name__)
from modal.cloud_bucket_mount import CloudBucketMount; from modal.network_file_system import NetworkFileSystem; print(CloudBucketMount is modal.CloudBucketMount, NetworkFileSystem is modal.NetworkFileSystem)
from modal.volume import FileEntry, FileEntryType, VolumeUploadContextManager; print(FileEntryType.FILE, list(FileEntryType))
from modal.types import FileEntry, FileEntryType; e = FileEntry(path="a", type=FileEntryType.FILE, mtime=1, size=2); print(e)
import modal.mount; print(modal.mount.Mount.from_name("x"))
from modal.file_pattern_matcher import FilePatternMatcher, NON_PYTHON_FILES; print(FilePatternMatcher is modal.FilePatternMatcher, callable(NON_PYTHON_FILES))
import copy; v = modal.Volume.from_name("v"); print(copy.copy(v).name)
class V(modal.Volume):      pass
print(V.from_name("x"))
print(modal.Dict.from_name("d") == modal.Dict.from_name("d"))

# %% matchx-value-1
import modal
from pathlib import Path
print([modal.FilePatternMatcher("[z-a]")(Path(p)) for p in ("a",)])

# %% matchx-fine-1
import modal
from pathlib import Path
print([modal.FilePatternMatcher("a**b")(Path(p)) for p in ("axb","a/b","a/x/b","ab","axxb")])
from pathlib import Path
print([modal.FilePatternMatcher("**.py")(Path(p)) for p in ("a.py","d/a.py",".py","a.pyc")])
from pathlib import Path
print([modal.FilePatternMatcher("**/")(Path(p)) for p in ("a","d/a")])
from pathlib import Path
print([modal.FilePatternMatcher("*", "! b.py")(Path(p)) for p in ("b.py","c.py")])
from pathlib import Path
print([modal.FilePatternMatcher(r"a\*b")(Path(p)) for p in ("a*b","axb")])
from pathlib import Path
print([modal.FilePatternMatcher("[]a]")(Path(p)) for p in ("a","]")])
from pathlib import Path
print([modal.FilePatternMatcher("[a-]x")(Path(p)) for p in ("ax","-x","bx")])
from pathlib import Path
print([modal.FilePatternMatcher("[!a]x")(Path(p)) for p in ("ax","!x","bx")])
from pathlib import Path
print([modal.FilePatternMatcher("a$b^c")(Path(p)) for p in ("a$b^c","abc")])
from pathlib import Path
print([modal.FilePatternMatcher("{a,b}|c")(Path(p)) for p in ("{a,b}|c","a","c")])
from pathlib import Path
print([modal.FilePatternMatcher("/")(Path(p)) for p in ("a","/","/a")])
from pathlib import Path
print([modal.FilePatternMatcher("//a")(Path(p)) for p in ("a","/a","b")])
from pathlib import Path
print([modal.FilePatternMatcher("**/node_modules", "!**/node_modules/keep")(Path(p)) for p in ("node_modules/a","x/node_modules/keep","x/node_modules/keep/z","y")])
from pathlib import Path
print([modal.FilePatternMatcher("!**/*.py")(Path(p)) for p in ("a.py","b")])
from pathlib import Path
print([(~modal.FilePatternMatcher("**/*.py"))(Path(p)) for p in ("a.py","b")], (~~modal.FilePatternMatcher("*.py"))(Path("a.py")))
from pathlib import Path
print([modal.FilePatternMatcher("a/*/c")(Path(p)) for p in ("a/b/c","a/b/b/c","a//c","a/c")])
from pathlib import Path
print([modal.FilePatternMatcher("**/a/**")(Path(p)) for p in ("a","a/b","x/a","x/a/b")])
from pathlib import Path
print([modal.FilePatternMatcher("***")(Path(p)) for p in ("a","a/b")], [modal.FilePatternMatcher("a/***/b")(Path(p)) for p in ("a/b","a/x/b","a/xb")])
from pathlib import Path
print([modal.FilePatternMatcher("a\\")(Path(p)) for p in ("a","a\\")])
from pathlib import Path
print([modal.FilePatternMatcher(r"[\]]x")(Path(p)) for p in ("]x","\\x")])
from pathlib import Path
print([modal.FilePatternMatcher("A.PY")(Path(p)) for p in ("a.py","A.PY")])
from pathlib import Path
print([modal.FilePatternMatcher("a", "!a", "a/b")(Path(p)) for p in ("a","a/b","a/c")])
from pathlib import Path
print([modal.FilePatternMatcher("\n.py")(Path(p)) for p in (".py","x.py")])
from pathlib import Path
print([modal.FilePatternMatcher("a/..")(Path(p)) for p in ("a","b")], [modal.FilePatternMatcher("!a/..", "b")(Path(p)) for p in ("a","b")])

# %% more-invalid-1
import modal
app = modal.App('a')
@app.function(image=0)
def f(): return 1
print(f.local())

# %% more-invalid-2
import modal
app = modal.App('a')
@app.function(image='')
def f(): return 1
print(f.local())

# %% more-invalid-3
import modal
app = modal.App('a')
@app.function(network_file_systems={"/root": modal.NetworkFileSystem.from_name("v")})
def f(): return 1
print(f.local())

# %% more-type-1
import modal
modal.Image.debian_slim().add_local_dir("x", 3); print("ok")

# %% more-type-2
import modal
def f(): pass
modal.Image.debian_slim().run_function(f, secrets=3); print("ok")

# %% more-type-3
import modal
def f(): pass
modal.Image.debian_slim().run_function(f, kwargs=3); print("ok")

# %% more-value-1
import modal
app = modal.App('a')
@app.cls()
class C:      pass
C.with_options(memory=(1,2,3)); print("ok")

# %% more-fine-1
# differs: lenient
import modal
app = modal.App('a')
@app.function(volumes={"/root/x": modal.Volume.from_name("v")})
def f(): return 1
print(f.local())
app = modal.App('a')
v = modal.NetworkFileSystem.from_name("v")
@app.function(network_file_systems={"/x": v, "/y": v})
def f(): return 1
print(f.local())
app = modal.App('a', secrets=(modal.Secret.from_name("s"),)); print("ok")
app = modal.App('a', tags={}); print("ok")
modal.Image.debian_slim().add_local_dir("x", __import__("pathlib").PurePosixPath("/a")); print("ok")
def f(): pass
modal.Image.debian_slim().run_function(f, gpu=["T4", "A100"]); print("ok")
modal.Image.debian_slim().uv_sync(extras=[1]); print("ok")
modal.Image.debian_slim().run_commands(gpu=3, volumes=3, secrets=[1]); print("ok")
modal.Image.from_registry("x", setup_dockerfile_commands=[3]); print("ok")
modal.Image.debian_slim().shell([]); print("ok")
modal.Image.debian_slim().pip_install("a", env={}, secrets=None, gpu=""); print("ok")
import inspect; print([type(inspect.getattr_static(modal.Image, n)).__name__ for n in ("debian_slim","pip_install")])

# %% more-fine-2
# differs: lenient
import modal
print(modal.Image.from_id("im-1").hydrate)if 0 else modal.Image.from_id(3)
modal.Image.from_name("a/b"); print("ok")
i = modal.Image.debian_slim(); print(i.add_local_python_source() is i, i.env({}) is i, i.add_local_file("x", "/y") is i)
app = modal.App('a')
@app.function(gpu=['T4'])
def f(): return 1
print(f.local())
app = modal.App('a')
@app.function(gpu=[])
def f(): return 1
print(f.local())
app = modal.App('a')
@app.cls()
class C:      pass
C.with_options(secrets=None, volumes={}); print("ok")
app = modal.App('a')
@app.cls()
class C:      pass
C.with_options(secrets=3); print("ok")
app = modal.App('a')
@app.cls()
class C:      pass
C.with_options(cpu=(1,2,3)); print("ok")
app = modal.App('a')
@app.cls()
class C:      pass
C.with_options(memory=0); print("ok")

# %% fn-image-invalid-1
import modal
app = modal.App('a')
@app.function(image=3)
def f():
     return 1
print(f.local())

# %% fn-image-invalid-2
import modal
app = modal.App('a')
@app.function(image='x')
def f():
     return 1
print(f.local())

# %% fn-image-invalid-3
import modal
app = modal.App('a')
@app.function(image=modal.Image)
def f():
     return 1
print(f.local())

# %% fn-schedule-attribute-1
import modal
app = modal.App('a')
@app.function(schedule=3)
def f():
     return 1
print(f.local())

# %% fn-schedule-attribute-2
import modal
app = modal.App('a')
@app.function(schedule='* * * * *')
def f():
     return 1
print(f.local())

# %% fn-schedule-attribute-3
import modal
app = modal.App('a')
@app.function(schedule=modal.Period)
def f():
     return 1
print(f.local())

# %% fn-env-invalid-1
import modal
app = modal.App('a')
@app.function(env=3)
def f():
     return 1
print(f.local())

# %% fn-env-invalid-2
import modal
app = modal.App('a')
@app.function(env={'A': 1})
def f():
     return 1
print(f.local())

# %% fn-env-invalid-3
import modal
app = modal.App('a')
@app.function(env={1: 'a'})
def f():
     return 1
print(f.local())

# %% fn-secrets-type-1
import modal
app = modal.App('a')
@app.function(secrets=3)
def f():
     return 1
print(f.local())

# %% fn-secrets-type-2
import modal
app = modal.App('a')
@app.function(secrets=modal.Secret.from_name('s'))
def f():
     return 1
print(f.local())

# %% fn-gpu-invalid-1
import modal
app = modal.App('a')
@app.function(gpu=3)
def f():
     return 1
print(f.local())

# %% fn-gpu-invalid-2
import modal
app = modal.App('a')
@app.function(gpu='T4:x')
def f():
     return 1
print(f.local())

# %% fn-gpu-value-1
import modal
app = modal.App('a')
@app.function(gpu='T4:-1')
def f():
     return 1
print(f.local())

# %% fn-gpu-invalid-3
import modal
app = modal.App('a')
@app.function(gpu=['T4', 3])
def f():
     return 1
print(f.local())

# %% fn-network_file_systems-invalid-1
import modal
app = modal.App('a')
@app.function(network_file_systems=3)
def f():
     return 1
print(f.local())

# %% fn-network_file_systems-invalid-2
import modal
app = modal.App('a')
@app.function(network_file_systems={'x': modal.NetworkFileSystem.from_name('n')})
def f():
     return 1
print(f.local())

# %% fn-network_file_systems-invalid-3
import modal
app = modal.App('a')
@app.function(network_file_systems={'/x': 1})
def f():
     return 1
print(f.local())

# %% fn-network_file_systems-type-1
import modal
app = modal.App('a')
@app.function(network_file_systems={3: modal.NetworkFileSystem.from_name('n')})
def f():
     return 1
print(f.local())

# %% fn-volumes-type-1
import modal
app = modal.App('a')
@app.function(volumes=3)
def f():
     return 1
print(f.local())

# %% fn-volumes-invalid-1
import modal
app = modal.App('a')
@app.function(volumes={'x': modal.Volume.from_name('v')})
def f():
     return 1
print(f.local())

# %% fn-volumes-invalid-2
import modal
app = modal.App('a')
@app.function(volumes={'x': 1})
def f():
     return 1
print(f.local())

# %% fn-volumes-invalid-3
import modal
app = modal.App('a')
@app.function(volumes={'/x': 1})
def f():
     return 1
print(f.local())

# %% fn-volumes-type-2
import modal
app = modal.App('a')
@app.function(volumes=None)
def f():
     return 1
print(f.local())

# %% fn-volumes-type-3
import modal
app = modal.App('a')
@app.function(volumes=[])
def f():
     return 1
print(f.local())

# %% fn-volumes-value-1
import modal
app = modal.App('a')
@app.function(volumes={'/x': modal.CloudBucketMount('b', key_prefix='a')})
def f():
     return 1
print(f.local())

# %% fn-volumes-value-2
import modal
app = modal.App('a')
@app.function(volumes={'/x': modal.CloudBucketMount('b', requester_pays=True)})
def f():
     return 1
print(f.local())

# %% fn-region-type-1
import modal
app = modal.App('a')
@app.function(region=3)
def f():
     return 1
print(f.local())

# %% fn-region-type-2
import modal
app = modal.App('a')
@app.function(region=[3])
def f():
     return 1
print(f.local())

# %% fn-region-type-3
import modal
app = modal.App('a')
@app.function(region=True)
def f():
     return 1
print(f.local())

# %% fn-nonpreemptible-type-1
import modal
app = modal.App('a')
@app.function(nonpreemptible='x')
def f():
     return 1
print(f.local())

# %% fn-experimental_options-attribute-1
import modal
app = modal.App('a')
@app.function(experimental_options=3)
def f():
     return 1
print(f.local())

# %% fn-experimental_options-attribute-2
import modal
app = modal.App('a')
@app.function(experimental_options='x')
def f():
     return 1
print(f.local())

# %% app-image-invalid-1
import modal
app = modal.App('a', image=3)
print('made')
@app.function()
def f():
     return 1
print(f.local())

# %% app-image-invalid-2
import modal
app = modal.App('a', image='x')
print('made')
@app.function()
def f():
     return 1
print(f.local())

# %% app-image-invalid-3
import modal
app = modal.App('a', image=modal.Image)
print('made')
@app.function()
def f():
     return 1
print(f.local())

# %% app-secrets-invalid-1
import modal
app = modal.App('a', secrets=3)
print('made')
@app.function()
def f():
     return 1
print(f.local())

# %% app-secrets-invalid-2
import modal
app = modal.App('a', secrets=[1])
print('made')
@app.function()
def f():
     return 1
print(f.local())

# %% app-secrets-invalid-3
import modal
app = modal.App('a', secrets=modal.Secret.from_name('s'))
print('made')
@app.function()
def f():
     return 1
print(f.local())

# %% app-volumes-invalid-1
import modal
app = modal.App('a', volumes=3)
print('made')
@app.function()
def f():
     return 1
print(f.local())

# %% app-volumes-invalid-2
import modal
app = modal.App('a', volumes={'x': modal.Volume.from_name('v')})
print('made')
@app.function()
def f():
     return 1
print(f.local())

# %% app-volumes-invalid-3
import modal
app = modal.App('a', volumes={'x': 1})
print('made')
@app.function()
def f():
     return 1
print(f.local())

# %% app-volumes-type-1
import modal
app = modal.App('a', volumes={3: modal.Volume.from_name('v')})
print('made')
@app.function()
def f():
     return 1
print(f.local())

# %% app-volumes-type-2
import modal
app = modal.App('a', volumes={b'/x': modal.Volume.from_name('v')})
print('made')
@app.function()
def f():
     return 1
print(f.local())

# %% app-volumes-type-3
import modal
app = modal.App('a', volumes={'/x': modal.CloudBucketMount(3)})
print('made')
@app.function()
def f():
     return 1
print(f.local())

# %% app-volumes-value-1
import modal
app = modal.App('a', volumes={'/x': modal.CloudBucketMount('b', key_prefix='a')})
print('made')
@app.function()
def f():
     return 1
print(f.local())

# %% app-volumes-value-2
import modal
app = modal.App('a', volumes={'/x': modal.CloudBucketMount('b', requester_pays=True)})
print('made')
@app.function()
def f():
     return 1
print(f.local())

# %% app-tags-attribute-1
import modal
app = modal.App('a', tags=3)
print('made')
@app.function()
def f():
     return 1
print(f.local())

# %% app-tags-type-1
import modal
app = modal.App('a', tags={'a': 1})
print('made')
@app.function()
def f():
     return 1
print(f.local())

# %% app-tags-type-2
import modal
app = modal.App('a', tags={1: 'a'})
print('made')
@app.function()
def f():
     return 1
print(f.local())

# %% app-tags-attribute-2
import modal
app = modal.App('a', tags=[])
print('made')
@app.function()
def f():
     return 1
print(f.local())

# %% app-tags-attribute-3
import modal
app = modal.App('a', tags='x')
print('made')
@app.function()
def f():
     return 1
print(f.local())

# %% app-tags-invalid-1
import modal
app = modal.App('a', tags={'a b': 'c'})
print('made')
@app.function()
def f():
     return 1
print(f.local())

# %% app-tags-invalid-2
import modal
app = modal.App('a', tags={'': ''})
print('made')
@app.function()
def f():
     return 1
print(f.local())

# %% app-tags-invalid-3
import modal
app = modal.App('a', tags={'a'*100: 'b'})
print('made')
@app.function()
def f():
     return 1
print(f.local())

# %% app-tags-type-3
import modal
app = modal.App('a', tags={'a': None})
print('made')
@app.function()
def f():
     return 1
print(f.local())

# %% cross-invalid-1
import modal
app = modal.App('a')
@app.function(schedule=modal.Period(days=1))
def f(x): return x
print(f.local(1))

# %% cross-invalid-2
import modal
app = modal.App('a')
@app.function(schedule=modal.Period(days=1))
def f(*, k): return 1
print(1)

# %% cross-type-1
import modal
app = modal.App('a')
@app.cls(schedule=modal.Period(days=1))
class C:      pass

# %% cross-invalid-3
import modal
app = modal.App('a', volumes={"/x": modal.Volume.from_name("v")})
@app.function(volumes={"y": modal.Volume.from_name("w")})
def f(): return 1
print(f.local())

# %% cross-type-2
# differs: lenient
import modal
app = modal.App('a')
@app.function(mounts=[])
def f(): return 1

# %% cross-type-3
# differs: lenient
import modal
app = modal.App('a')
@app.function(secret=modal.Secret.from_name("s"))
def f(): return 1

# %% cross-attribute-1
import modal
print(modal.App('a').image)

# %% fn-image-fine-1
import modal
app = modal.App('a')
@app.function(image=None)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(image=modal.Image.debian_slim())
def f():
     return 1
print(f.local())

# %% fn-schedule-fine-1
import modal
app = modal.App('a')
@app.function(schedule=modal.Cron('* * * * *'))
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(schedule=modal.Period(days=1))
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(schedule=None)
def f():
     return 1
print(f.local())

# %% fn-env-fine-1
# differs: lenient
import modal
app = modal.App('a')
@app.function(env={'A': '1', 'B': None})
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(env={})
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(env='')
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(env=[])
def f():
     return 1
print(f.local())

# %% fn-secrets-fine-1
# differs: lenient
import modal
app = modal.App('a')
@app.function(secrets=[1])
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(secrets=None)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(secrets=[])
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(secrets=(modal.Secret.from_name('s'),))
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(secrets={'A': '1'})
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(secrets='x')
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(secrets=[modal.Secret])
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(secrets=[None])
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(secrets=iter([modal.Secret.from_name('s')]))
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(secrets=[modal.Secret.from_name('s')] * 2)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(secrets='')
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(secrets=0)
def f():
     return 1
print(f.local())

# %% fn-gpu-fine-1
# differs: lenient
import modal
app = modal.App('a')
@app.function(gpu='T4')
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(gpu='nonsense')
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(gpu='T4:2')
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(gpu='T4:0')
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(gpu='T4:99')
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(gpu='')
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(gpu=['T4', 'A100'])
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(gpu=[])
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(gpu=False)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(gpu=0)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(gpu=None)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(gpu=':2')
def f():
     return 1
print(f.local())

# %% fn-gpu-fine-2
# differs: lenient
import modal
app = modal.App('a')
@app.function(gpu='t4')
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(gpu='any')
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(gpu=[None])
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(gpu='T4, A100')
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(gpu='A100-80GB:2')
def f():
     return 1
print(f.local())

# %% fn-network_file_systems-fine-1
import modal
app = modal.App('a')
@app.function(network_file_systems={'/x': modal.NetworkFileSystem.from_name('n')})
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(network_file_systems={})
def f():
     return 1
print(f.local())

# %% fn-volumes-fine-1
import modal
app = modal.App('a')
@app.function(volumes={'/x': modal.Volume.from_name('v')})
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(volumes={})
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(volumes={'/a/': modal.Volume.from_name('v')})
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(volumes={'/a//b': modal.Volume.from_name('v')})
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(volumes={'/x': modal.CloudBucketMount('b')})
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(volumes={'/x': modal.Volume.from_name('v'), '/y': modal.Volume.from_name('v')})
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(volumes={'/x': modal.Volume.from_name('v'), '/x/': modal.Volume.from_name('w')})
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(volumes=(lambda v: {'/x': v, '/y': v})(modal.CloudBucketMount('b')))
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(volumes={__import__('pathlib').PurePosixPath('/x'): modal.Volume.from_name('v')})
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(volumes={__import__('pathlib').Path('/x'): modal.Volume.from_name('v')})
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(volumes={'/__modal': modal.Volume.from_name('v')})
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(volumes={'/__modal/x': modal.Volume.from_name('v')})
def f():
     return 1
print(f.local())

# %% fn-volumes-fine-2
import modal
app = modal.App('a')
@app.function(volumes={'/x y': modal.Volume.from_name('v')})
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(volumes=(lambda v: {'/x': v, '/y': v.read_only()})(modal.Volume.from_name('v')))
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(volumes={'/x': modal.CloudBucketMount('b', bucket_endpoint_url='http://x', oidc_auth_role_arn='y')})
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(volumes={'/x': modal.CloudBucketMount('b', bucket_endpoint_url='nonsense')})
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(volumes={'/x': modal.CloudBucketMount('b', oidc_auth_role_arn='a', secret=modal.Secret.from_name('s'))})
def f():
     return 1
print(f.local())

# %% fn-cpu-fine-1
# differs: lenient
import modal
app = modal.App('a')
@app.function(cpu='1')
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(cpu=1)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(cpu=0.5)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(cpu=0)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(cpu=-1)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(cpu=(1, 2))
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(cpu=(2, 1))
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(cpu=[1, 2])
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(cpu=(1,))
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(cpu=(1, 2, 3))
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(cpu=True)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(cpu=None)
def f():
     return 1
print(f.local())

# %% fn-cpu-fine-2
# differs: lenient
import modal
app = modal.App('a')
@app.function(cpu=0.01)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(cpu=1e9)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(cpu=float('nan'))
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(cpu=('a', 'b'))
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(cpu=(1, None))
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(cpu=(None, 2))
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(cpu={})
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(cpu='')
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(cpu=0.1)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(cpu=float('inf'))
def f():
     return 1
print(f.local())

# %% fn-memory-fine-1
# differs: lenient
import modal
app = modal.App('a')
@app.function(memory='1')
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(memory=1)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(memory=512)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(memory=0)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(memory=-1)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(memory=(1, 2))
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(memory=(2, 1))
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(memory=[1, 2])
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(memory=(1,))
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(memory=True)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(memory=None)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(memory=1.5)
def f():
     return 1
print(f.local())

# %% fn-memory-fine-2
# differs: lenient
import modal
app = modal.App('a')
@app.function(memory=1e9)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(memory=10**12)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(memory=(512, None))
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(memory=('a','b'))
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(memory='')
def f():
     return 1
print(f.local())

# %% fn-ephemeral_disk-fine-1
# differs: lenient
import modal
app = modal.App('a')
@app.function(ephemeral_disk='1')
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(ephemeral_disk=1)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(ephemeral_disk=0)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(ephemeral_disk=-1)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(ephemeral_disk=1.5)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(ephemeral_disk=524288)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(ephemeral_disk=None)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(ephemeral_disk=10**12)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(ephemeral_disk=True)
def f():
     return 1
print(f.local())

# %% fn-proxy-fine-1
# differs: lenient
import modal
app = modal.App('a')
@app.function(proxy=3)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(proxy=modal.Proxy.from_name('p'))
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(proxy=None)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(proxy='p')
def f():
     return 1
print(f.local())

# %% fn-cloud-fine-1
# differs: lenient
import modal
app = modal.App('a')
@app.function(cloud=3)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(cloud='aws')
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(cloud='nonsense')
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(cloud='')
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(cloud=None)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(cloud=['aws'])
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(cloud=True)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(cloud='AWS')
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(cloud='auto')
def f():
     return 1
print(f.local())

# %% fn-region-fine-1
import modal
app = modal.App('a')
@app.function(region='us-east')
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(region=['us', 'eu'])
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(region=('us',))
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(region='')
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(region=[])
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(region=None)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(region={'us'})
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(region='nonsense')
def f():
     return 1
print(f.local())

# %% fn-routing_region-fine-1
# differs: lenient
import modal
app = modal.App('a')
@app.function(routing_region=3)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(routing_region='us-east')
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(routing_region='nonsense')
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(routing_region='')
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(routing_region=None)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(routing_region=['us'])
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(routing_region=True)
def f():
     return 1
print(f.local())

# %% fn-nonpreemptible-fine-1
# differs: lenient
import modal
app = modal.App('a')
@app.function(nonpreemptible=3)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(nonpreemptible=True)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(nonpreemptible=None)
def f():
     return 1
print(f.local())

# %% fn-block_network-fine-1
# differs: lenient
import modal
app = modal.App('a')
@app.function(block_network=3)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(block_network=True)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(block_network='x')
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(block_network=None)
def f():
     return 1
print(f.local())

# %% fn-restrict_modal_access-fine-1
# differs: lenient
import modal
app = modal.App('a')
@app.function(restrict_modal_access=3)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(restrict_modal_access=True)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(restrict_modal_access='x')
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(restrict_modal_access=None)
def f():
     return 1
print(f.local())

# %% fn-i6pn-fine-1
# differs: lenient
import modal
app = modal.App('a')
@app.function(i6pn=3)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(i6pn=True)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(i6pn=False)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(i6pn='x')
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(i6pn=None)
def f():
     return 1
print(f.local())

# %% fn-include_source-fine-1
# differs: lenient
import modal
app = modal.App('a')
@app.function(include_source=3)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(include_source=True)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(include_source=False)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(include_source='x')
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(include_source=None)
def f():
     return 1
print(f.local())

# %% fn-experimental_options-fine-1
# differs: lenient
import modal
app = modal.App('a')
@app.function(experimental_options={'a': 1})
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(experimental_options={1: 'a'})
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(experimental_options=[])
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(experimental_options=None)
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(experimental_options={})
def f():
     return 1
print(f.local())
app = modal.App('a')
@app.function(experimental_options={'a': object()})
def f():
     return 1
print(f.local())

# %% app-image-fine-1
import modal
app = modal.App('a', image=None)
print('made')
@app.function()
def f():
     return 1
print(f.local())
app = modal.App('a', image=modal.Image.debian_slim())
print('made')
@app.function()
def f():
     return 1
print(f.local())

# %% app-secrets-fine-1
import modal
app = modal.App('a', secrets=[])
print('made')
@app.function()
def f():
     return 1
print(f.local())
app = modal.App('a', secrets=(modal.Secret.from_name('s'),))
print('made')
@app.function()
def f():
     return 1
print(f.local())
app = modal.App('a', secrets=[modal.Secret.from_name('s')] * 2)
print('made')
@app.function()
def f():
     return 1
print(f.local())

# %% app-volumes-fine-1
import modal
app = modal.App('a', volumes={'/x': modal.Volume.from_name('v')})
print('made')
@app.function()
def f():
     return 1
print(f.local())
app = modal.App('a', volumes={})
print('made')
@app.function()
def f():
     return 1
print(f.local())
app = modal.App('a', volumes={'/a/': modal.Volume.from_name('v')})
print('made')
@app.function()
def f():
     return 1
print(f.local())
app = modal.App('a', volumes={'/a//b': modal.Volume.from_name('v')})
print('made')
@app.function()
def f():
     return 1
print(f.local())
app = modal.App('a', volumes={'/x': modal.CloudBucketMount('b')})
print('made')
@app.function()
def f():
     return 1
print(f.local())
app = modal.App('a', volumes={'/x': modal.Volume.from_name('v'), '/y': modal.Volume.from_name('v')})
print('made')
@app.function()
def f():
     return 1
print(f.local())
app = modal.App('a', volumes={'/x': modal.Volume.from_name('v'), '/x/': modal.Volume.from_name('w')})
print('made')
@app.function()
def f():
     return 1
print(f.local())
app = modal.App('a', volumes=(lambda v: {'/x': v, '/y': v})(modal.CloudBucketMount('b')))
print('made')
@app.function()
def f():
     return 1
print(f.local())
app = modal.App('a', volumes={__import__('pathlib').PurePosixPath('/x'): modal.Volume.from_name('v')})
print('made')
@app.function()
def f():
     return 1
print(f.local())
app = modal.App('a', volumes={__import__('pathlib').Path('/x'): modal.Volume.from_name('v')})
print('made')
@app.function()
def f():
     return 1
print(f.local())
app = modal.App('a', volumes={'/__modal': modal.Volume.from_name('v')})
print('made')
@app.function()
def f():
     return 1
print(f.local())
app = modal.App('a', volumes={'/__modal/x': modal.Volume.from_name('v')})
print('made')
@app.function()
def f():
     return 1
print(f.local())

# %% app-volumes-fine-2
import modal
app = modal.App('a', volumes={'/x y': modal.Volume.from_name('v')})
print('made')
@app.function()
def f():
     return 1
print(f.local())
app = modal.App('a', volumes=(lambda v: {'/x': v, '/y': v.read_only()})(modal.Volume.from_name('v')))
print('made')
@app.function()
def f():
     return 1
print(f.local())
app = modal.App('a', volumes={'/x': modal.CloudBucketMount('b', bucket_endpoint_url='http://x', oidc_auth_role_arn='y')})
print('made')
@app.function()
def f():
     return 1
print(f.local())
app = modal.App('a', volumes={'/x': modal.CloudBucketMount('b', bucket_endpoint_url='nonsense')})
print('made')
@app.function()
def f():
     return 1
print(f.local())
app = modal.App('a', volumes={'/x': modal.CloudBucketMount('b', oidc_auth_role_arn='a', secret=modal.Secret.from_name('s'))})
print('made')
@app.function()
def f():
     return 1
print(f.local())

# %% app-tags-fine-1
import modal
app = modal.App('a', tags={'a': 'b'})
print('made')
@app.function()
def f():
     return 1
print(f.local())
app = modal.App('a', tags={})
print('made')
@app.function()
def f():
     return 1
print(f.local())
app = modal.App('a', tags=None)
print('made')
@app.function()
def f():
     return 1
print(f.local())
app = modal.App('a', tags={f'k{i}': 'v' for i in range(60)})
print('made')
@app.function()
def f():
     return 1
print(f.local())

# %% app-include_source-fine-1
# differs: lenient
import modal
app = modal.App('a', include_source=3)
print('made')
@app.function()
def f():
     return 1
print(f.local())
app = modal.App('a', include_source=True)
print('made')
@app.function()
def f():
     return 1
print(f.local())
app = modal.App('a', include_source=None)
print('made')
@app.function()
def f():
     return 1
print(f.local())
app = modal.App('a', include_source='x')
print('made')
@app.function()
def f():
     return 1
print(f.local())

# %% cross-fine-1
import modal
app = modal.App('a')
@app.function(schedule=modal.Period(days=1))
def f(x=1): return x
print(f.local())
app = modal.App('a')
@app.function(schedule=modal.Period(days=1))
def f(*a): return 1
print(f.local())
app = modal.App('a')
@app.function(schedule=modal.Period(days=1))
def f(**k): return 1
print(1)
app = modal.App('a')
v = modal.Volume.from_name("v")
@app.function(volumes={"/x": v}, network_file_systems={"/x": modal.NetworkFileSystem.from_name("n")})
def f(): return 1
print(f.local())
app = modal.App('a', volumes={"/x": modal.Volume.from_name("v")})
@app.function(volumes={"/x": modal.Volume.from_name("w")})
def f(): return 1
print(f.local())
app = modal.App('a')
@app.function(region="us", cloud="aws")
def f(): return 1
print(f.local())
app = modal.App('a')
@app.function(region="us", routing_region="eu")
def f(): return 1
print(f.local())
app = modal.App('a')
@app.function(gpu="T4", cpu=1.0, memory=1)
def f(): return 1
print(f.local())
app = modal.App('a')
@app.function(gpu=["T4","A100"], cpu=1.0)
def f(): return 1
print(f.local())
app = modal.App('a')
@app.function(block_network=True, proxy=modal.Proxy.from_name("p"))
def f(): return 1
print(f.local())
app = modal.App('a')
@app.function(block_network=True, i6pn=True)
def f(): return 1
print(f.local())
app = modal.App('a')
@app.function(block_network=True, volumes={"/x": modal.CloudBucketMount("b")})
def f(): return 1
print(f.local())

# %% cross-fine-2
# differs: lenient
import modal
app = modal.App('a')
@app.function(nonpreemptible=True, gpu="T4")
def f(): return 1
print(f.local())
app = modal.App('a')
@app.function(nonpreemptible=True, gpu=["T4"])
def f(): return 1
print(f.local())
app = modal.App('a')
@app.function(env={"A": "1"}, secrets=[modal.Secret.from_name("s")])
def f(): return 1
print(f.local())
app = modal.App('a')
@app.function(env={"A": "1"}, secrets=[1])
def f(): return 1
print(f.local())
app = modal.App('a')
app.image = 3
print("set")
app = modal.App('a')
i = modal.Image.debian_slim()
app.image = i
print(app.image is i)
app = modal.App('a')
d = app.function(gpu=3)
print("made")
app = modal.App('a')
d = app.function(volumes=3)
print("made")
app = modal.App('a')
d = app.function(schedule=3)
print("made")
app = modal.App('a')
d = app.cls(gpu=3)
print("made")
app = modal.App('a')
d = app.cls(volumes=3)
print("made")
modal.App('a', tags={"x": "y"}, image=modal.Image.debian_slim(), secrets=[], volumes={}); print("ok")

# %% cls-gpu-invalid-1
import modal
app = modal.App('a')
@app.cls(gpu=3)
class C:
     @modal.method()
     def m(self): return 1
print(C().m.local())

# %% cls-gpu-value-1
import modal
app = modal.App('a')
@app.cls(gpu='T4:-1')
class C:
     @modal.method()
     def m(self): return 1
print(C().m.local())

# %% cls-volumes-type-1
import modal
app = modal.App('a')
@app.cls(volumes=3)
class C:
     @modal.method()
     def m(self): return 1
print(C().m.local())

# %% cls-volumes-invalid-1
import modal
app = modal.App('a')
@app.cls(volumes={'x': modal.Volume.from_name('v')})
class C:
     @modal.method()
     def m(self): return 1
print(C().m.local())

# %% cls-volumes-value-1
import modal
app = modal.App('a')
@app.cls(volumes={'/x': modal.CloudBucketMount('b', key_prefix='a')})
class C:
     @modal.method()
     def m(self): return 1
print(C().m.local())

# %% cls-schedule-type-1
import modal
app = modal.App('a')
@app.cls(schedule=3)
class C:
     @modal.method()
     def m(self): return 1
print(C().m.local())

# %% opt-cpu-value-1
import modal
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(cpu=-1)
print(D().m.local())

# %% opt-cpu-invalid-1
import modal
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(cpu=(2, 1))
print(D().m.local())

# %% opt-cpu-index-1
import modal
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(cpu=(1,))
print(D().m.local())

# %% opt-cpu-overflow-1
import modal
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(cpu=float('inf'))
print(D().m.local())

# %% opt-memory-value-1
import modal
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(memory=-1)
print(D().m.local())

# %% opt-memory-invalid-1
import modal
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(memory=(2, 1))
print(D().m.local())

# %% opt-memory-type-1
import modal
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(memory=True)
print(D().m.local())

# %% opt-gpu-invalid-1
import modal
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(gpu=3)
print(D().m.local())

# %% opt-gpu-value-1
import modal
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(gpu='T4:-1')
print(D().m.local())

# %% opt-env-invalid-1
import modal
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(env=3)
print(D().m.local())

# %% opt-secrets-type-1
# differs: fault: wrong secrets of with_options on a class are found by accident, on use
import modal
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(secrets=3)
print(D().m.local())

# %% opt-volumes-invalid-1
import modal
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(volumes=3)
print(D().m.local())

# %% opt-volumes-type-1
import modal
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(volumes={3: modal.Volume.from_name('v')})
print(D().m.local())

# %% opt-volumes-value-1
import modal
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(volumes={'/x': modal.CloudBucketMount('b', key_prefix='a')})
print(D().m.local())

# %% opt-region-type-1
import modal
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(region=3)
print(D().m.local())

# %% fopt-gpu-invalid-1
import modal
app = modal.App('a')
@app.function()
def f():
     return 1
g = f.with_options(gpu=3)
print(g.local())

# %% fopt-env-invalid-1
import modal
app = modal.App('a')
@app.function()
def f():
     return 1
g = f.with_options(env=3)
print(g.local())

# %% fopt-secrets-type-1
import modal
app = modal.App('a')
@app.function()
def f():
     return 1
g = f.with_options(secrets=3)
print(g.local())

# %% fopt-volumes-invalid-1
import modal
app = modal.App('a')
@app.function()
def f():
     return 1
g = f.with_options(volumes=3)
print(g.local())

# %% fopt-region-type-1
import modal
app = modal.App('a')
@app.function()
def f():
     return 1
g = f.with_options(region=3)
print(g.local())

# %% opt-cpu-fine-1
# differs: lenient
import modal
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(cpu='1')
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(cpu=1)
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(cpu=0.5)
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(cpu=0)
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(cpu=(1, 2))
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(cpu=[1, 2])
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(cpu=(1, 2, 3))
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(cpu=True)
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(cpu=None)
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(cpu=0.01)
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(cpu={})
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(cpu='')
print(D().m.local())

# %% opt-cpu-fine-2
import modal
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(cpu=0.1)
print(D().m.local())

# %% opt-memory-fine-1
# differs: lenient
import modal
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(memory='1')
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(memory=1)
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(memory=512)
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(memory=0)
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(memory=(1, 2))
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(memory=[1, 2])
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(memory=None)
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(memory=1.5)
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(memory=1e9)
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(memory='')
print(D().m.local())

# %% opt-gpu-fine-1
# differs: lenient
import modal
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(gpu='T4')
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(gpu='nonsense')
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(gpu='T4:2')
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(gpu='T4:0')
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(gpu='T4:99')
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(gpu='')
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(gpu=[])
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(gpu=False)
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(gpu=0)
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(gpu=None)
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(gpu=':2')
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(gpu='t4')
print(D().m.local())

# %% opt-gpu-fine-2
import modal
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(gpu='any')
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(gpu='T4, A100')
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(gpu='A100-80GB:2')
print(D().m.local())

# %% opt-env-fine-1
# differs: lenient
import modal
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(env={'A': '1', 'B': None})
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(env={})
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(env='')
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(env=[])
print(D().m.local())

# %% opt-secrets-fine-1
# differs: lenient
import modal
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(secrets=[1])
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(secrets=None)
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(secrets=[])
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(secrets=(modal.Secret.from_name('s'),))
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(secrets={'A': '1'})
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(secrets='x')
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(secrets=[modal.Secret])
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(secrets=[None])
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(secrets=[modal.Secret.from_name('s')] * 2)
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(secrets='')
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(secrets=0)
print(D().m.local())

# %% opt-volumes-fine-1
import modal
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(volumes={'/x': modal.Volume.from_name('v')})
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(volumes={})
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(volumes={'/a/': modal.Volume.from_name('v')})
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(volumes={'/a//b': modal.Volume.from_name('v')})
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(volumes={'/x': modal.CloudBucketMount('b')})
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(volumes={'/x': modal.Volume.from_name('v'), '/y': modal.Volume.from_name('v')})
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(volumes={'/x': modal.Volume.from_name('v'), '/x/': modal.Volume.from_name('w')})
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(volumes=(lambda v: {'/x': v, '/y': v})(modal.CloudBucketMount('b')))
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(volumes={__import__('pathlib').PurePosixPath('/x'): modal.Volume.from_name('v')})
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(volumes={__import__('pathlib').Path('/x'): modal.Volume.from_name('v')})
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(volumes={'/__modal': modal.Volume.from_name('v')})
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(volumes={'/__modal/x': modal.Volume.from_name('v')})
print(D().m.local())

# %% opt-volumes-fine-2
import modal
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(volumes={'/x y': modal.Volume.from_name('v')})
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(volumes=(lambda v: {'/x': v, '/y': v.read_only()})(modal.Volume.from_name('v')))
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(volumes={'/x': modal.CloudBucketMount('b', bucket_endpoint_url='http://x', oidc_auth_role_arn='y')})
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(volumes={'/x': modal.CloudBucketMount('b', bucket_endpoint_url='nonsense')})
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(volumes={'/x': modal.CloudBucketMount('b', oidc_auth_role_arn='a', secret=modal.Secret.from_name('s'))})
print(D().m.local())

# %% opt-region-fine-1
# differs: lenient
import modal
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(region='us-east')
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(region=['us', 'eu'])
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(region=('us',))
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(region='')
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(region=[])
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(region=None)
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(region={'us'})
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(region=0)
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(region='nonsense')
print(D().m.local())

# %% opt-cloud-fine-1
# differs: lenient
import modal
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(cloud=3)
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(cloud='aws')
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(cloud='nonsense')
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(cloud='')
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(cloud=None)
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(cloud=['aws'])
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(cloud=True)
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(cloud='AWS')
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(cloud='auto')
print(D().m.local())

# %% opt-routing_region-fine-1
# differs: lenient
import modal
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(routing_region=3)
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(routing_region='us-east')
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(routing_region='nonsense')
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(routing_region='')
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(routing_region=None)
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(routing_region=['us'])
print(D().m.local())
app = modal.App('a')
@app.cls()
class C:
     @modal.method()
     def m(self): return 1
D = C.with_options(routing_region=True)
print(D().m.local())

# %% fopt-cpu-fine-1
# differs: lenient
import modal
app = modal.App('a')
@app.function()
def f():
     return 1
g = f.with_options(cpu='1')
print(g.local())
app = modal.App('a')
@app.function()
def f():
     return 1
g = f.with_options(cpu=1)
print(g.local())
app = modal.App('a')
@app.function()
def f():
     return 1
g = f.with_options(cpu=0.5)
print(g.local())
app = modal.App('a')
@app.function()
def f():
     return 1
g = f.with_options(cpu=0)
print(g.local())

# %% fopt-memory-fine-1
# differs: lenient
import modal
app = modal.App('a')
@app.function()
def f():
     return 1
g = f.with_options(memory='1')
print(g.local())
app = modal.App('a')
@app.function()
def f():
     return 1
g = f.with_options(memory=1)
print(g.local())
app = modal.App('a')
@app.function()
def f():
     return 1
g = f.with_options(memory=512)
print(g.local())
app = modal.App('a')
@app.function()
def f():
     return 1
g = f.with_options(memory=0)
print(g.local())

# %% fopt-gpu-fine-1
import modal
app = modal.App('a')
@app.function()
def f():
     return 1
g = f.with_options(gpu='T4')
print(g.local())
app = modal.App('a')
@app.function()
def f():
     return 1
g = f.with_options(gpu='nonsense')
print(g.local())
app = modal.App('a')
@app.function()
def f():
     return 1
g = f.with_options(gpu='T4:2')
print(g.local())

# %% fopt-env-fine-1
import modal
app = modal.App('a')
@app.function()
def f():
     return 1
g = f.with_options(env={'A': '1', 'B': None})
print(g.local())

# %% fopt-secrets-fine-1
# differs: lenient
import modal
app = modal.App('a')
@app.function()
def f():
     return 1
g = f.with_options(secrets=[1])
print(g.local())
app = modal.App('a')
@app.function()
def f():
     return 1
g = f.with_options(secrets=None)
print(g.local())

# %% fopt-volumes-fine-1
import modal
app = modal.App('a')
@app.function()
def f():
     return 1
g = f.with_options(volumes={'/x': modal.Volume.from_name('v')})
print(g.local())

# %% fopt-region-fine-1
import modal
app = modal.App('a')
@app.function()
def f():
     return 1
g = f.with_options(region='us-east')
print(g.local())
app = modal.App('a')
@app.function()
def f():
     return 1
g = f.with_options(region=['us', 'eu'])
print(g.local())
app = modal.App('a')
@app.function()
def f():
     return 1
g = f.with_options(region=('us',))
print(g.local())

# %% fopt-cloud-fine-1
# differs: lenient
import modal
app = modal.App('a')
@app.function()
def f():
     return 1
g = f.with_options(cloud=3)
print(g.local())
app = modal.App('a')
@app.function()
def f():
     return 1
g = f.with_options(cloud='aws')
print(g.local())
app = modal.App('a')
@app.function()
def f():
     return 1
g = f.with_options(cloud='nonsense')
print(g.local())
app = modal.App('a')
@app.function()
def f():
     return 1
g = f.with_options(cloud='')
print(g.local())

