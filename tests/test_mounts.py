"""Where the functions of an app find the files of their volumes."""

from __future__ import annotations

import gc
import logging
import os
import sys
from pathlib import Path

import pytest

import moorage as modal
from moorage.exception import DeprecationError, InvalidError, NotFoundError
from moorage.image import AddedFiles
from moorage.running.mounts import Mount, mounts_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="symlinks")


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("MOORAGE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def volume():
    return modal.Volume.from_name("data", create_if_missing=True)


def reads(path, **options):
    """An app with one function that says what is at `path`."""
    app = modal.App()

    @app.function(**options)
    def look():
        return sorted(os.listdir(path)) if os.path.isdir(path) else None

    return app, look


def warnings_of(caplog):
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


@pytest.mark.parametrize("strict", [True, False])
def test_a_path_that_leads_to_the_volume_is_as_it_should_be(
    volume, tmp_path, caplog, monkeypatch, strict
):
    (volume.local_path / "file").touch()
    link = tmp_path / "data"
    link.symlink_to(volume.local_path)
    for path in (link, volume.local_path):
        monkeypatch.setattr(modal.config, "strict", False)
        app, look = reads(path, volumes={path: volume})
        monkeypatch.setattr(modal.config, "strict", strict)
        with app.run():
            assert look.remote() == ["file"]
            assert look.local() == ["file"]  # and no warning
    assert warnings_of(caplog) == []


def test_a_path_that_is_something_else_is_left_alone_with_one_warning(volume, tmp_path, caplog):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "own").touch()
    app = modal.App(volumes={mine: volume})

    @app.function()
    def one():
        return os.listdir(mine)

    @app.cls()
    class Two:
        @modal.method()
        def look(self):
            return os.listdir(mine)

    for _ in range(2):
        with app.run():
            assert one.remote() == Two().look.remote() == ["own"]
    (said,) = warnings_of(caplog)
    for part in (str(mine), "'data'", str(volume.local_path), "moorage run"):
        assert part in said
    with pytest.warns(UserWarning, match="none of its volumes"):
        one.local()


@pytest.mark.parametrize("strict", [True, False])
def test_a_path_that_is_not_there_fails_the_start(volume, tmp_path, monkeypatch, strict):
    path = tmp_path / "missing"
    app, look = reads(path, volumes={path: volume})
    entered = []

    @app.cls(volumes={path: volume.with_mount_options(sub_path="sub")})
    class Model:
        @modal.enter()
        def enter(self):
            entered.append(self)

        @modal.method()
        def look(self):
            return None

    monkeypatch.setattr(modal.config, "strict", strict)
    with app.run():
        with pytest.raises(InvalidError) as caught:
            look.remote()
        for part in (str(path), str(volume.local_path), "local_path", "moorage run", "'data'"):
            assert part in str(caught.value).splitlines()[-1]
        with pytest.raises(InvalidError, match="data/sub"):
            Model().look.remote()
        path.symlink_to(volume.local_path)  # and the next start finds it
        assert look.remote() == ["sub"]
    assert entered == []


def test_mounts_may_be_ignored(volume, tmp_path, monkeypatch, caplog):
    app, look = reads(tmp_path / "missing", volumes={tmp_path / "missing": volume})
    monkeypatch.setattr(modal.config, "mounts", "ignore")
    with app.run():
        assert look.remote() is None
    assert warnings_of(caplog) == []
    monkeypatch.setattr(modal.config, "mounts", "yes")
    with app.run(), pytest.raises(InvalidError, match='"ignore"'):
        look.remote()


def test_a_volume_that_is_not_there_fails_the_start(tmp_path):
    app, look = reads(tmp_path, volumes={tmp_path: modal.Volume.from_name("missing")})
    with app.run(), pytest.raises(NotFoundError, match="create_if_missing=True"):
        look.remote()


def test_two_handles_of_one_volume_are_found_when_the_container_starts(volume, tmp_path):
    other = modal.Volume.from_name("data")
    app, look = reads(tmp_path, volumes={volume.local_path: volume, tmp_path: other})
    with app.run(), pytest.raises(InvalidError, match="twice"):
        look.remote()


def test_runs_that_serialize_look_too(volume, tmp_path):
    app, look = reads(tmp_path / "missing", volumes={tmp_path / "missing": volume})
    with app.run(serialize=True), pytest.raises(InvalidError, match="local_path"):
        look.remote()
    with app.run(), pytest.raises(InvalidError, match="local_path"):
        look.with_options(timeout=5).remote()


def test_a_sub_path_is_what_is_mounted(volume, tmp_path):
    sub = volume.with_mount_options(sub_path="a/b")
    link = tmp_path / "link"
    link.symlink_to(volume.local_path / "a" / "b")
    app, look = reads(link, volumes={link: sub})
    with app.run():
        assert look.remote() == []  # the directory is made at the start


def test_network_file_systems_are_mounted_as_volumes(tmp_path):
    with pytest.warns(DeprecationError):
        nfs = modal.NetworkFileSystem.from_name("shared", create_if_missing=True)
    path = tmp_path / "nfs"
    app, look = reads(path, network_file_systems={path: nfs})
    with app.run():
        with pytest.raises(InvalidError, match="nfs/shared"):
            look.remote()
        path.symlink_to(nfs.local_path)
        assert look.remote() == []


