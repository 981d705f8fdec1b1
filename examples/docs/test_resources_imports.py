"""A package that only one image has."""

import pytest

import moorage

app = moorage.App("imports")
plain = moorage.Image.debian_slim()
science = plain.pip_install("no-such-package")

with science.imports():
    import no_such_package


@app.function(image=science)
def compute() -> object:
    return no_such_package.compute()


@app.function(image=plain)
def greet() -> str:
    return "hello"


def test_only_functions_with_the_image_need_the_package(run_app):
    run_app(app)
    assert greet.remote() == "hello"
    with pytest.raises(ImportError, match="no_such_package"):
        compute.remote()
