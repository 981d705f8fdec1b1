"""Advice in errors: it keeps the number that the user gave, and knows other libraries' words."""

import copy

import pytest

import moorage
from moorage import App, advice
from moorage.exception import InvalidError

app = App("advice")


@app.function()
def f(x=1):
    return x


@app.cls()
class Model:
    @moorage.method()
    def m(self, x=1):
        return x


@app.cls()
class Runner:
    """With attributes of its own that other libraries' words are equal to."""

    def run(self):
        return "mine"

    @moorage.method()
    def submit(self):
        return "mine too"


def says(make, *texts):
    with pytest.raises((InvalidError, AttributeError)) as caught:
        make()
    message = str(caught.value)
    assert "; " in message
    wanted = message.rpartition("; ")[2]
    for text in texts:
        assert text in wanted, message


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: moorage.concurrent(8), "write @moorage.concurrent(max_inputs=8)"),
        (lambda: moorage.concurrent("8"), "concurrent(max_inputs=8)"),
        (lambda: moorage.concurrent(8, 4), "concurrent(max_inputs=8, target_inputs=4)"),
        (lambda: moorage.concurrent(8, target_inputs=4), "max_inputs=8, target_inputs=4)"),
        (lambda: moorage.concurrent(True), "concurrent(max_inputs=10)"),
        (lambda: moorage.batched(8, 20), "@moorage.batched(max_batch_size=8, wait_ms=20)"),
        (lambda: moorage.batched(9), "batched(max_batch_size=9, wait_ms=50)"),
        (lambda: moorage.batched(9, wait_ms=3), "batched(max_batch_size=9, wait_ms=3)"),
        (lambda: moorage.clustered(4), "@moorage.clustered(size=4)"),
        (lambda: moorage.parameter("en"), "parameter(default='en')"),
        (lambda: moorage.fastapi_endpoint("POST"), "fastapi_endpoint(method='POST')"),
        (lambda: moorage.Retries(3), "Retries(max_retries=3)"),
        (lambda: moorage.Retries(3, 1.5), "Retries(max_retries=3, backoff_coefficient=1.5)"),
        (lambda: app.function(8), "@app.function(max_containers=8), or @moorage.concurrent(max_i"),
        (lambda: app.cls(8), "@app.cls(max_containers=8), or @moorage.concurrent(max_inputs=8)"),
        (lambda: app.function("A"), "write @app.function()"),
        (lambda: f.with_concurrency(8), "with_concurrency(max_inputs=8)"),
        (lambda: Model.with_concurrency(8, 4), "with_concurrency(max_inputs=8, target_inputs=4)"),
        (lambda: f.with_batching(8, 20), "with_batching(max_batch_size=8, wait_ms=20)"),
        (lambda: f.with_options(8), "with_options(max_containers=8)"),
        (lambda: f.update_autoscaler(8), "update_autoscaler(max_containers=8)"),
    ],
)
def test_a_value_without_its_name(make, text):
    says(make, text)


@pytest.mark.parametrize("where", [app.function, app.cls])
@pytest.mark.parametrize(
    "word", ["workers", "max_workers", "num_workers", "n_jobs", "replicas", "processes"]
)
def test_words_for_workers(where, word):
    text = "max_containers=3, or @moorage.concurrent(max_inputs=3) below"
    says(lambda: where(**{word: 3}), text)
    says(
        lambda: f.with_options(**{word: 3}), "max_containers=3, or .with_concurrency(max_inputs=3)"
    )
    says(lambda: f.update_autoscaler(**{word: 3}), "write max_containers=3")
    says(lambda: moorage.concurrent(**{word: 3}), "write max_inputs=3")
    says(lambda: Model.with_concurrency(**{word: 3}), "write max_inputs=3")
    says(lambda: App(**{word: 3}), "write @app.function(max_containers=3)")
    says(lambda: app.run(**{word: 3}), "write @app.function(max_containers=3)")


@pytest.mark.parametrize("where", [app.function, app.cls])
@pytest.mark.parametrize(
    "word",
    ["threads", "concurrency", "max_concurrency", "parallelism", "max_concurrent_inputs", "limit"],
)
def test_words_for_inputs_at_once(where, word):
    says(lambda: where(**{word: 3}), "write @moorage.concurrent(max_inputs=3) below @app.")
    says(lambda: f.with_options(**{word: 3}), "write .with_concurrency(max_inputs=3)")
    says(lambda: moorage.concurrent(**{word: 3}), "write max_inputs=3")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: app.function(max_container=3), "write max_containers=3"),
        (lambda: app.function(max_retries=3), "write retries=3"),
        (lambda: app.function(time_out=2.5), "write timeout=2.5"),
        (lambda: app.function(time_out=object()), "write timeout=..."),
        (lambda: app.function(target_inputs=30), "concurrent(max_inputs=30, target_inputs=30)"),
        (lambda: app.function(batch_size=4), "@moorage.batched(max_batch_size=4, wait_ms=50)"),
        (lambda: app.cls(wait_ms=4), "@moorage.batched(max_batch_size=8, wait_ms=4)"),
        (lambda: moorage.batched(size=4, wait_ms=1), "write max_batch_size=4"),
        (lambda: moorage.batched(max_batch_size=4, max_wait=9), "write wait_ms=9"),
        (lambda: moorage.batched(max_inputs=4), "@moorage.concurrent(max_inputs=4) beside it"),
        (lambda: moorage.method(max_inputs=4), "concurrent(max_inputs=4) on its class"),
        (lambda: moorage.concurrent(max_containers=4), "@app.function(max_containers=4) above it"),
        (lambda: f.with_options(max_inputs=4), ".with_concurrency(max_inputs=4)"),
        (lambda: f.with_concurrency(min_containers=4), ".update_autoscaler(min_containers=4)"),
        (lambda: f.update_autoscaler(max_inputs=4), ".with_concurrency(max_inputs=4)"),
    ],
)
def test_a_keyword_keeps_its_value(make, text):
    says(make, text)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ("submit delay apply_async defer enqueue start", ".spawn(...), and .get() on"),
        ("call run apply execute result get", ".remote(...)"),
        ("aio remote_async call_async", "write await {}.remote.aio(...)"),
        ("imap", ".map([...])"),
        ("map_async", ".map.aio([...])"),
        ("imap_unordered", ".map([...], order_outputs=False)"),
        ("remotes", ".remote"),
    ],
)
def test_other_names_for_the_ways_to_call(names, text):
    for name in names.split():
        says(lambda name=name: getattr(f, name), text.format("f"))
        says(lambda name=name: getattr(Model().m, name), text.format("Model(...).m"))
        says(lambda name=name: getattr(Model.m, name), "Model(...).m")
        unknown = moorage.Function.from_name("a", "g")
        says(lambda name=name, unknown=unknown: getattr(unknown, name), text.format("g"))


