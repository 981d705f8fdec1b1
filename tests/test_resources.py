"""The cloud's objects: they are made, chained and shown as in Modal, and pretend nothing."""

import asyncio
import copy
import importlib
import logging
import os
import pickle
from pathlib import Path, PurePosixPath

import pytest

import moorage as modal
from moorage.cluster import Cluster
from moorage.exception import DeprecationError, InvalidError, UnimplementedError
from moorage.file_pattern_matcher import NON_PYTHON_FILES
from moorage.mount import Mount
from moorage.object import Object
from moorage.schedule import Schedule
from moorage.stream_type import StreamType

SLIM = modal.Image.debian_slim()
VOLUME = modal.Volume.from_name("v")
DICT = modal.Dict.from_name("d", create_if_missing=True)
QUEUE = modal.Queue.from_name("q", create_if_missing=True)


def network_file_system():
    with pytest.warns(DeprecationError, match=r"write modal\.Volume"):
        return modal.NetworkFileSystem.from_name("n", create_if_missing=True)


@pytest.fixture(params=[True, False], ids=["strict", "lenient"])
def strict(request, monkeypatch):
    monkeypatch.setattr(modal.config, "strict", request.param)
    return request.param


def mark(name):
    return f"an image for {name}"


def made_volume():
    return modal.Volume.from_name("v", create_if_missing=True)


class Registered:
    _moorage_registered = True

    def __call__(self):
        pass


def made_secret(environment=None, **more):
    modal.Secret.objects.create("s", {}, allow_existing=True, environment_name=environment)
    return modal.Secret.from_name("s", environment_name=environment, **more)


MADE = [
    (made_secret, "modal.Secret.from_name('s')"),
    (
        lambda: made_secret("e", required_keys=["A"]),
        "modal.Secret.from_name('s', environment_name='e')",
    ),
    (lambda: modal.Secret.from_dict({"A": "1", "B": None}), "Secret.from_dict([A, B])"),
    (lambda: modal.Secret.from_local_environ(["PATH"]), "Secret.from_dict([PATH])"),
    (lambda: modal.Secret.from_dotenv("/", filename="x"), "Secret.from_dotenv()"),
    (made_volume, "modal.Volume.from_name('v')"),
    (lambda: made_volume().read_only(), "Volume()"),
    (lambda: made_volume().with_mount_options(read_only=True, sub_path="a"), "Volume()"),
    (lambda: DICT, "modal.Dict.from_name('d')"),
    (lambda: QUEUE, "modal.Queue.from_name('q')"),
    (network_file_system, "NetworkFileSystem()"),
    (lambda: modal.Proxy.from_name("p"), "modal.Proxy.from_name('p')"),
    (lambda: modal.Image.from_id("im-1"), "Image.from_id('im-1')"),
    (lambda: modal.Image.from_name("a:b"), "modal.Image.from_name('a:b')"),
    (lambda: modal.Environment.from_name("e"), "Environment.from_name('e')"),
    (lambda: modal.Workspace.from_context(), "Workspace.from_context()"),
    (lambda: Cluster.from_id("cl-1"), "modal.Cluster.from_id('cl-1')"),
    (lambda: modal.SandboxSnapshot.from_id("sn-1"), "SandboxSnapshot()"),
    (lambda: Mount.from_name("m"), "Mount()"),
]


@pytest.mark.parametrize(("make", "shown"), MADE, ids=[shown for _, shown in MADE])
def test_placeholders_are_shown_as_in_modal(make, shown, strict):
    made = make()
    assert isinstance(made, Object)
    assert repr(made) == shown
    assert made.hydrate() is made
    assert asyncio.run(made.hydrate.aio()) is made
    with pytest.raises(AttributeError):
        made.client
    with pytest.raises(UnimplementedError):
        made.get_dashboard_url()


def test_names_and_ids():
    assert (VOLUME.name, DICT.name, VOLUME.read_only().name) == ("v", "d", "v")
    assert modal.Volume.from_id("vo-1").name is modal.Secret.from_dict().name is None
    assert modal.Image.from_id("im-1").object_id == "im-1"
    assert not hasattr(VOLUME, "object_id")


