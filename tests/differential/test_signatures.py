"""Every public name of the real package, and the parameters of what is called.

Against ``recorded/_package.json``: names, modules, and for each callable its
parameters with their kinds.  Ours may have more, with defaults.
"""

import importlib
import inspect
import json

import pytest

import moorage
from moorage import FunctionCall

from . import harness

RECORDED = json.loads((harness.RECORDED / "_package.json").read_text())

# What is not here, and why.
ABSENT = {
    "App.get_dashboard_url": "a page of the cloud",
    "App.info": "a page of the cloud",
    "App.stats": "a page of the cloud",
    "Cls.get_dashboard_url": "a page of the cloud",
    "Function.get_dashboard_url": "a page of the cloud",
    "Function.info": "a page of the cloud",
    "Function.stats": "a page of the cloud",
    "FunctionCall.get_dashboard_url": "a page of the cloud",
    "Server.stats": "a page of the cloud",
    "Client.from_oauth_credentials": "there is nobody to log in to",
    "Client.get_input_plane_metadata": "there is no input plane",
    "Client.get_stub": "there is no connection",
    "Volume.batch_upload": "a method like the others; a property of the class there",
    # An argument of the inside of the cloud:
    "Image.from_aws_ecr(kwargs)": "passed on to another method there",
    "Image.from_gcp_artifact_registry(kwargs)": "passed on to another method there",
    "Image.from_registry(kwargs)": "passed on to another method there",
    "Sandbox.create(pty_info)": "an object of the protocol",
    "Sandbox.exec(pty_info)": "an object of the protocol",
}

# Modules of the inside of the client, or of its command line.
ABSENT_MODULES = {"parallel_map", "running_app", "serving", "token_flow"}

app = moorage.App("signatures")


# The ways to call have the parameters of the user's function.
@app.function()
def function(*args: object, **kwargs: object) -> None: ...


def ours(path):
    head, _, method = path.partition(".")
    if head == "experimental":
        return getattr(moorage.experimental, method)
    if not method:
        return getattr(moorage, head)
    # Some ways to call are made for each function, call or app.
    instances = {
        "Function": function,
        "FunctionCall": FunctionCall.__new__(FunctionCall),
        "App": app,
    }
    return getattr(instances.get(head, getattr(moorage, head)), method)


@pytest.mark.parametrize("path", RECORDED["signatures"])
def test_parameters_are_modals(path):
    if path in ABSENT:
        head, _, method = path.partition(".")
        found = getattr(getattr(moorage, head), method, None)
        assert not callable(found), "is there by now: take it from ABSENT"
        return
    ours_of = inspect.signature(ours(path)).parameters
    for name, kind, has_default in RECORDED["signatures"][path] or []:
        if f"{path}({name})" in ABSENT:
            assert name not in ours_of, "is there by now: take it from ABSENT"
            continue
        assert name in ours_of
        assert ours_of[name].kind.name == kind
        assert not has_default or ours_of[name].default is not inspect.Parameter.empty


@pytest.mark.parametrize("module", RECORDED["modules"])
def test_modules_have_modals_names(module):
    if module in ABSENT_MODULES:
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(f"moorage.{module}")
    else:
        assert importlib.import_module(f"moorage.{module}").__doc__


def test_every_error_is_there():
    from moorage import exception

    names = [name for name in RECORDED["errors"] if not name.startswith("_")]
    assert [name for name in names if not hasattr(exception, name)] == []


def test_everything_that_star_imports_is_there():
    assert set(RECORDED["all"]) <= set(moorage.__all__)


DECORATORS = ["batched", "concurrent", "method", "enter", "exit", "asgi_app", "wsgi_app"]
DECORATORS += ["web_server", "fastapi_endpoint", "parameter", "App.function", "App.cls"]
DECORATORS += ["App.local_entrypoint"]


@pytest.mark.parametrize("path", DECORATORS)
def test_decorators_have_modals_parameters_and_none_that_is_there_for_a_message(path):
    shown = [p for p in inspect.signature(ours(path)).parameters.values() if p.name != "self"]
    modals = {name: kind for name, kind, _ in RECORDED["signatures"][path]}
    names = [p.name for p in shown if p.name in modals]
    assert names == [name for name in modals if name in names]  # in the same order
    for p in shown:
        if p.name not in modals:  # ours: by name, and never needed
            assert p.kind is p.KEYWORD_ONLY
            assert p.default is not p.empty
