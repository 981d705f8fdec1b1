"""Secrets: where their values are, and what is said when they are not there."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import pickle
import stat
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

import moorage as modal
from moorage.declaring.needs import Needs
from moorage.exception import AlreadyExistsError, InvalidError, NotFoundError
from moorage.stores.secret_files import parse, text_of
from moorage.variables import Variables
from onlooker import messages_of_moorage

Secret = modal.Secret
NAME = "MOORAGE_TEST_SECRET"
OTHER = "MOORAGE_TEST_OTHER"


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("MOORAGE_HOME", str(tmp_path / "home"))
    for name in (NAME, OTHER):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


def values_in_a_function(*secrets, **options):
    app = modal.App()

    @app.function(secrets=secrets, serialized=True, **options)
    def read() -> dict[str, str]:
        return {name: os.environ[name] for name in (NAME, OTHER) if name in os.environ}

    with app.run():
        return read.remote()


# -- values in the program -----------------------------------------------------------------


def test_from_dict_takes_a_copy():
    given_values = {NAME: "1", OTHER: None}
    made = Secret.from_dict(given_values)
    given_values[NAME] = "2"
    assert values_in_a_function(made) == {NAME: "1"}
    assert values_in_a_function(Secret.from_dict()) == {}


def test_local_variables_are_read_at_once(monkeypatch):
    monkeypatch.setenv(NAME, "1")
    made = Secret.from_local_environ([NAME])
    monkeypatch.delenv(NAME)
    assert values_in_a_function(made) == {NAME: "1"}
    with pytest.raises(InvalidError, match=NAME):
        Secret.from_local_environ([NAME])


def test_in_a_container_local_variables_are_empty_as_in_modal():
    app = modal.App()

    @app.function()
    def inside() -> int:
        return len(Secret.from_local_environ([NAME])._source)

    with app.run():
        assert inside.remote() == 0


def test_secrets_pickle_with_what_they_need(monkeypatch):
    Secret.objects.create("named", {NAME: "n"})
    for made in (
        Secret.from_dict({NAME: "1"}),
        Secret.from_name("named", required_keys=[NAME]),
        Secret.from_name("named", environment_name="main"),
    ):
        copy = pickle.loads(pickle.dumps(made))
        assert repr(copy) == repr(made)
        assert values_in_a_function(copy) == values_in_a_function(made) != {}


def test_no_value_is_in_a_pickle_so_another_process_does_not_find_the_secret(tmp_path):
    made, updated = Secret.from_dict({NAME: "hunter2"}), Secret.from_dotenv(tmp_path)
    updated.update({NAME: "hunter2"})
    for each in (made, updated):
        assert b"hunter2" not in pickle.dumps(each)
        assert pickle.loads(pickle.dumps(each)) is each
    assert Needs(None, [made], Variables()) == Needs(
        None, [Secret.from_dict({NAME: "hunter2"})], Variables()
    )
    program = (
        "import pickle, sys\n"
        "secret = pickle.loads(bytes.fromhex(sys.argv[1]))\n"
        "try: secret.hydrate()\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, pickle.dumps(made).hex()],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("NotFoundError")
    assert "a pickle has no values" in done.stdout


def test_update_of_a_secret_without_a_name():
    made = Secret.from_dict({NAME: "1"})
    made.update({OTHER: "2"})
    assert values_in_a_function(made) == {NAME: "1", OTHER: "2"}
    assert made.info().name is None
    assert made.object_id.startswith("st-")
    assert pickle.loads(pickle.dumps(made)).hydrate()._source == {NAME: "1", OTHER: "2"}


# -- named secrets ---------------------------------------------------------------------------


def test_a_named_secret_is_a_file_that_only_the_user_can_read(home):
    Secret.objects.create("my-key", {NAME: "hunter2"})
    file = home / "main" / "secrets" / "my-key.env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    Secret.from_name("my-key").update({OTHER: "2"})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text() == f'{NAME}="hunter2"\n{OTHER}="2"\n'
    assert {each.name for each in file.parent.iterdir()} == {"my-key.env"}
    assert values_in_a_function(Secret.from_name("my-key")) == {NAME: "hunter2", OTHER: "2"}


def test_create_list_info_and_delete():
    Secret.objects.create("one", {NAME: "1"})
    Secret.objects.create("two", {NAME: "2"})
    Secret.objects.create("three", {NAME: "3"}, environment_name="dev")
    with pytest.raises(AlreadyExistsError):
        Secret.objects.create("one", {NAME: "other"})
    assert Secret.objects.create("one", {NAME: "other"}, allow_existing=True) is None
    assert values_in_a_function(Secret.from_name("one")) == {NAME: "1"}
    assert [each.name for each in Secret.objects.list()] == ["two", "one"]
    assert [each.name for each in Secret.objects.list(max_objects=1)] == ["two"]
    assert [each.name for each in Secret.objects.list(environment_name="dev")] == ["three"]
    info = Secret.from_name("three", environment_name="dev").info()
    assert (info.name, info.environment_name) == ("three", "dev")
    assert info.created_at.tzinfo is not None
    one = Secret.from_name("one").hydrate()
    again = Secret._from_id(one.object_id)
    assert (again.info().name, again.name) == ("one", "one")
    assert values_in_a_function(again) == {NAME: "1"}
    Secret.objects.delete("one")
    for use in (one.info, again.info, Secret.from_name("one").hydrate, lambda: one.update({})):
        with pytest.raises(NotFoundError):
            use()
    with pytest.raises(NotFoundError):
        Secret.objects.delete("one")
    Secret.objects.delete("one", allow_missing=True)


def test_the_ways_for_asyncio():
    async def main():
        await Secret.objects.create.aio("one", {NAME: "1"})
        made = Secret.from_name("one")
        await made.update.aio({OTHER: "2"})
        assert (await made.info.aio()).name == "one"
        assert [each.name for each in await Secret.objects.list.aio()] == ["one"]
        await Secret.objects.delete.aio("one")

    asyncio.run(main())


def test_a_file_written_by_hand_is_a_secret(home):
    directory = home / "main" / "secrets"
    directory.mkdir(parents=True)
    (directory / "mine.env").write_text(f"# by hand\nexport {NAME} = plain # comment\n")
    (directory / "mine.env").chmod(0o600)
    assert values_in_a_function(Secret.from_name("mine")) == {NAME: "plain"}
    made = Secret.from_name("mine").hydrate()
    assert Secret.from_name("mine").hydrate().object_id == made.object_id
    assert [each.name for each in Secret.objects.list()] == ["mine"]


def test_names_of_secrets_are_no_paths(home, monkeypatch):
    Secret.objects.create("..", {NAME: "dots"})
    assert (home / "main" / "secrets" / "...env").is_file()
    assert values_in_a_function(Secret.from_name("..")) == {NAME: "dots"}
    with pytest.raises(InvalidError):
        Secret.from_name("../x")
    monkeypatch.setattr(modal.config, "strict", True)
    for name in ("../x", "a/b", "a" * 65):
        made = Secret.from_name(name)  # nothing is checked here, as in Modal
        for use in (made.info, lambda made=made: values_in_a_function(made)):
            with pytest.raises(InvalidError, match="is not a possible name"):
                use()


def test_one_of_many_threads_creates(home):
    made, gate = [], threading.Barrier(8)

    def create(i):
        gate.wait()
        try:
            Secret.objects.create("raced", {NAME: str(i)})
        except AlreadyExistsError:
            return
        made.append(str(i))

    threads = [threading.Thread(target=create, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values_in_a_function(Secret.from_name("raced")) == {NAME: made[0]}
    assert len(made) == 1


def test_updates_of_many_threads_are_all_kept():
    Secret.objects.create("raced", {})
    threads = [
        threading.Thread(target=lambda i=i: Secret.from_name("raced").update({f"K{i}": str(i)}))
        for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = Secret.from_name("raced")._resolved(os.environ.get, lambda *_: None)
    assert found == {f"K{i}": str(i) for i in range(8)}


# -- what is not there -----------------------------------------------------------------------


def test_a_missing_secret_warns_once_for_each_run_and_goes_on(caplog):
    app = modal.App(secrets=[Secret.from_name("missing")])

    @app.function()
    def one(): ...

    @app.function(secrets=[Secret.from_name("missing")])
    def two(): ...

    with caplog.at_level(logging.WARNING, "moorage"), app.run():
        one.remote()
        two.remote()
    (text,) = messages_of_moorage(caplog)
    assert all(part in text for part in ("'missing'", "'main'", "Secret.objects.create"))
    assert "`moorage secret create missing KEY=...`" in text


def test_a_missing_secret_says_by_which_command_it_is_made(caplog):
    made = Secret.from_name("half", required_keys=["NO_A", "NO_B"], environment_name="dev")
    with caplog.at_level(logging.WARNING, "moorage"):
        values_in_a_function(made)
    (text,) = messages_of_moorage(caplog)
    assert "`moorage secret create -e dev half NO_A=... NO_B=...`" in text


def test_a_missing_secret_whose_keys_are_exported_is_those(monkeypatch, caplog):
    monkeypatch.setenv(NAME, "exported")
    made = Secret.from_name("missing", required_keys=[NAME])
    with caplog.at_level(logging.WARNING, "moorage"):
        image = modal.Image.debian_slim().env({NAME: "of the image"})
        assert values_in_a_function(made, image=image) == {NAME: "exported"}
    assert messages_of_moorage(caplog) == []
    monkeypatch.setattr(modal.config, "strict", True)
    assert values_in_a_function(made) == {NAME: "exported"}


def test_exported_is_what_is_set_outside_of_the_runs(monkeypatch, caplog):
    monkeypatch.setenv(NAME, "exported")
    app = modal.App()

    @app.function(env={NAME: "of the other"})
    def other() -> str:
        return os.environ[NAME]

    @app.function(secrets=[Secret.from_name("missing", required_keys=[NAME])])
    def read() -> str:
        return os.environ[NAME]

    with app.run():
        assert (other.remote(), read.remote()) == ("of the other", "exported")


@pytest.mark.parametrize("there", [False, True])
def test_a_required_key_that_is_nowhere(monkeypatch, caplog, there):
    monkeypatch.setenv(NAME, "exported")
    if there:
        Secret.objects.create("half", {OTHER: "hunter2"})
    made = Secret.from_name("half", required_keys=[NAME, "MOORAGE_TEST_NOWHERE", OTHER])
    with caplog.at_level(logging.WARNING, "moorage"):
        found = values_in_a_function(made)
    assert found == {NAME: "exported", **({OTHER: "hunter2"} if there else {})}
    (text,) = messages_of_moorage(caplog)
    assert "'half'" in text
    assert "hunter2" not in text
    monkeypatch.setattr(modal.config, "strict", True)
    with pytest.raises(NotFoundError, match="'half'"):
        values_in_a_function(made)


def test_a_file_that_others_can_read_warns(home, caplog):
    Secret.objects.create("open", {NAME: "hunter2"})
    file = home / "main" / "secrets" / "open.env"
    file.chmod(0o644)
    with caplog.at_level(logging.WARNING, "moorage"):
        assert values_in_a_function(Secret.from_name("open")) == {NAME: "hunter2"}
    (text,) = messages_of_moorage(caplog)
    assert f"chmod 600 {file}" in text
    assert "hunter2" not in text


# -- dotenv files ----------------------------------------------------------------------------


@pytest.fixture
def dotenv(tmp_path, monkeypatch):
    pytest.importorskip("dotenv")
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / ".env").write_text(f"{NAME}=top\n{OTHER}\n")
    (tmp_path / "a" / "other.env").write_text(f"{NAME}=other\n")
    monkeypatch.chdir(tmp_path / "a" / "b")
    return tmp_path


def test_a_dotenv_file_is_found_from_the_directory_of_the_run_upwards(dotenv, monkeypatch):
    made = Secret.from_dotenv()
    assert values_in_a_function(made) == {NAME: "top", OTHER: ""}
    (dotenv / "a" / "b" / ".env").write_text(f"{NAME}=near\n")
    assert values_in_a_function(made) == {NAME: "near"}  # read when a run needs it
    assert values_in_a_function(Secret.from_dotenv(filename="other.env")) == {NAME: "other"}
    monkeypatch.chdir(dotenv)
    assert values_in_a_function(made) == {NAME: "top", OTHER: ""}


def test_a_dotenv_file_is_found_from_a_path_upwards(dotenv):
    program = dotenv / "a" / "program.py"
    program.write_text("")
    for path in (program, str(program), dotenv / "a", dotenv / "a" / "b", "../program.py"):
        assert values_in_a_function(Secret.from_dotenv(path)) == {NAME: "top", OTHER: ""}
    assert values_in_a_function(Secret.from_dotenv(program, filename="other.env")) == {
        NAME: "other"
    }
    assert values_in_a_function(Secret.from_dotenv(program, filename="no.env")) == {}
    with pytest.raises(OSError, match="does not exist"):
        values_in_a_function(Secret.from_dotenv(dotenv / "nowhere"))


def test_dotenv_secrets_pickle_and_are_updated(dotenv):
    made = Secret.from_dotenv()
    made.update({OTHER: "new"})
    for each in (made, pickle.loads(pickle.dumps(made))):
        assert values_in_a_function(each) == {NAME: "top", OTHER: "new"}


def test_without_python_dotenv_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "dotenv", None)
    assert importlib.util.find_spec("moorage")
    with pytest.raises(ImportError, match=r'pip install "moorage\[resources\]"'):
        values_in_a_function(Secret.from_dotenv())


# -- the text of a file ----------------------------------------------------------------------

TEXTS = [
    ("A=1\nB=2", {"A": "1", "B": "2"}),
    ("export A=1", {"A": "1"}),
    ("export=1", {"export": "1"}),
    ("# A=1\n\n  B = x y  # c\n", {"B": "x y"}),
    ("A=x#y\r\nB='#'", {"A": "x#y", "B": "#"}),
    ("A=", {"A": ""}),
    ("A= # nothing", {"A": ""}),
    ("A=''\nB=\"\"", {"A": "", "B": ""}),
    (r'A="x\ny\"z\\$HOME" # c', {"A": 'x\ny"z\\$HOME'}),
    ("A='x\\ny\nz'", {"A": "x\\ny\nz"}),
    ('A="x\ny"\nB=1', {"A": "x\ny", "B": "1"}),
    ("\ufeffA=1", {"A": "1"}),
    ("A=1\nA=2", {"A": "2"}),
    ("A.B-c=é=", {"A.B-c": "é="}),
    ("", {}),
]


@pytest.mark.parametrize(("text", "values"), TEXTS)
def test_the_text_of_a_file(text, values):
    assert parse(text.encode(), "file") == values


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("hunter2", 1),
        ("A=1\n\n=hunter2", 3),
        ("A=1\r\nB='hunter2", 2),
        ('A="hunter2', 1),
        ("A='1' hunter2", 1),
        ("A B=hunter2", 1),
    ],
)
def test_a_broken_file_is_named_by_its_line_and_not_shown(text, line):
    with pytest.raises(InvalidError, match=f"^line {line} of /the/file is not") as caught:
        parse(text.encode(), "/the/file")
    assert "hunter2" not in str(caught.value)


def test_a_broken_file_fails_the_start(home):
    Secret.objects.create("broken", {})
    file = home / "main" / "secrets" / "broken.env"
    file.write_text("hunter2\n")
    with pytest.raises(InvalidError, match=r"line 1 of .*broken\.env"):
        values_in_a_function(Secret.from_name("broken"))


NAMES = st.from_regex(r"[A-Za-z_.\-][A-Za-z0-9_.\-]{0,8}", fullmatch=True)
VALUES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


@given(st.dictionaries(NAMES, VALUES))
def test_every_value_comes_back_from_a_file(values):
    assert parse(text_of(values).encode(), "file") == values


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text):
    try:
        parse(text.encode("utf-8", "surrogateescape"), "file")
    except (InvalidError, UnicodeEncodeError):
        pass


# -- mistakes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "use",
    [
        lambda: Secret.objects.create("k", {NAME: 1}),
        lambda: Secret.objects.create("k", "hunter2"),
        lambda: Secret.objects.create("k", {"A B": "hunter2"}),
        lambda: Secret.objects.create("k", {"A=B": "hunter2"}),
        lambda: Secret.objects.create("k", {NAME: "hunter2\0"}),
        lambda: Secret.objects.create("a b", {NAME: "hunter2"}),
        lambda: Secret.from_dict({}).update({NAME: None}),
        lambda: Secret.from_dict({}).update(["hunter2"]),
        lambda: Secret.from_name("k", required_keys="hunter2"),
        lambda: Secret.from_name("k", required_keys=[3]),
        lambda: Secret.from_name("a b"),
        lambda: Secret.objects.list(max_objects=-1),
    ],
)
def test_mistakes_say_what_to_write_and_show_no_value(use, home):
    with pytest.raises(InvalidError, match="; ") as caught:
        use()
    assert "hunter2" not in str(caught.value).replace("required_keys", "")
    assert not (home / "main" / "secrets").exists() or not list(
        (home / "main" / "secrets").iterdir()
    )


def test_variables_show_their_names_only():
    made = Variables({"A": "hunter2", "B": None})
    assert repr(made) == "Variables([A])"
    assert made == {"A": "hunter2"}
    assert hash(made) == hash(Variables({"A": "hunter2"}))
    assert repr(made | {"C": "hunter2"}) == "Variables([A, C])"
    with pytest.raises(KeyError):
        made["B"]


def test_a_note_that_was_lost_or_damaged_is_written_again(home):
    Secret.objects.create("k", {NAME: "1"})
    note = home / "main" / "records" / "secrets" / "k.json"
    for damage in ("{", "[]", json.dumps({"id": "st-1"})):
        note.write_text(damage)
        assert Secret.from_name("k").info().name == "k"
        assert json.loads(note.read_text())["id"].startswith("st-")
