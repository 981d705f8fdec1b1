"""``moorage volume``, ``dict``, ``queue`` and ``secret``: over the stores of a home."""

import json
import stat

import pytest

import moorage
from moorage import config


@pytest.fixture
def home(tmp_path, monkeypatch):
    place = tmp_path / "home"
    monkeypatch.setenv("MOORAGE_HOME", str(place))
    return place


@pytest.fixture
def volume(shell, home):
    """A volume with ``a.txt``, ``logs/one.txt`` and ``logs/deep/two.txt``."""
    assert shell("volume", "create", "v").code == 0
    with moorage.Volume.from_name("v").batch_upload() as batch:
        for path, text in (("a.txt", "a"), ("logs/one.txt", "one"), ("logs/deep/two.txt", "two")):
            source = shell.write(f"source/{path}", text)
            batch.put_file(source, path)
    return moorage.Volume.from_name("v")


def paths(volume):
    return [entry.path for entry in volume.iterdir("/") if entry.type.name == "FILE"]


KINDS = ["volume", "dict", "queue", "secret"]


@pytest.mark.parametrize("kind", KINDS)
def test_create_list_and_delete(shell, home, kind):
    values = ["A=1"] if kind == "secret" else []
    assert shell(kind, "create", "first", *values).code == 0
    assert shell(kind, "create", "second", *values).code == 0
    assert shell(kind, "create", "-e", "dev", "other", *values).code == 0
    code, out, err = shell(kind, "list")
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert lines[0][:3] == ["Name", "Created", "at"]
    assert [line[0] for line in lines[1:]] == ["second", "first"]
    listed = json.loads(shell(kind, "list", "--json", "--env", "dev").out)
    assert [each["name"] for each in listed] == ["other"]
    assert "T" in listed[0]["created_at"]
    code, _, err = shell(kind, "delete", "first")
    assert code == 1
    assert "write --yes (-y)" in err
    assert tuple(shell(kind, "delete", "first", "--yes")) == (0, "", "")
    code, _, err = shell(kind, "delete", "-y", "first")
    assert code == 1
    assert f"There is no {kind.title()} 'first' in the environment 'main'" in err
    assert shell(kind, "delete", "-y", "first", "--allow-missing").code == 0
    assert "first" not in shell(kind, "list").out


