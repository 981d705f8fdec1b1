import modal

from ..common import app


@app.cls()
class Critic:
    taste: str = modal.parameter(default="jazz")

    @modal.enter()
    def listen(self):
        self.heard = {"jazz": 5, "polka": 2}

    @modal.method()
    def review(self, record: str) -> str:
        return f"{record}: {self.heard.get(self.taste, 0)} stars for {self.taste}"