def test_ways_to_call_on_a_class_or_an_instance():
    for name in ("remote", "spawn", "map", "submit", "delay", "run"):
        says(lambda name=name: getattr(Model, name), "Model(...).m.")
        says(lambda name=name: getattr(Model(), name), "Model(...).m.")
    assert Runner().run() == "mine"
    assert Runner().submit.local() == "mine too"


def test_names_of_futures_on_a_call():
    with app.run():
        call = f.spawn(1)
        for names, text in (
            ("done running ready status", "call.get(timeout=0)"),
            ("result wait join value", "call.get()"),
            ("exception successful", "call.get() in a try statement"),
            ("cancelled", "InputCancelledError"),
            ("kill abort revoke", "call.cancel()"),
            ("add_done_callback", "asyncio.create_task(call.get.aio())"),
            ("id call_id", "call.object_id"),
        ):
            for name in names.split():
                says(lambda name=name: getattr(call, name), text)
        assert call.get() == 1
    unknown = moorage.FunctionCall.from_id("fc-1")
    says(lambda: unknown.done, "call.get(timeout=0)")
    assert "done" not in dir(unknown)
    assert "get" in dir(unknown)
    assert not hasattr(unknown, "done")


def test_names_of_other_frameworks_on_an_app():
    for name, text in (
        ("run_async", "async with app.run():"),
        ("start", "write with app.run():"),
        ("task", "@app.function()"),
        ("entrypoint", "@app.local_entrypoint()"),
        ("method", "@moorage.method() above a method"),
        ("concurrent", "@moorage.concurrent(max_inputs=10)"),
        ("submit", "f.spawn(...)"),
        ("call", "f.remote(...)"),
        ("shutdown", "app.stop()"),
        ("functions", "app.registered_functions"),
        ("get", "@moorage.fastapi_endpoint() below @app.function()"),
        ("webhook", "@moorage.fastapi_endpoint() below @app.function()"),
        ("asgi", "@moorage.asgi_app() below @app.function()"),
        ("wsgi_app", "@moorage.wsgi_app() below @app.function()"),
        ("web_server", "@moorage.web_server(8000) below @app.function()"),
        ("fuction", "app.function"),
    ):
        says(lambda name=name: getattr(app, name), text)


def test_names_of_a_url():
    served = App("advice-of-urls")

    @served.function(serialized=True)
    @moorage.asgi_app()
    def page(): ...

    @served.cls(serialized=True)
    class Site:
        @moorage.method()
        def plain(self): ...

        @moorage.asgi_app()
        def page(self): ...

    for name in ("url", "get_url", "address"):
        says(lambda name=name: getattr(page, name), r"write page.get_web_url()")
    for name in ("url", "get_web_url", "web_url"):
        for of in (Site, Site()):
            says(lambda of=of, name=name: getattr(of, name), "write Site(...).page.get_web_url()")

    @served.cls(serialized=True)
    class Own:
        url = "mine"

    assert (Own.url, Own().url) == ("mine", "mine")


def test_marked_functions_know_the_words_too():
    partial = moorage.method()(lambda self: 1)
    partial.__name__ = "m"
    with pytest.raises(AttributeError, match=r"make an instance first: MyClass\(\).m.spawn"):
        partial.submit


@pytest.mark.parametrize("of", [f, Model, app, f.spawn])
def test_private_and_unknown_names_are_plain_attribute_errors(of):
    for name in ("_repr_html_", "__array__", "_submitt", "quite_another"):
        assert not hasattr(of, name)
        with pytest.raises(AttributeError) as caught:
            getattr(of, name)
        assert ";" not in str(caught.value)


def test_no_advice_names_a_word_that_is_there():
    for word in advice._START | advice._RUN | advice._AWAIT | advice._MANY.keys():
        assert not hasattr(moorage.Function, word), word
    for words, _ in advice._OF_CALL:
        for word in words:
            assert not hasattr(moorage.FunctionCall, word), word
    for words, _ in advice._OF_APP:
        for word in words:
            assert not hasattr(App, word), word


def test_a_copy_is_made_before_its_attributes_are_there():
    assert copy.copy(f).remote is not None
    assert copy.copy(app).name == "advice"