@pytest.mark.parametrize("kind", KINDS)
def test_no_arguments_is_help(shell, home, kind):
    for arguments in ([kind], [kind, "delete"]):
        code, out, err = shell(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith(f"Usage: moorage {' '.join(arguments)} [OPTIONS]")
    code, _, err = shell(kind, "dleete")
    assert code == 2
    assert f"Did you mean:\n    moorage {kind} delete" in err


def test_wrong_names_are_one_line(shell, home):
    for arguments in (["dict", "create", "a b"], ["queue", "create", "a/b"]):
        code, out, err = shell(*arguments)
        assert (code, out) == (1, "")
        assert err.startswith("Error: ")
        assert "Traceback" not in err
    code, _, err = shell("dict", "create", "-e", "a b", "d")
    assert code == 1
    assert "environment_name" in err


def test_the_setting_is_put_back(shell, home):
    assert not config.persist
    shell("dict", "create", "d")
    assert not config.persist


# -- volumes --------------------------------------------------------------------------------------


def test_create_a_volume_twice(shell, home):
    code, out, _ = shell("volume", "create", "v", "--version", "2")
    assert code == 0
    assert out == f"Created Volume 'v' at {home / 'main/volumes/v'}\n"
    code, out, err = shell("volume", "create", "v")
    assert (code, out) == (1, "")
    assert "There is a Volume 'v' in the environment 'main' already" in err


def test_rename_a_volume(shell, volume):
    assert shell("volume", "rename", "v", "w").code == 1
    assert shell("volume", "rename", "v", "w", "--yes").code == 0
    assert shell("volume", "ls", "w").out == "a.txt\nlogs\n"
    assert shell("volume", "rename", "v", "x", "--yes").code == 1


def test_ls(shell, volume):
    assert tuple(shell("volume", "ls", "v")) == (0, "a.txt\nlogs\n", "")
    assert shell("volume", "ls", "v", "logs").out == "logs/deep\nlogs/one.txt\n"
    assert shell("volume", "ls", "v", "/logs/one.txt").out == "logs/one.txt\n"
    code, out, err = shell("volume", "ls", "v", "nope")
    assert (code, out) == (1, "")
    assert "'nope'" in err
    found = json.loads(shell("volume", "ls", "v", "--json").out)
    assert [(each["filename"], each["type"], each["size"]) for each in found] == [
        ("a.txt", "file", 1),
        ("logs", "dir", 0),
    ]


def test_a_volume_that_is_not_there(shell, volume):
    for arguments in (["ls", "vv"], ["get", "vv", "a"], ["put", "vv", "a"], ["rm", "vv", "a"]):
        code, out, err = shell("volume", *arguments)
        assert (code, out) == (1, "")
        assert err.startswith(
            "Error: There is no Volume 'vv' in the environment 'main'; "
            "write `moorage volume create vv`.\n\nDid you mean:\n    v\n"
        )


def test_get_a_file(shell, volume):
    assert shell("volume", "get", "v", "logs/one.txt").code == 0
    assert (shell.folder / "one.txt").read_text() == "one"
    assert shell("volume", "get", "v", "/logs/one.txt", "other.txt").code == 0
    assert (shell.folder / "other.txt").read_text() == "one"
    (shell.folder / "into").mkdir()
    assert shell("volume", "get", "v", "a.txt", "into").code == 0
    assert (shell.folder / "into/a.txt").read_text() == "a"
    assert shell("volume", "get", "v", "logs/one.txt", "-").out == "one"


def test_get_does_not_overwrite(shell, volume):
    kept = shell.write("a.txt", "mine")
    code, out, err = shell("volume", "get", "v", "a.txt")
    assert (code, out) == (2, "")
    assert "Output path 'a.txt' already exists. Use --force" in err
    assert kept.read_text() == "mine"
    assert shell("volume", "get", "v", "a.txt", "--force").code == 0
    assert kept.read_text() == "a"


def test_get_a_directory(shell, volume):
    assert shell("volume", "get", "v", "logs").code == 0
    assert (shell.folder / "logs/deep/two.txt").read_text() == "two"
    assert shell("volume", "get", "v", "logs").code == 2
    assert shell("volume", "get", "v", "logs", "new").code == 0
    assert (shell.folder / "new/one.txt").read_text() == "one"
    assert shell("volume", "get", "v", "/", "all").code == 0
    assert (shell.folder / "all/logs/one.txt").read_text() == "one"
    assert shell("volume", "get", "v", "/", "all").code == 2
    assert shell("volume", "get", "v", "/", "all", "--force").code == 0


def test_get_what_is_not_there(shell, volume):
    code, out, err = shell("volume", "get", "v", "nope")
    assert (code, out) == (1, "")
    assert "'nope'" in err
    assert not (shell.folder / "nope").exists()


def test_put_a_file(shell, volume):
    shell.write("new.txt", "new")
    assert shell("volume", "put", "v", "new.txt").code == 0
    assert shell("volume", "put", "v", "new.txt", "deep/er/").code == 0
    assert shell("volume", "put", "v", "new.txt", "/other.txt").code == 0
    assert {"new.txt", "deep/er/new.txt", "other.txt"} <= set(paths(volume))
    code, _, err = shell("volume", "put", "v", "new.txt")
    assert code == 2
    assert "new.txt" in err
    shell.write("new.txt", "newer")
    assert shell("volume", "put", "v", "new.txt", "-f").code == 0
    assert b"".join(volume.read_file("new.txt")) == b"newer"


def test_put_a_directory_is_all_or_nothing(shell, volume):
    shell.write("logs/new.txt", "new")
    assert shell("volume", "put", "v", "logs").code == 0
    assert "logs/new.txt" in paths(volume)
    shell.write("logs/newest.txt", "newest")
    assert shell("volume", "put", "v", "logs").code == 2
    assert "logs/newest.txt" not in paths(volume)


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["*.txt"], 2, "Glob uploads are currently not supported"),
        (["nope.txt"], 1, "nope.txt"),
        (["a.txt", "../a.txt"], 1, ".."),
    ],
)
def test_put_what_cannot_be_put(shell, volume, arguments, code, error):
    shell.write("a.txt", "a")
    before = paths(volume)
    done = shell("volume", "put", "v", *arguments)
    assert done.code == code
    assert error in done.err
    assert paths(volume) == before


def test_cp_and_rm(shell, volume):
    assert shell("volume", "cp", "v", "a.txt", "b.txt").code == 0
    assert shell("volume", "cp", "v", "a.txt", "b.txt", "logs").code == 0
    assert {"b.txt", "logs/a.txt", "logs/b.txt"} <= set(paths(volume))
    assert shell("volume", "cp", "v", "a.txt").code == 2
    assert shell("volume", "rm", "v", "a.txt").code == 0
    assert "a.txt" not in paths(volume)
    code, _, err = shell("volume", "rm", "v", "logs")
    assert code == 1
    assert "logs" in err
    assert shell("volume", "rm", "v", "logs", "-r").code == 0
    assert paths(volume) == ["b.txt"]
    assert shell("volume", "rm", "v", "nope").code == 1


# -- dicts and queues -----------------------------------------------------------------------------


