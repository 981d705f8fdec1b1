"""A test needs no containers: .local() calls the plain code."""

import moorage

app = moorage.App("tutorial")


@app.cls()
class Greeter:
    greeting: str = moorage.parameter(default="Ahoy")

    @moorage.enter()
    def prepare(self) -> None:
        self.mark = "!"

    @moorage.method()
    def greet(self, name: str) -> str:
        return f"{self.greeting}, {name}{self.mark}"


def test_greet() -> None:
    assert Greeter().greet.local("Ada") == "Ahoy, Ada!"
    assert Greeter(greeting="Hello").greet.local("Bob") == "Hello, Bob!"


test_greet()
print("passed")