@pytest.mark.parametrize(
    ("kind", "also"),
    [
        *[(kind, Exception) for kind in (modal.Image, modal.Volume, modal.Secret, modal.Proxy)],
        *[(kind, Exception) for kind in (modal.Sandbox, modal.SandboxSnapshot, Mount, Object)],
        *[(kind, RuntimeError) for kind in (modal.Dict, modal.Queue)],
        *[(kind, RuntimeError) for kind in (modal.Environment, modal.Workspace)],
    ],
)
def test_classes_say_which_method_makes_them(kind, also):
    with pytest.raises(InvalidError, match="makes nothing by itself; write ") as caught:
        kind()
    assert isinstance(caught.value, also)


@pytest.mark.parametrize("name", ["a b", "", "a" * 65, "é", "a/b", "ap-" + "a" * 22, 3, None])
@pytest.mark.parametrize(
    "kind",
    [modal.Volume, modal.Dict, modal.Queue, modal.NetworkFileSystem],
    ids=lambda k: k.__name__,
)
def test_impossible_names(kind, name, strict):
    with pytest.raises(InvalidError, match="; write ") as caught:
        kind.from_name(name)
    assert isinstance(caught.value, TypeError) is not isinstance(name, str)


# Refused where they are written, in Modal too.
WRONG = [
    (lambda: modal.Secret.from_dict({"A": 1}), InvalidError),
    (lambda: modal.Secret.from_dict({1: "a"}), InvalidError),
    (lambda: modal.Secret.from_dict([("A", "1")]), InvalidError),
    (lambda: modal.Secret.from_local_environ(["NOT_SET_ANYWHERE"]), InvalidError),
    (lambda: modal.Secret.from_local_environ(3), TypeError),
    (lambda: modal.Secret.from_local_environ([3]), TypeError),
    (lambda: VOLUME.read_only().with_mount_options(read_only=False), InvalidError),
    (lambda: VOLUME.with_mount_options(sub_path=3), TypeError),
    (lambda: modal.Volume.objects.create("a b"), InvalidError),
    (lambda: modal.Queue.validate_partition_key(""), InvalidError),
    (lambda: modal.Queue.validate_partition_key("a" * 65), InvalidError),
    (lambda: modal.Queue.validate_partition_key(3), AttributeError),
    (lambda: modal.Environment.from_name("en-a"), InvalidError),
    (lambda: modal.Environment.from_name(3), TypeError),
    (lambda: Cluster.from_context(), InvalidError),
    (lambda: modal.Cron(3), TypeError),
    (lambda: modal.Cron("* * * * *", timezone=3), TypeError),
    (lambda: modal.Period(days=1.5), TypeError),
    (lambda: modal.Period(days=True), TypeError),
    (lambda: modal.Period(days=2**40), ValueError),
    (lambda: modal.Period(seconds="x"), TypeError),
    (lambda: modal.SchedulerPlacement(region=3), TypeError),
    (lambda: modal.SchedulerPlacement(region=["us", 3]), TypeError),
    (lambda: modal.SchedulerPlacement(zone=3), TypeError),
    (lambda: modal.Probe(), InvalidError),
    (lambda: modal.Probe(tcp_port=3, exec_argv=("a",)), InvalidError),
    (lambda: modal.Probe.with_tcp(0), InvalidError),
    (lambda: modal.Probe.with_tcp("80"), InvalidError),
    (lambda: modal.Probe.with_tcp(80, interval_ms=1.5), InvalidError),
    (lambda: modal.Probe.with_exec(), InvalidError),
    (lambda: modal.Probe.with_exec(3), InvalidError),
    (lambda: modal.Sandbox.create(3), InvalidError),
    (lambda: modal.Sandbox.create("a", workdir="x"), InvalidError),
    (lambda: modal.Sandbox.create("a", name="a b"), InvalidError),
    (lambda: modal.Sandbox.create("a", block_network=True, h2_ports=[1]), InvalidError),
    (lambda: modal.Sandbox.create("a", volumes={"x": 1}), InvalidError),
    (lambda: modal.Image.debian_slim(python_version=3.12), TypeError),
    (lambda: modal.Image.from_dockerfile(3), TypeError),
    (lambda: modal.Image.from_name("a:b:c"), InvalidError),
    (lambda: modal.Image.from_name(3), AttributeError),
    (lambda: SLIM.pip_install(["a", ["b"]]), InvalidError),
    (lambda: SLIM.pip_install(("a", "b")), InvalidError),
    (lambda: SLIM.pip_install("a", gpu=3), InvalidError),
    (lambda: SLIM.pip_install("a", env={"A": 1}), InvalidError),
    (lambda: SLIM.pip_install("a", secrets=[1]), InvalidError),
    (lambda: SLIM.pip_install("a", secrets=3), TypeError),
    (lambda: SLIM.pip_install_private_repos("github.com/a/b", git_user="u"), InvalidError),
    (lambda: SLIM.uv_pip_install(requirements="x.txt"), InvalidError),
    (lambda: SLIM.uv_sync(groups="dev"), InvalidError),
    (lambda: SLIM.apt_install(3), InvalidError),
    (lambda: SLIM.run_commands("a", volumes={"x": VOLUME}), InvalidError),
    (lambda: SLIM.run_commands("a", volumes={"/x": modal.CloudBucketMount("b")}), InvalidError),
    (lambda: SLIM.env({"A": 1}), InvalidError),
    (lambda: SLIM.env([]), AttributeError),
    (lambda: SLIM.entrypoint("a"), InvalidError),
    (lambda: SLIM.shell(("a",)), InvalidError),
    (lambda: SLIM.cmd([1]), InvalidError),
    (lambda: SLIM.add_local_file("x", "a"), InvalidError),
    (lambda: SLIM.add_local_file(3, "/a"), TypeError),
    (lambda: SLIM.add_local_dir("x", 3), TypeError),
    (lambda: SLIM.add_local_dir("x", "/a", ignore=3), TypeError),
    (lambda: SLIM.add_local_python_source(os), InvalidError),
    (lambda: SLIM.run_function(3), InvalidError),
    (lambda: SLIM.run_function(lambda: 3), InvalidError),
    (lambda: SLIM.run_function(Registered()), InvalidError),
    (lambda: SLIM.run_function(print, args=3), TypeError),
    (lambda: SLIM.run_function(print, volumes={"x": 1}), InvalidError),
    (lambda: SLIM.run_function(print, secrets=3), TypeError),
]


