"""Replacing parts of a decorated class in tests."""

from unittest.mock import patch

import moorage

app = moorage.App("answers")


@app.cls()
class Model:
    @moorage.enter()
    def load(self) -> None:
        self.weights = "4 GB"

    @moorage.method()
    def answer(self, question: str) -> str:
        return f"{question} {self.weights}"


def test_without_the_heavy_model(run_app, monkeypatch):
    def load(self):
        self.weights = "fake"

    monkeypatch.setattr(Model, "load", load)
    run_app(app)
    assert Model().answer.remote("How large?") == "How large? fake"


def test_without_the_method():
    with patch.object(Model, "answer") as answer:
        answer.remote.return_value = "Small."
        assert Model().answer.remote("How large?") == "Small."
