"""``moorage requirements``: what the images of a program install."""


def test_what_images_install(shell):
    shell.write(
        "prog.py",
        """
        import modal

        base = modal.Image.debian_slim().apt_install("ffmpeg").pip_install("numpy", ["scipy>=1"])
        torch = (
            base.uv_pip_install("torch", index_url="https://example.com/simple", pre=True)
            .env({"A": "1"})
            .run_commands("echo one\\necho two")
            .pip_install_from_requirements("requirements-gpu.txt")
            .add_local_python_source("helper")
        )
        app = modal.App("prog", image=base)

        @app.function()
        def f():
            pass

        @app.function(image=torch)
        def g():
            pass

        @app.cls(image=modal.Image.from_registry("ubuntu").micromamba_install("cuda"))
        class C:
            @modal.method()
            def run(self):
                pass
        """,
    )
    code, out, err = shell("requirements", "prog.py")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "# of f",
        "# apt: ffmpeg",
        "numpy",
        "scipy>=1",
        "# of g",
        "--index-url https://example.com/simple",
        "--pre",
        "torch",
        "# run: echo one echo two",
        "-r requirements-gpu.txt",
        "# of C",
        "# micromamba: cuda",
    ]


def test_an_image_that_only_the_app_has(shell):
    shell.write(
        "prog.py",
        """
        import modal
        app = modal.App("jobs", image=modal.Image.debian_slim().uv_sync().pip_install("x"))

        @app.local_entrypoint()
        def main():
            raise AssertionError
        """,
    )
    assert shell("requirements", "prog.py").out == "# of jobs\n# uv sync: ./\nx\n"


def test_nothing_to_install_and_no_app(shell):
    shell.write("prog.py", "import modal\napp = modal.App()\n")
    assert tuple(shell("requirements", "prog.py")) == (0, "", "")
    shell.write("none.py", "")
    code, _, err = shell("requirements", "none.py")
    assert code == 1
    assert "has no App" in err
    assert shell("requirements").code == 2
    assert shell("requirements", "nope.py").code == 1