def test_dict_get_items_and_clear(shell, home, monkeypatch):
    monkeypatch.setattr(config, "persist", True)
    kept = moorage.Dict.from_name("d", create_if_missing=True)
    kept["a"] = 1
    kept["text"] = "x" * 100
    kept[3] = None
    assert tuple(shell("dict", "get", "d", "a")) == (0, "1\n", "")
    code, out, err = shell("dict", "get", "d", "3")  # the key is a str
    assert (code, out) == (1, "")
    assert "no key '3'" in err
    code, out, _ = shell("dict", "items", "d")
    assert out.splitlines()[0].split() == ["Key", "Value"]
    assert f"text  {'x' * 80}...\n" in out
    assert shell("dict", "items", "d", "1").out.splitlines()[1:] == ["a    1", "...  ..."]
    assert "'text'" in shell("dict", "items", "d", "-r", "--all").out
    assert json.loads(shell("dict", "items", "d", "1", "--json").out)[0] == {"key": "a", "value": 1}
    assert shell("dict", "clear", "d").code == 1
    assert shell("dict", "clear", "d", "-y").code == 0
    assert kept.len() == 0
    assert "`moorage dict create dd`" in shell("dict", "items", "dd").err


def test_creating_a_dict_again_keeps_it(shell, home, monkeypatch):
    monkeypatch.setattr(config, "persist", True)
    moorage.Dict.from_name("d", create_if_missing=True)["a"] = 1
    assert shell("dict", "create", "d").code == 0
    assert shell("dict", "get", "d", "a").out == "1\n"


def test_queue_peek_len_and_clear(shell, home, monkeypatch):
    monkeypatch.setattr(config, "persist", True)
    kept = moorage.Queue.from_name("q", create_if_missing=True)
    kept.put_many([1, 2, 3])
    kept.put("other", partition="p")
    assert tuple(shell("queue", "peek", "q")) == (0, "1\n", "")
    assert shell("queue", "peek", "q", "2").out == "1\n2\n"
    assert shell("queue", "peek", "q", "-p", "p").out == "other\n"
    assert shell("queue", "len", "q").out == "3\n"
    assert shell("queue", "len", "q", "--partition", "p").out == "1\n"
    assert shell("queue", "len", "q", "--total").out == "4\n"
    assert shell("queue", "len", "q", "-p", "p", "-t").code == 1
    assert shell("queue", "list").out.splitlines()[1].split()[-1] == "4"
    assert shell("queue", "clear", "q", "-p", "p", "-y").code == 0
    assert shell("queue", "len", "q", "-t").out == "3\n"
    assert shell("queue", "clear", "q", "--all", "-y").code == 0
    assert shell("queue", "len", "q", "-t").out == "0\n"
    assert "`moorage queue create qq`" in shell("queue", "len", "qq").err


def test_what_a_program_kept_is_seen(shell, home):
    shell.write(
        "prog.py",
        """
        import modal
        app = modal.App()
        d = modal.Dict.from_name("results", create_if_missing=True)

        @app.local_entrypoint()
        def main():
            d["answer"] = 42
        """,
    )
    assert shell("run", "-q", "prog.py").code == 0
    assert shell("dict", "get", "results", "answer").out == "42\n"


# -- secrets --------------------------------------------------------------------------------------


def test_secret_create(shell, home):
    code, out, err = shell("secret", "create", "keys", "TOKEN=hidden=1", "OTHER=")
    assert (code, err) == (0, "")
    assert out == "Created the Secret 'keys' with the keys 'TOKEN', 'OTHER'\n"
    file = home / "main/secrets/keys.env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "hidden=1" in file.read_text()
    code, out, err = shell("secret", "create", "keys", "TOKEN=other")
    assert (code, out) == (1, "")
    assert "write --force to replace it" in err
    assert shell("secret", "create", "keys", "NEW=other", "--force").code == 0
    assert "hidden" not in file.read_text()
    assert "other" not in shell("secret", "list").out


def test_secrets_of_files(shell, home):
    shell.write(".env", "A=1\nB='two words'\n")
    shell.write("more.json", '{"C": "3"}')
    code, out, _ = shell(
        "secret", "create", "s", "--from-dotenv", ".env", "--from-json", "more.json"
    )
    assert code == 0
    assert out.endswith("with the keys 'A', 'B', 'C'\n")
    shell.write(
        "prog.py",
        """
        import modal, os
        app = modal.App()

        @app.function(secrets=[modal.Secret.from_name("s")])
        def f():
            print(os.environ["A"], os.environ["B"], os.environ["C"])
        """,
    )
    assert shell("run", "-q", "prog.py").out == "1 two words 3\n"


def test_a_secret_is_asked_for(shell, home):
    code, out, _ = shell("secret", "create", "s", "TOKEN=-", input="hidden\n")
    assert code == 0
    assert "hidden" not in out
    assert "hidden" in (home / "main/secrets/s.env").read_text()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], "at least one KEY=VALUE"),
        (["hidden"], "Each item is KEY=VALUE"),
        (["=hidden"], "A key is empty"),
        (["--from-dotenv", "none"], "There is no file 'none'."),
        (["--from-json", "none"], "There is no file 'none'."),
        (["--from-json", "list.json"], "is no JSON with names and values"),
        (["--from-json", "number.json"], "The value of 'A' is no string."),
    ],
)
def test_wrong_secrets(shell, home, arguments, error):
    shell.write("list.json", "[1]")
    shell.write("number.json", '{"A": 1}')
    code, out, err = shell("secret", "create", "s", *arguments)
    assert (code, out) == (2, "")
    assert error in err
    assert "hidden" not in err
