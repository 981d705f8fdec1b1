"""Images, secrets, volumes, schedules: what they take without a network."""
# %% image-chain
import modal
image = (
    modal.Image.debian_slim(python_version="3.11")
    .apt_install("git", "curl")
    .pip_install("numpy", "pandas==2.0")
    .run_commands("echo hi")
    .env({"A": "b"})
    .workdir("/root")
)
print(type(image).__name__)
# %% image-constructor
import modal
modal.Image()
# %% image-from-registry
import modal
print(type(modal.Image.from_registry("ubuntu:22.04", add_python="3.11")).__name__)
# %% image-uv
import modal
print(type(modal.Image.debian_slim().uv_pip_install("torch")).__name__)
# %% image-env-not-str
import modal
modal.Image.debian_slim().env({"A": 3})
# %% image-pip-install-not-str
import modal
modal.Image.debian_slim().pip_install(3)
# %% image-pip-install-list
import modal
print(type(modal.Image.debian_slim().pip_install(["a", "b"])).__name__)
# %% image-unknown-method
# differs: lenient
import modal
modal.Image.debian_slim().brew_install("git")
# %% image-old-copy
# differs: lenient
import modal
modal.Image.debian_slim().copy_local_dir(".", "/x")
# %% image-run-function
import modal
def download():
    pass
print(type(modal.Image.debian_slim().run_function(download)).__name__)
# %% image-add-local-python-source
import modal
print(type(modal.Image.debian_slim().add_local_python_source("json")).__name__)
# %% image-micromamba
import modal
print(type(modal.Image.micromamba().micromamba_install("x")).__name__)
# %% image-dockerfile-commands
import modal
print(type(modal.Image.debian_slim().dockerfile_commands("RUN true")).__name__)
# %% image-entrypoint
import modal
print(type(modal.Image.debian_slim().entrypoint(["a"])).__name__)
# %% image-pip-install-from-requirements
import modal
print(type(modal.Image.debian_slim().pip_install_from_requirements("requirements.txt")).__name__)
# %% image-on-a-function
import modal
app = modal.App("a")
@app.function(image=modal.Image.debian_slim())
def f(x):
    return x
print(f.local(1))
# %% image-str-on-a-function
import modal
app = modal.App("a")
@app.function(image="debian")
def f(x):
    return x
# %% secret-from-name
import modal
print(type(modal.Secret.from_name("s")).__name__)
# %% secret-from-name-keys
import modal
print(type(modal.Secret.from_name("s", required_keys=["A"])).__name__)
# %% secret-from-dict
import modal
print(type(modal.Secret.from_dict({"A": "b", "C": None})).__name__)
# %% secret-from-dict-int
import modal
modal.Secret.from_dict({"A": 3})
# %% secret-from-dict-list
import modal
modal.Secret.from_dict(["A"])
# %% secret-from-dotenv
import modal
print(type(modal.Secret.from_dotenv()).__name__)
# %% secret-from-local-environ
import os
import modal
os.environ["MY_KEY"] = "1"
print(type(modal.Secret.from_local_environ(["MY_KEY"])).__name__)
# %% secret-from-local-environ-missing
import modal
modal.Secret.from_local_environ(["NO_SUCH_KEY_HERE"])
# %% secret-constructor
import modal
modal.Secret()
# %% secrets-str-on-a-function
# differs: lenient
import modal
app = modal.App("a")
@app.function(secrets=["s"])
def f(x):
    return x
# %% secrets-not-a-list
import modal
app = modal.App("a")
@app.function(secrets=modal.Secret.from_name("s"))
def f(x):
    return x
# %% volume-from-name
import modal
print(type(modal.Volume.from_name("v", create_if_missing=True)).__name__)
# %% volume-bad-name
import modal
modal.Volume.from_name("has spaces")
# %% volume-constructor
import modal
modal.Volume()
# %% volume-ephemeral
# differs: network
import modal
with modal.Volume.ephemeral() as volume:
    print("inside")
# %% volumes-on-a-class
import modal
app = modal.App("a")
@app.cls(volumes={"/data": modal.Volume.from_name("v")})
class C:
    @modal.method()
    def f(self):
        return 1
print(C().f.local())
# %% volumes-relative-path
import modal
app = modal.App("a")
@app.function(volumes={"data": modal.Volume.from_name("v")})
def f(x):
    return x
# %% volumes-root
import modal
app = modal.App("a")
@app.function(volumes={"/": modal.Volume.from_name("v")})
def f(x):
    return x
# %% volumes-not-a-dict
import modal
app = modal.App("a")
@app.function(volumes=[modal.Volume.from_name("v")])
def f(x):
    return x
# %% one-volume-twice
import modal
app = modal.App("a")
v = modal.Volume.from_name("v")
@app.function(volumes={"/a": v, "/b": v})
def f(x):
    return x
# %% volume-read-only
import modal
print(type(modal.Volume.from_name("v").with_mount_options(read_only=True)).__name__)
# %% dict-from-name
import modal
print(type(modal.Dict.from_name("d", create_if_missing=True)).__name__)
# %% dict-bad-name
import modal
modal.Dict.from_name("a/b")
# %% dict-constructor
import modal
modal.Dict()
# %% queue-from-name
import modal
print(type(modal.Queue.from_name("q", create_if_missing=True)).__name__)
# %% queue-bad-name
import modal
modal.Queue.from_name("")
# %% queue-constructor
import modal
modal.Queue()
# %% queue-lookup
# differs: lenient
import modal
modal.Queue.lookup("q")
# %% period
import modal
print(type(modal.Period(days=1, hours=2, minutes=3, seconds=4.5)).__name__)
# %% period-positional
import modal
modal.Period(1)
# %% period-str
import modal
modal.Period(days="1")
# %% period-empty
# differs: lenient
import modal
print(type(modal.Period()).__name__)
# %% cron
import modal
print(type(modal.Cron("* * * * *")).__name__, type(modal.Cron("0 6 * * *", timezone="America/New_York")).__name__)
# %% cron-nonsense
# differs: lenient
import modal
print(type(modal.Cron("whenever")).__name__)
# %% cron-nothing
import modal
modal.Cron()
# %% cloud-bucket
import modal
print(type(modal.CloudBucketMount("bucket", read_only=True)).__name__)
# %% network-file-system
import modal
print(type(modal.NetworkFileSystem.from_name("n")).__name__)
# %% proxy
import modal
print(type(modal.Proxy.from_name("p")).__name__)
# %% mount
# differs: lenient
import modal
modal.Mount.from_local_dir(".")
# %% gpu-classes
# differs: lenient
import modal
modal.gpu.A100(count=2)
