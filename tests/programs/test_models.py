"""Programs that keep a model in a container: a class, a class for each parameter, batches."""

import asyncio
import hashlib
import math
import re
from collections import defaultdict

import httpx

from programs.running import Shell, needs_mounts


def test_a_model_is_called_from_python_and_over_http(shell: Shell):
    needs_mounts()
    verdicts = [
        "good  +1.5 I love it, nice",
        "bad   -1.5 awful and slow",
        "mixed +0.0 it is a chair",
        "200 {'label': 'mixed', 'score': 2.0}",
    ]
    first = shell.run("run", "-q", "sentiment.py")
    assert first.stdout.splitlines() == ["downloaded the weights", *verdicts]
    assert first.stderr == ""
    assert shell.run("run", "-q", "sentiment.py").stdout.splitlines() == verdicts

    with shell.serving("serve", "sentiment.py", "--port", "0") as served:
        classify = served.url("Sentiment.classify")
        review = {"text": "awful", "stars": 1}
        assert httpx.post(classify, json=review, timeout=60).json() == {
            "label": "bad",
            "score": -2.0,
        }
        assert httpx.post(classify, json={"text": "x", "stars": 6}).status_code == 422
        assert httpx.get(classify).status_code == 405
        assert httpx.get(f"{classify}/docs").status_code == 200
        health = served.url("Sentiment.health")
        assert httpx.get(health).json() == {"device": "cuda", "words": 4}
        assert httpx.get(f"{health}/docs").status_code == 404


def test_each_language_has_a_model_of_its_own(shell: Shell):
    lines = shell.run("run", "-q", "translators.py").stdout.splitlines()
    told = [line for line in lines if "loading" not in line]
    assert told == ["de guten Morgen", "fr bon matin", "eo bona mateno", "de guten Morgen !"]
    assert sorted(line for line in lines if line.startswith("loading")) == [
        "loading de polite=False tier=free",
        "loading de polite=True tier=free",
        "loading eo polite=False tier=free",
        "loading fr polite=False tier=free",
    ]
    assert sorted(line for line in lines if line.startswith("unloading")) == [
        "unloading de after 1",
        "unloading de after 1",
        "unloading eo after 1",
        "unloading fr after 1",
    ]


async def translate(url: str) -> dict[str, list[dict]]:
    answers: defaultdict[str, list[dict]] = defaultdict(list)
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:

        async def ask(language: str, polite: str) -> None:
            query = {"text": "good morning", "polite": polite}
            response = await http.get(f"/{language}", params=query)
            answers[language + polite].append(response.json())

        kinds = [("de", "no"), ("fr", "no"), ("eo", "no"), ("de", "yes")]
        await asyncio.gather(*(ask(*kind) for kind in kinds * 20))
        assert (await http.get("/xx")).json() == {"error": "no language 'xx'"}
        assert (await http.get("/de")).status_code == 500
    return answers


def test_a_gateway_before_a_model_for_each_language(shell: Shell):
    with shell.serving("serve", "translators.py", "--port", "0") as served:
        answers = asyncio.run(translate(served.url("gateway")))
        served.wait_for("KeyError: 'text'")
    assert {kind: {answer["text"] for answer in of} for kind, of in answers.items()} == {
        "deno": {"guten Morgen"},
        "frno": {"bon matin"},
        "eono": {"bona mateno"},
        "deyes": {"guten Morgen !"},
    }
    containers = [{answer["container"] for answer in of} for of in answers.values()]
    assert len(set.union(*containers)) == len(containers) == 4
    for of in answers.values():
        assert sorted(answer["number"] for answer in of) == list(range(1, 21))
    assert sum(line.startswith("loading") for line in served.stdout) == 4
    assert sum(line.startswith("unloading") for line in served.stdout) == 4


def vector(text: str) -> list[float]:
    values = [byte - 127.5 for byte in hashlib.sha256(text.encode()).digest()[:8]]
    length = math.sqrt(sum(value * value for value in values))
    return [value / length for value in values]


async def embed(url: str) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:

        async def client(number: int) -> None:
            texts = [f"{number}-{place}" for place in range(5)]
            response = await http.post("/embed", json={"texts": texts})
            assert response.json() == [vector(text) for text in texts]

        await asyncio.gather(*(client(number) for number in range(60)))
        assert (await http.get("/similar", params={"a": "cat", "b": "cat"})).json() == 1.0
        assert (await http.post("/embed", json={"texts": []})).json() == []
        assert (await http.post("/embed", json={"texts": [""] * 257})).status_code == 422
        assert (await http.post("/embed", json={"texts": ["\0"]})).status_code == 500


def test_requests_of_many_clients_become_batches(shell: Shell):
    done = shell.run("run", "-q", "embeddings_api.py")
    vectors, batches = done.stdout.splitlines()
    assert vectors == "150 vectors of {8}"
    count, texts, largest = map(int, re.findall(r"\d+", batches))
    assert texts == 150
    assert 3 <= count < 50
    assert 150 / count <= largest <= 64

    with shell.serving("serve", "embeddings_api.py", "--port", "0") as served:
        asyncio.run(embed(served.url("api")))
        served.wait_for("a text must not be NUL")
    sizes = shell.run("queue", "peek", "embeddings-api-batches", "1000").stdout.split()
    assert sum(map(int, sizes)) == 300 + 2 + 1
    assert max(map(int, sizes)) <= 64
    assert len(sizes) < 60, "fewer batches than requests"
