"""The keyword arguments of the cloud: what is refused, when, and with which errors."""

from pathlib import PurePosixPath

import pytest

import moorage as modal
from ids import stable
from moorage.declaring.cloud_arguments import check_cloud_arguments, check_scheduled
from moorage.exception import DeprecationError, InvalidError

SECRET = modal.Secret.from_name("s")
VOLUME = modal.Volume.from_name("v")
BUCKET = modal.CloudBucketMount("b")
with pytest.warns(DeprecationError, match=r"modal\.Volume"):
    NFS = modal.NetworkFileSystem.from_name("n")


@pytest.fixture
def strict(monkeypatch):
    monkeypatch.setattr(modal.config, "strict", True)


@pytest.fixture(autouse=True)
def not_strict(monkeypatch):
    monkeypatch.setattr(modal.config, "strict", False)


def refusal(where, **given):
    """The class of the error, or None."""
    try:
        check_cloud_arguments(where, given)
    except InvalidError as error:
        return type(error) if "; write " in str(error).splitlines()[-1] else str
    return None


ACCEPTED = [
    {"image": None},
    {"image": modal.Image.debian_slim()},
    {"schedule": modal.Cron("* * * * *")},
    {"schedule": modal.Period(days=1)},
    {"env": {"A": "1", "B": None}},
    {"secrets": None},
    {"secrets": [SECRET, SECRET]},
    {"secrets": (SECRET,)},
    {"gpu": "T4"},
    {"gpu": "T4:2"},
    {"gpu": ["T4", "A100:8"]},
    {"gpu": []},
    {"gpu": ""},
    {"network_file_systems": {"/a": NFS, "/b": NFS}},
    {"volumes": {}},
    {"volumes": {"/a": VOLUME, PurePosixPath("/b"): VOLUME.read_only(), "/c": BUCKET}},
    {"volumes": {"/root/a": VOLUME}},
    {"volumes": {"/a//b/": VOLUME}},
    {"cpu": 0.5},
    {"cpu": (1, 2)},
    {"memory": 512},
    {"memory": (512, 1024)},
    {"ephemeral_disk": 524288},
    {"proxy": modal.Proxy.from_name("p")},
    {"cloud": "aws"},
    {"region": "us-east"},
    {"region": ["us", "eu"]},
    {"routing_region": "us-east"},
    {"nonpreemptible": True, "block_network": True, "restrict_modal_access": False},
    {"i6pn": None, "include_source": False},
    {"experimental_options": {"a": object()}},
    {"timeout": "not ours to check"},
]


@pytest.mark.parametrize("given", ACCEPTED, ids=stable)
@pytest.mark.parametrize("where", ["app.function", "app.cls"])
def test_what_has_sense_is_accepted(where, given):
    assert refusal(where, **given) is None


# What Modal refuses where the program starts, and so strict mode too.
REFUSED = [
    ({"image": 3}, Exception),
    ({"image": modal.Image}, Exception),
    ({"schedule": 3}, AttributeError),
    ({"schedule": modal.Period}, AttributeError),
    ({"env": 3}, Exception),
    ({"env": {"A": 1}}, Exception),
    ({"env": {1: "a"}}, Exception),
    ({"secrets": 3}, TypeError),
    ({"secrets": SECRET}, TypeError),
    ({"gpu": 3}, Exception),
    ({"gpu": "T4:x"}, Exception),
    ({"gpu": "A100:80GB"}, Exception),
    ({"gpu": "T4:-1"}, ValueError),
    ({"gpu": ["T4", 3]}, Exception),
    ({"gpu": ("T4",)}, Exception),
    ({"network_file_systems": None}, Exception),
    ({"network_file_systems": {"x": NFS}}, Exception),
    ({"network_file_systems": {"/x": VOLUME}}, Exception),
    ({"volumes": 3}, TypeError),
    ({"volumes": None}, TypeError),
    ({"volumes": {"x": VOLUME}}, Exception),
    ({"volumes": {"/x": 1}}, Exception),
    ({"volumes": {"/": VOLUME}}, Exception),
    ({"volumes": {"/root": VOLUME}}, Exception),
    ({"volumes": {"/tmp": VOLUME}}, Exception),
    ({"volumes": {"/a/../b": VOLUME}}, Exception),
    ({"volumes": {3: VOLUME}}, TypeError),
    ({"volumes": {"/x": VOLUME, "/y": VOLUME}}, Exception),
    ({"volumes": {"/x": modal.CloudBucketMount("b", key_prefix="a")}}, ValueError),
    ({"volumes": {"/x": modal.CloudBucketMount("b", requester_pays=True)}}, ValueError),
    ({"region": 3}, TypeError),
    ({"region": [3]}, TypeError),
    ({"nonpreemptible": "x"}, TypeError),
    ({"experimental_options": 3}, AttributeError),
]