@pytest.mark.parametrize(("make", "kind"), WRONG)
def test_wrong_arguments_are_refused_where_they_are_written(make, kind, strict):
    with pytest.raises(kind) as caught:
        make()
    assert isinstance(caught.value, InvalidError)


# Modal finds these when it builds or deploys.
LATER = [
    lambda: modal.Image.debian_slim("2.7"),
    lambda: modal.Image.micromamba(3.11),
    lambda: modal.Image.from_registry(3),
    lambda: modal.Image.from_registry("ubuntu", add_python="2.7"),
    lambda: modal.Image.from_registry("ubuntu", secret=3),
    lambda: modal.Image.from_dockerfile("Dockerfile", secrets=[1]),
    lambda: SLIM.workdir(3),
    lambda: SLIM.env({1: "a"}),
    lambda: SLIM.add_local_dir("x", "/a", ignore="*.py"),
    lambda: SLIM.add_local_file("x", "/a", copy="yes"),
    lambda: SLIM.add_local_file("x", "/a").pip_install("b"),
    lambda: SLIM.add_local_dir("x", "/a").add_local_file("y", "/b", copy=True),
    lambda: SLIM.add_local_python_source("json").pipe(lambda image: image.env({"A": "1"})),
    lambda: SLIM.run_function(print, cpu="x"),
    lambda: SLIM.run_function(print, secrets=[1]),
    lambda: modal.Secret.from_name(3),
    lambda: modal.Proxy.from_name(3),
    lambda: modal.Cron("soon"),
    lambda: modal.Cron(None),
    lambda: modal.Period(),
    lambda: modal.Period(days=-1),
    lambda: modal.SchedulerPlacement(spot="x"),
    lambda: modal.FilePatternMatcher(3),
]


