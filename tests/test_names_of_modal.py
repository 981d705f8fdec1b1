"""Names of Modal 1.6.4 that programs use beside the ones of the guides."""

from __future__ import annotations

import asyncio
import os

import pytest

import moorage as modal
from moorage import App, config
from moorage.exception import DeprecationError, InvalidError, UnimplementedError


@pytest.fixture
def file(tmp_path, monkeypatch):
    """The path of a ``.modal.toml`` that the settings are read from."""
    path = tmp_path / ".modal.toml"
    monkeypatch.setattr("moorage.client_config.USER_CONFIG_PATH", str(path))
    for name in [name for name in os.environ if name.startswith("MODAL_")]:
        monkeypatch.delenv(name)
    return path


TOML = """
[one]
token_secret = "as-secret"
environment = "staging"

[two]
environment = "live"
loglevel = "debug"
force_build = "0"
active = true
"""


def test_the_settings_of_the_client_have_modals_defaults(file):
    assert config._profile == "default"
    assert config.config_profiles() == []
    assert config.config["environment"] is config.config.get("token_id") is None
    assert config.config["loglevel"] == "WARNING"
    assert config.config.get("logs_timeout") == 10
    assert "environment" in config.config
    assert "nonsense" not in config.config
    assert dict(config.config)["traceback"] is False
    with pytest.raises(KeyError):
        config.config["nonsense"]
    with pytest.raises(KeyError):
        config.config.get("nonsense")


def test_the_settings_come_from_the_active_profile_and_the_environment(file, monkeypatch):
    file.write_text(TOML)
    assert config._profile == "two"
    assert config.config_profiles() == ["one", "two"]
    assert config.config["environment"] == "live"
    assert config.config["loglevel"] == "DEBUG"
    assert config.config["force_build"] is False
    assert config.config.get("environment", profile="one") == "staging"
    monkeypatch.setenv("MODAL_PROFILE", "one")
    assert config._profile == "one"
    assert config.config["environment"] == "staging"
    monkeypatch.setenv("MODAL_ENVIRONMENT", "mine")
    assert config.config["environment"] == "mine"
    assert config.config.get("environment", use_env=False) == "staging"
    config.config.override_locally("environment", "yours")
    assert config.config["environment"] == "yours"


def test_a_profile_that_a_program_sets_counts(file, monkeypatch):
    file.write_text(TOML)
    monkeypatch.setattr(config, "_profile", "one")
    assert config.config["environment"] == "staging"
    monkeypatch.undo()


def test_no_secret_is_shown(file, monkeypatch):
    file.write_text(TOML)
    monkeypatch.setenv("MODAL_PROFILE", "one")
    monkeypatch.setenv("MODAL_TOKEN_ID", "ak-secret")
    monkeypatch.setenv("MODAL_OVERRIDE_HEADERS", "no pairs: as-secret, secret")
    assert "secret" not in repr(config.config).replace("token_secret", "").replace(
        "oauth_client_secret", ""
    )
    assert config.config.to_dict()["token_id"] == "ak-secret"
    with pytest.raises(InvalidError) as refused:
        config.config["override_headers"]
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("text", ["not toml", 'token_secret = "as-hidden"'])
def test_a_file_that_cannot_be_read_is_an_error_at_the_look_up(file, text):
    file.write_text(text)
    with pytest.raises(InvalidError, match=r"modal\.toml") as refused:
        config.config["environment"]
    assert "as-hidden" not in str(refused.value)


def test_a_wrong_value_names_its_variable(file, monkeypatch):
    monkeypatch.setenv("MODAL_LOGS_TIMEOUT", "soon")
    with pytest.raises(InvalidError, match="MODAL_LOGS_TIMEOUT is 'soon'"):
        config.config["logs_timeout"]


def test_the_librarys_own_settings_stay(monkeypatch):
    monkeypatch.setattr(modal.config, "findable_seconds", 1.0)
    assert modal.config.findable_seconds == 1.0
    assert modal.config.strict is False