def test_buckets_and_local_files_warn_only(tmp_path, caplog):
    (tmp_path / "local").mkdir()
    image = modal.Image.debian_slim().add_local_dir(tmp_path / "local", "/missing/there")
    app, look = reads(
        tmp_path / "bucket",
        image=image,
        volumes={tmp_path / "bucket": modal.CloudBucketMount("b")},
    )
    for _ in range(2):
        with app.run():
            assert look.remote() is None
    files, bucket = warnings_of(caplog)
    assert "/missing/there" in files
    assert str(tmp_path / "local") in files
    assert "'b'" in bucket
    assert str(tmp_path / "bucket") in bucket
    caplog.clear()
    (tmp_path / "bucket").symlink_to(modal.CloudBucketMount("b").local_path)
    app, look = reads(
        tmp_path / "bucket", volumes={tmp_path / "bucket": modal.CloudBucketMount("b")}
    )
    with app.run():
        assert look.remote() == []
    assert "not there" in warnings_of(caplog)[0]  # the objects of the bucket


def test_the_mounts_of_an_app_can_be_asked_for(volume, home, tmp_path):
    image = modal.Image.debian_slim().add_local_dir(tmp_path, "/app/", copy=True)
    image = image.pip_install("numpy").add_local_file("README", "/root/")
    other = modal.Volume.from_name("other", create_if_missing=True)
    app = modal.App(image=image, volumes={"/data": volume})

    @app.function(volumes={"/data": other.read_only(), "/more//x": volume})
    def f():
        pass

    @app.function(image=modal.Image.debian_slim())
    def g():
        pass

    @app.cls(volumes={"/bucket": modal.CloudBucketMount("b", read_only=True)})
    class C:
        name: str = modal.parameter()

        @modal.method()
        def m(self):
            pass

    outer = modal.App()
    outer.include(app)
    found = mounts_of(outer)
    assert found == mounts_of(app)
    files = (
        Mount("/app", AddedFiles(str(tmp_path), "/app")),
        Mount("/root/README", AddedFiles("README", "/root/README")),
    )
    assert list(found) == ["f", "g", "C"]
    assert found["f"][:2] == files
    assert {m.path: (m.read_only, m.source()) for m in found["f"][2:]} == {
        "/data": (True, home / "main" / "volumes" / "other"),
        "/more/x": (False, home / "main" / "volumes" / "data"),
    }
    assert {m.path: m.shown for m in found["g"]} == {"/data": "the volume 'data'"}
    assert [(m.path, m.read_only) for m in found["C"][2:]] == [("/data", False), ("/bucket", True)]
    assert found["f"][1].source() == Path("README").absolute()
    assert found["f"][0].read_only


def test_functions_without_mounts_do_not_look(monkeypatch):
    monkeypatch.setattr(modal.config, "mounts", "not looked at")
    app, look = reads("/missing")
    with app.run():
        assert look.remote() is None
    assert mounts_of(app) == {}


def test_a_variant_has_its_own_volumes(volume, home, tmp_path, monkeypatch):
    other = modal.Volume.from_name("other", create_if_missing=True)
    (other.local_path / "other.txt").write_text("")
    (volume.local_path / "data.txt").write_text("")
    image = modal.Image.debian_slim().add_local_file("README", "/root/README")
    app_wide = modal.Volume.from_name("third", create_if_missing=True)
    app = modal.App(image=image, volumes={"/app": app_wide})
    mine, others = tmp_path / "mine", tmp_path / "others"
    others.symlink_to(other.local_path)

    @app.function(volumes={mine: volume})
    def look(path: Path):
        return os.listdir(path)

    @app.cls(volumes={mine: volume})
    class C:
        @modal.method()
        def look(self, path: Path):
            return os.listdir(path)

    variant = look.with_options(volumes={others: other, "/b/": modal.CloudBucketMount("b")})
    longer = variant.with_options(timeout=10)
    big = C.with_options(volumes={f"{others}/": modal.Volume.from_name("other")})
    unchanged = look.with_options(volumes={}, timeout=20)
    found = mounts_of(app)
    b = f"{{'{others}': 'other', '/b': 'b'}}"
    assert list(found) == [
        "look",
        "C",
        f"C.with_options(volumes={{'{others}': 'other'}})",
        f"look.with_options(volumes={b})",
    ]
    assert [mount.path for mount in found["look"]] == ["/root/README", "/app", str(mine)]
    assert [mount.path for mount in found[f"look.with_options(volumes={b})"]] == [
        "/root/README",
        str(others),
        "/b",
    ]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README").write_text("")
    with app.run():
        assert variant.remote(others) == ["other.txt"]
        assert longer.remote(others) == ["other.txt"]
        assert big().look.remote(others) == ["other.txt"]
        for call in (look, unchanged, C().look):
            with pytest.raises(InvalidError, match="nothing is at that path"):
                call.remote(others)
        same = look.with_options(volumes={others: modal.Volume.from_name("other")})
        again = look.with_options(volumes={others: modal.Volume.from_name("other")})
        again.remote(others)
        same.remote(others)
        assert same.statistics() == again.statistics()  # one pool
        assert same.statistics().succeeded == 2
        assert "volumes={" in repr(same.statistics())
    del big, same, again
    gc.collect()
    assert len(mounts_of(app)) == 3
    assert [variant, longer]
