"""A package that only one image has."""

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


if __name__ == "__main__":
    with app.run():
        print(greet.remote())
        try:
            compute.remote()
        except ImportError as error:
            print(error)