app = App("names")


@app.local_entrypoint()
def main(count: int = 2) -> int:
    """Count."""
    return count + len(NAMES)


@app.local_entrypoint(name="other")
async def in_a_loop() -> str:
    return "awaited"


NAMES = ("a",)


def test_an_entrypoint_has_its_function():
    info = main.info
    assert info.raw_f(count=3) == info.raw_f() + 1 == 4
    assert (info.function_name, info.implementation_name) == ("main", "main")
    assert info.module_name == __name__.rpartition(".")[2]
    assert (info.user_cls, info.is_service_class(), info.is_serialized()) == (None, False, False)
    assert info.get_globals() == {"NAMES": NAMES}
    assert asyncio.run(in_a_loop.info.raw_f()) == "awaited"


def test_experimental_spawn():
    app = App()

    @app.function()
    def double(x):
        return 2 * x

    @app.cls()
    class Model:
        @modal.method()
        def double(self, x):
            return 2 * x

    @app.function()
    @modal.fastapi_endpoint()
    def web(): ...

    async def spawned(function):
        call = await function._experimental_spawn.aio(5)
        return await call.get.aio()

    with app.run():
        for function in (double, Model().double):
            call = function._experimental_spawn(4)
            assert isinstance(call, modal.FunctionCall)
            assert call.get() == 8
            assert modal.FunctionCall.from_id(call.object_id).get() == 8
            assert asyncio.run(spawned(function)) == 10
        with pytest.raises(InvalidError, match="web endpoint"):
            web._experimental_spawn()
    deployed = App("spawns-by-name")
    deployed.function(name="double")(lambda x: 2 * x)
    deployed.deploy()
    try:
        found = modal.Function.from_name("spawns-by-name", "double")
        assert found._experimental_spawn(1).get() == 2
    finally:
        deployed.stop()


@pytest.mark.parametrize("strict", [False, True])
def test_restrict_output_is_accepted(monkeypatch, strict):
    monkeypatch.setattr(config, "strict", strict)
    app = App()
    for decorator in (app.function, app.cls):
        assert decorator(_experimental_restrict_output=True)


def test_the_base_of_uploads():
    base = modal.volume.AbstractVolumeUploadContextManager
    for kind in (modal.volume.VolumeUploadContextManager, modal.volume.VolumeUploadContextManager2):
        assert issubclass(kind, base)
        with pytest.raises(UnimplementedError, match="put_file"):
            kind().put_file("a", "b")


def test_run_app_and_deploy_app():
    from moorage.runner import DeployResult, deploy_app, run_app

    app = App("runner")

    @app.function()
    def f():
        return 1

    with run_app(app, name="shown", deployment_strategy="rolling", stream_output=False) as running:
        assert running is app
        assert app.description == "shown"
        assert f.remote() == 1
    result = deploy_app(app, "deployed", tag="t", staged=True, deployment_strategy="recreate")
    try:
        assert isinstance(result, DeployResult)
        assert result.app_id == app.app_id
        assert (result.app_page_url, result.app_logs_url, result.warnings) == (None, None, [])
        assert modal.Function.from_name("deployed", "f").remote() == 1
        assert asyncio.run(deploy_app.aio(app, name="deployed")).app_id == app.app_id
    finally:
        app.stop()
    with pytest.raises(InvalidError, match="deployment strategy"):
        deploy_app(app, deployment_strategy="nonsense")


def test_clustered_takes_modals_arguments():
    for args, kwargs in (
        ((2,), {}),
        ((2, False), {"rdma": True}),
        ((), {"size": 2, "broadcast": True, "rdma": True, "fabric_size": 8}),
    ):
        with pytest.warns(DeprecationError, match=r"moorage\.clustered"):
            decorate = modal.experimental.clustered(*args, **kwargs)
        assert App().function()(decorate(lambda: None))
    with pytest.raises(TypeError, match="without its parentheses"):
        modal.experimental.clustered(lambda: None)