@pytest.mark.parametrize("make", LATER)
def test_what_modal_finds_later_is_refused_at_once_unless_strict(make, strict):
    if strict:
        make()
        return
    with pytest.raises(InvalidError, match="; write "):
        make()


def test_images_chain(strict):
    image = (
        modal.Image.from_registry("ubuntu", add_python="3.12")
        .apt_install("git", ["curl"])
        .pip_install("a", ["b==1"], pre=True, env={"A": "1"}, secrets=(), gpu="T4")
        .uv_pip_install("c", requirements=["x.txt"])
        .uv_sync("project", groups=["dev"])
        .poetry_install_from_file("pyproject.toml")
        .pip_install_from_requirements("requirements.txt")
        .pip_install_from_pyproject("pyproject.toml", ["dev"])
        .micromamba_install("d", channels=["e"])
        .run_commands("echo", volumes={"/data": VOLUME})
        .dockerfile_commands(["RUN true"])
        .env({"A": "1"})
        .workdir(PurePosixPath("/app"))
        .entrypoint([])
        .shell(["/bin/bash"])
        .cmd(["python"])
        .run_function(mark, args=("x",), gpu=["T4"], region="us")
        .add_local_file("nowhere", "/a", copy=True)
        .pip_install("f")
        .add_local_dir(Path("nowhere"), "/b", ignore=modal.FilePatternMatcher("*.md"))
        .add_local_python_source("json")
    )
    assert isinstance(image, modal.Image)
    assert repr(image).startswith("Image.from_registry('ubuntu').apt_install(...).pip_install(")
    assert image.build() is image
    # Nothing to do is nothing to build.
    assert SLIM.pip_install() is SLIM.apt_install([]) is SLIM.run_commands() is SLIM
    assert SLIM.pipe(lambda image, name, tag: (image is SLIM, name, tag), "a", tag=1) == (
        True,
        "a",
        1,
    )


def test_imports_runs_its_body_and_outlives_what_is_missing(caplog):
    with SLIM.imports():
        import json
    assert json.loads("1") == 1
    with caplog.at_level(logging.WARNING, "moorage"), SLIM.imports():
        import no_such_module_anywhere  # noqa: F401
    assert "no_such_module_anywhere" in caplog.text
    with pytest.warns(UserWarning, match="ZeroDivisionError"), SLIM.imports():
        1 / 0
    with pytest.raises(KeyboardInterrupt), SLIM.imports():
        raise KeyboardInterrupt


# What would need Modal's servers, and what there is instead.
UNIMPLEMENTED = [
    (lambda: modal.Sandbox.create("echo", app=modal.App("a")), "subprocess.run"),
    (lambda: modal.Sandbox.from_id("sb-1"), "subprocess.run"),
    (lambda: list(modal.Sandbox.list()), "subprocess.run"),
    (lambda: SLIM.publish("a"), "pip"),
    (lambda: modal.Client.from_env(), "leave out client"),
    (lambda: modal.Workspace.from_context().settings.list(), "leave the workspace out"),
    (lambda: modal.Environment.from_name("e").members.list(), "leave environments out"),
    (lambda: modal.Sandbox.from_id("sb-1"), "a subprocess is no sandbox"),
]


@pytest.mark.parametrize(("use", "instead"), UNIMPLEMENTED)
def test_nothing_pretends_to_be_at_modal(use, instead, strict):
    with pytest.raises(UnimplementedError) as caught:
        use()
    assert instead in str(caught.value).splitlines()[-1]


@pytest.mark.parametrize(
    "use",
    [
        lambda: modal.Sandbox.create.aio("a", app=1),
        lambda: anext(aiter(modal.Sandbox.list.aio())),
    ],
)
def test_aio_raises_the_same(use):
    async def main():
        await use()

    with pytest.raises(UnimplementedError):
        asyncio.run(main())


