import modal

image = modal.Image.debian_slim().pip_install("jinja2").add_local_python_source("newsroom")

app = modal.App("newsroom", image=image)

archive = modal.Dict.from_name("newsroom-archive", create_if_missing=True)
