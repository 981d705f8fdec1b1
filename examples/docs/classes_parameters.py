"""Parameters: each set of values has its own containers."""

import moorage

app = moorage.App("classes")


@app.cls()
class Translator:
    language: str = moorage.parameter()
    formal: bool = moorage.parameter(default=False)

    @moorage.enter()
    def load(self) -> None:
        print(f"loading {self.language}, formal={self.formal}")

    @moorage.method()
    def hello(self, name: str) -> str:
        words = {"fr": ("Salut", "Bonjour"), "de": ("Hallo", "Guten Tag")}
        return f"{words[self.language][self.formal]}, {name}"


with app.run():
    french = Translator(language="fr")
    print(french.hello.remote("Ada"))
    print(Translator(language="fr").hello.remote("Bob"))  # the same containers
    print(Translator(language="de", formal=True).hello.remote("Eve"))
    try:
        Translator(language=3)
    except TypeError as error:
        print(f"TypeError: {error}")