def test_commit_and_reload_have_nothing_to_do():
    async def main():
        async with modal.Volume.ephemeral() as volume, modal.Queue.ephemeral.aio() as queue:
            assert (await volume.commit.aio(), await volume.reload.aio()) == (None, None)
            assert isinstance(queue, modal.Queue)

    asyncio.run(main())
    with modal.Dict.ephemeral() as found:
        assert isinstance(found, modal.Dict)
    assert made_volume().commit() is made_volume().reload() is None
    with pytest.raises(TypeError):
        modal.Dict.ephemeral({"a": 1})


def test_values_work():
    assert isinstance(modal.Cron("0 9 * * 1"), Schedule)
    assert repr(modal.Period(days=1, seconds=1.5)) == "Period(days=1, seconds=1.5)"
    assert modal.Probe.with_tcp(8000) == modal.Probe(tcp_port=8000)
    assert modal.Probe.with_exec("a", "b", interval_ms=5).exec_argv == ("a", "b")
    assert modal.CloudBucketMount("b", read_only=True) == modal.CloudBucketMount(
        "b", read_only=True
    )
    assert [each.value for each in StreamType] == [-3, -1, -2]
    tunnel = modal.Tunnel("h", 1234, "u", 80)
    with pytest.warns(DeprecationError, match="without unencrypted=True"):
        assert tunnel.url == "https://h:1234"
    assert (tunnel.tls_socket, tunnel.tcp_socket) == (("h", 1234), ("u", 80))
    with pytest.raises(InvalidError, match=r"write forward\(port, unencrypted=True\)"):
        modal.Tunnel("h", 443, "", 0).tcp_socket
    assert modal.Tunnel("h", 443, "", 0).url == "https://h"
    assert modal.Queue.validate_partition_key(None) == b""


@pytest.mark.parametrize(
    ("patterns", "meant", "not_meant"),
    [
        (["**/*.py"], ["a.py", "d/e/a.py", ".py", "a.py/x"], ["a.txt"]),
        (["*.py"], ["a.py", "./a.py"], ["d/a.py"]),
        (["*.py", "!b.py"], ["a.py"], ["b.py"]),
        (["!b.py", "*.py"], ["a.py", "b.py"], []),
        (["d"], ["d", "d/a", "d/e/f"], ["x/d", "dd"]),
        (["/d/"], ["d", "d/a"], ["x/d", "/d"]),
        (["**/d"], ["d", "d/a", "x/d", "x/d/a"], ["xd"]),
        (["d/**"], ["d/a", "d/a/b"], ["d"]),
        (["d/**/f"], ["d/f", "d/a/b/f"], ["dxf", "d/xf"]),
        (["**"], ["a", "d/a", ".x"], []),
        (["**.py"], ["a.py", "d/a.py", ".py"], ["a.pyc"]),
        (["a**b"], ["ab", "a/b", "a/x/b"], ["axb"]),
        (["a/*/c"], ["a/b/c"], ["a/b/b/c", "a/c"]),
        (["a?c", "[xy].z", "[^a-c]q"], ["abc", "x.z", "dq"], ["a/c", "w.z", "aq"]),
        (["[]a]", "[a-]x", r"[\]]y"], ["]", "a", "-x", "]y"], ["bx", "\\y"]),
        (["a.b+c(d)", "{a,b}|c", "a$b^c"], ["a.b+c(d)", "{a,b}|c"], ["aXb+c(d)", "c", "abc"]),
        ([r"a\*b"], ["a*b"], ["axb"]),
        (["d", "!d/a"], ["d", "d/b"], ["d/a", "d/a/c"]),
        (["a", "!a", "a/b"], ["a/b"], ["a", "a/c"]),
        (["./a", "b/../c", "  s  ", "", "t/"], ["a", "c", "s", "t/x"], ["b"]),
        ([], [], ["x"]),
    ],
    ids=str,
)
def test_file_patterns(patterns, meant, not_meant):
    matcher = modal.FilePatternMatcher(*patterns)
    assert [path for path in meant + not_meant if matcher(Path(path))] == meant
    assert [path for path in meant + not_meant if (~matcher)(Path(path))] == not_meant
    assert matcher.can_prune_directories() is not any(each.startswith("!") for each in patterns)
    assert not (~matcher).can_prune_directories()


