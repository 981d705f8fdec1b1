"""Variables of an image, a secret and a class, set while a run lasts."""

import os

import moorage

image = moorage.Image.debian_slim().env({"REGION": "eu", "MODEL": "small"})
app = moorage.App("translator", image=image)
key = moorage.Secret.from_name("my-translator", required_keys=["TRANSLATOR_KEY"])


@app.cls(secrets=[key], env={"MODEL": "large"})
class Translator:
    @moorage.enter()
    def connect(self) -> None:
        self.client = os.environ["REGION"], os.environ["TRANSLATOR_KEY"]

    @moorage.method()
    def model(self) -> str:
        return os.environ["MODEL"]


def test_a_translator_has_its_variables_while_the_run_lasts(run_app):
    moorage.Secret.objects.create("my-translator", {"TRANSLATOR_KEY": "abc"}, allow_existing=True)
    run_app(app)
    assert Translator().model.remote() == "large"
    assert os.environ["TRANSLATOR_KEY"] == "abc"


def test_no_variable_is_left():
    assert "TRANSLATOR_KEY" not in os.environ
