"""Where a function gets its keys from.

    modal secret create service-keys SERVICE_TOKEN=... DATABASE_PASSWORD=...
    modal run keys.py
"""

import os
import sys
from typing import Dict, Optional

import modal

app = modal.App(
    "example-secrets",
    image=modal.Image.debian_slim().env({"REGION": "eu-west"}),
    secrets=[modal.Secret.from_dict({"STAGE": "dev", "REGION": "overridden"})],
)
dotenv = modal.Secret.from_dotenv(__file__)
service = modal.Secret.from_name("service-keys", required_keys=["DATABASE_PASSWORD"])
NAMES = ["STAGE", "REGION", "SERVICE_URL", "SERVICE_TOKEN", "GREETING", "DATABASE_PASSWORD"]


def masked(value: Optional[str]) -> str:
    return "-" if value is None else value[:2] + "*" * (len(value) - 2)


@app.function(secrets=[dotenv])
def with_dotenv() -> Dict[str, Optional[str]]:
    return {name: os.environ.get(name) for name in NAMES}


@app.function(secrets=[dotenv, service], env={"STAGE": "prod"})
def with_both() -> Dict[str, Optional[str]]:
    return {name: os.environ.get(name) for name in NAMES}


@app.cls(secrets=[service])
class Database:
    @modal.enter()
    def connect(self):
        self.password = os.environ["DATABASE_PASSWORD"]

    @modal.method()
    def login(self, user: str) -> bool:
        return (user, self.password) == ("admin", "hunter2")


def show(title: str, values: Dict[str, Optional[str]]) -> None:
    print(title, *(f"{name}={masked(values[name])}" for name in NAMES))


@app.local_entrypoint()
def dotenv_only():
    show("dotenv:", with_dotenv.remote())


@app.local_entrypoint()
def both():
    show("both:", with_both.remote())
    print("login:", Database().login.remote("admin"))
    print("here:", masked(os.environ.get("LAPTOP_ONLY")), file=sys.stderr)