@pytest.mark.parametrize(("given", "kind"), REFUSED, ids=stable)
def test_what_modal_refuses_is_refused_in_strict_mode_too(given, kind, strict):
    assert issubclass(refusal("app.function", **given), kind)


# What Modal finds only when the program runs, if ever.
LATER = [
    {"env": []},
    {"secrets": [1]},
    {"secrets": {"A": "1"}},
    {"secrets": "x"},
    {"gpu": False},
    {"gpu": "T4:0"},
    {"cpu": "1"},
    {"cpu": -1},
    {"cpu": (2, 1)},
    {"cpu": (1, None)},
    {"cpu": (1,)},
    {"cpu": True},
    {"cpu": float("nan")},
    {"cpu": float("inf")},
    {"memory": "1"},
    {"memory": -1},
    {"memory": (2, 1)},
    {"memory": (1, 2, 3)},
    {"ephemeral_disk": "1"},
    {"ephemeral_disk": 1.5},
    {"proxy": "p"},
    {"cloud": ["aws"]},
    {"routing_region": 3},
    {"nonpreemptible": 3},
    {"block_network": "x"},
    {"restrict_modal_access": 3},
    {"i6pn": "x"},
    {"include_source": 3},
    {"experimental_options": []},
]


@pytest.mark.parametrize("given", LATER, ids=stable)
def test_what_modal_finds_later_is_refused_at_once(given):
    assert refusal("app.function", **given) is InvalidError


@pytest.mark.parametrize("given", LATER, ids=stable)
def test_strict_mode_is_silent_where_modal_is(given, strict):
    assert refusal("app.function", **given) is None


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"cpu": -1}, ValueError),
        ({"cpu": (2, 1)}, InvalidError),
        ({"cpu": (1,)}, IndexError),
        ({"cpu": float("inf")}, OverflowError),
        ({"memory": (2, 1)}, InvalidError),
        ({"memory": (1,)}, ValueError),
        ({"memory": True}, TypeError),
        ({"gpu": ["T4"]}, InvalidError),
        ({"volumes": 3}, InvalidError),
        ({"secrets": iter([SECRET])}, TypeError),
        ({"cpu": "1"}, type(None)),
        ({"cpu": (1, 2, 3)}, type(None)),
        ({"region": 0}, type(None)),
    ],
    ids=stable,
)
def test_with_options_looks_at_amounts_at_once(given, kind, strict):
    assert issubclass(refusal("with_options", **given) or type(None), kind)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"image": 3}, InvalidError),
        ({"secrets": None}, InvalidError),
        ({"secrets": [1]}, InvalidError),
        ({"secrets": {}}, InvalidError),
        ({"volumes": None}, InvalidError),
        ({"volumes": {"x": VOLUME}}, InvalidError),
        ({"tags": 3}, AttributeError),
        ({"tags": {"a": 1}}, TypeError),
        ({"tags": {"a b": "c"}}, InvalidError),
        ({"tags": {"a": "b" * 64}}, InvalidError),
        ({"tags": {"a": "b"}}, type(None)),
        ({"tags": None}, type(None)),
        ({"secrets": (SECRET,)}, type(None)),
        # Looked into where a function takes it.
        ({"volumes": {"/x": modal.CloudBucketMount("b", requester_pays=True)}}, type(None)),
    ],
    ids=stable,
)
def test_an_app_looks_at_the_members(given, kind, strict):
    assert issubclass(refusal("App", **given) or type(None), kind)


def test_an_iterator_of_secrets_is_not_used_up(strict):
    secrets = iter([SECRET])
    assert refusal("app.function", secrets=secrets) is None
    assert next(secrets) is SECRET


@pytest.mark.parametrize(
    "given", [{"env": "KEY=hush"}, {"secrets": {"KEY": "hush"}}, {"secrets": ["hush"]}], ids=stable
)
def test_a_secret_in_the_wrong_place_is_not_shown(given):
    with pytest.raises(InvalidError) as caught:
        check_cloud_arguments("app.function", given)
    assert "hush" not in str(caught.value)


def test_a_scheduled_function_needs_no_arguments():
    period = modal.Period(days=1)
    check_scheduled(period, lambda x=1, *args, **kwargs: None)
    check_scheduled(None, lambda x: None)
    for demanding in (lambda x: None, lambda *, k: None):
        with pytest.raises(InvalidError, match=r"demands '[xk]'; write [xk]="):
            check_scheduled(period, demanding)