def started(**methods):
    return type("Site", (), {"start": modal.enter()(lambda self: None), **methods})


def test_a_server_is_registered_and_has_a_url():
    app = App()
    server = app.server(port=8000, name="site", target_concurrency=1.5, max_concurrency=10)(
        started()
    )
    assert isinstance(server, modal.Server)
    assert repr(server) == "Server(site)"
    with app.run():
        assert server.get_url().startswith("http://127.0.0.1:")
        with pytest.raises(UnimplementedError, match=r"Server\.info.*get_url"):
            server.info()
        with pytest.raises(InvalidError, match=r"site is a server.*write @app\.cls"):
            server()
        with pytest.raises(AttributeError, match=r"no sessions here.*get_url"):
            server.sessions


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"port": 0}, "port must be"),
        ({"startup_timeout": 0}, "startup_timeout must be"),
        ({"exit_grace_period": 3601}, "exit_grace_period must be"),
        ({"routing_region": ""}, "routing_region must name"),
        ({"target_concurrency": -1}, "target_concurrency must be"),
        ({"max_concurrency": 1.5}, "max_concurrency must be"),
        ({"max_concurrency": 1, "target_concurrency": 2}, "must not exceed"),
        ({"max_concurrency": 1, "experimental_options": {"max_concurrency": 1}}, "twice"),
        ({"scaleup_window": 0}, "scaleup_window must be"),
        ({"gpu": 3}, "gpu must be"),
        ({"nonsense": 3}, "unexpected keyword argument 'nonsense'"),
    ],
)
def test_arguments_of_a_server_are_checked(arguments, text):
    with pytest.raises(InvalidError, match=text):
        App().server(**arguments)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: len, "decorates classes"),
        (lambda: type("Site", (), {}), "no enter hook"),
        (lambda: started(__init__=lambda self: None), r"constructor.*modal\.enter"),
        (lambda: started(f=modal.method()(lambda self: 1)), r"modal\.method\(\), got f"),
        (
            lambda: started(f=modal.batched(max_batch_size=2, wait_ms=1)(lambda self, x: x)),
            r"modal\.method\(\), got f",
        ),
        (
            lambda: started(f=modal.fastapi_endpoint()(lambda self: 1)),
            r"modal\.fastapi_endpoint\(\), got f",
        ),
        (lambda: modal.concurrent(max_inputs=2)(started()), r"modal\.concurrent"),
        (
            lambda: modal.experimental.http_server(80, proxy_regions=["us"])(started()),
            r"modal\.http_server",
        ),
    ],
)
def test_classes_of_servers_are_checked(make, text):
    with pytest.raises(InvalidError, match=text):
        App().server(port=8000)(make())


def test_http_server():
    app = App()
    http_server = modal.experimental.http_server

    @app.cls()
    @modal.concurrent(max_inputs=4)
    @http_server(8000, proxy_regions=["us-east"], exit_grace_period=25, h2_enabled=True)
    class Site:
        @modal.enter()
        def start(self):
            self.ready = True

        @modal.method()
        def is_ready(self):
            return self.ready

    with app.run():
        assert Site().is_ready.remote() is True
    for arguments, text in (
        ((), "parentheses|http_server"),
        ((0,), "port must be"),
        ((8000,), "proxy_regions must name"),
    ):
        with pytest.raises(InvalidError, match=text):
            http_server(*arguments)
    with pytest.raises(InvalidError, match="decorates a class"):
        http_server(8000, proxy_regions=["us"])(lambda: None)


def test_inner_names_are_the_public_classes():
    for module, name in (
        (modal.app, "App"),
        (modal.functions, "Function"),
        (modal.functions, "FunctionCall"),
        (modal.cls, "Cls"),
        (modal.cls, "Obj"),
        (modal.partial_function, "PartialFunction"),
        (modal.image, "Image"),
        (modal.volume, "Volume"),
        (modal.client, "Client"),
        (modal.object, "Object"),
    ):
        assert getattr(module, f"_{name}") is getattr(module, name)