@pytest.mark.parametrize("pattern", ["[a", "[]", "!", "[z-a]"])
def test_bad_patterns_are_found_when_first_used(pattern):
    matcher = modal.FilePatternMatcher(pattern)
    with pytest.raises(ValueError, match="; write "):
        matcher(Path("a"))


def test_patterns_from_a_file_are_read_when_first_used(tmp_path):
    file = tmp_path / "ignore"
    matcher = modal.FilePatternMatcher.from_file(file)
    file.write_text("*.py\n\n  d  \n!b.py\n")
    assert [matcher(Path(path)) for path in ("a.py", "b.py", "d", "c")] == [
        True,
        False,
        True,
        False,
    ]
    assert NON_PYTHON_FILES(Path("a.txt"))
    assert not NON_PYTHON_FILES(Path("d/a.py"))


@pytest.mark.parametrize(
    "name",
    [
        "object",
        "image",
        "secret",
        "volume",
        "dict",
        "queue",
        "network_file_system",
        "cloud_bucket_mount",
        "proxy",
        "schedule",
        "scheduler_placement",
        "sandbox",
        "environments",
        "workspace",
        "client",
        "server",
        "cluster",
        "file_pattern_matcher",
        "mount",
        "io_streams",
        "stream_type",
        "container_process",
        "billing",
    ],
)
def test_modules_have_modals_names(name):
    importlib.import_module(f"moorage.{name}")


def test_unknown_methods_of_images_are_steps_with_one_warning(strict):
    image = SLIM.env({"A": "1"})
    if modal.config.strict:
        with pytest.raises(AttributeError, match="pip_instal"):
            image.pip_instal("numpy")
        return
    with pytest.warns(UserWarning, match=r"no method pip_instal\(\).*pip_install") as caught:
        made = image.pip_instal("numpy", index_url="x").apt_install("git")
    assert len(caught) == 1
    assert repr(made) == "Image.debian_slim().env(...).pip_instal(...).apt_install(...)"
    assert made._env == {"A": "1"}
    # A look is no step, and what the class has is asked as before.
    assert hasattr(image, "a_later_method")
    assert not hasattr(image, "_private")
    assert not hasattr(image, "object_id")
    assert copy.deepcopy(pickle.loads(pickle.dumps(made)))._env == {"A": "1"}


@pytest.mark.parametrize("name", ["pip_install", "apt_install", "env", "run_commands", "workdir"])
def test_methods_of_images_are_not_called_on_the_class(name, strict):
    with pytest.raises(InvalidError, match=rf"write Image\.debian_slim\(\)\.{name}\("):
        getattr(modal.Image, name)("numpy")


def test_an_image_with_failed_imports_pickles():
    image = modal.Image.debian_slim()
    with image.imports():
        raise ImportError("not here")
    assert pickle.loads(pickle.dumps(image))._import_errors == []
    assert len(image._import_errors) == 1


def test_an_environment_is_a_name(monkeypatch):
    assert modal.Environment.from_name("dev").name == "dev"
    assert modal.Environment.from_context().name == "main"
    monkeypatch.setenv("MODAL_ENVIRONMENT", "staging")
    assert modal.Environment.from_context().name == "staging"
    assert modal.Environment.from_name("dev").name == "dev"


@pytest.mark.parametrize("method", ["pip_install", "uv_pip_install"])
def test_options_are_no_packages(method, strict):
    install = getattr(SLIM, method)
    for packages in (["-U", "numpy"], [["numpy", "--pre"]]):
        with pytest.raises(InvalidError, match=r"option '-.*; write .*extra_options="):
            install(*packages)
    install("numpy", extra_options="--pre")
