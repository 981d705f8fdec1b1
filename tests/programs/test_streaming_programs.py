"""Programs that stream: stories by server-sent events, and a chat server with its client."""

import asyncio
import json
import signal

import httpx
import pytest

from programs.running import Shell, needs_mounts


def test_a_story_is_streamed_to_the_terminal(shell: Shell):
    done = shell.run("run", "-q", "story.py")
    # The function and its caller print to one terminal: their lines may meet in any order.
    said = done.stdout
    for ended in (
        "a story of 'the old man and the sea' has ended\n",
        "a story of 'endless' has ended\n",
    ):
        assert said.count(ended) == 1
        said = said.replace(ended, "")
    assert said == (
        "the old man and the sea \n1 The Boat\n2 The Fish\n['endless', 'endless', 'endless']\n"
    )
    assert done.stderr == ""


def test_a_story_is_streamed_to_clients(shell: Shell):
    with shell.serving("serve", "story.py", "--port", "0") as served:
        with httpx.Client(base_url=served.url("web"), timeout=60) as client:
            story = client.get("/story", params={"prompt": "the sea", "count": 3})
            assert story.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert story.headers["cache-control"] == "no-cache"
            assert story.text == (
                'id: 1\ndata: {"token": "the"}\n\n'
                'id: 2\ndata: {"token": "sea"}\n\n'
                'id: 3\ndata: {"token": "the"}\n\n'
                "event: done\ndata: [DONE]\n\n"
            )
            assert client.get("/plain", params={"prompt": "a b"}).text == "ababa"
            translated = client.post("/translate", content="the old man")
            assert translated.text == "der alte Mann "
            countdown = httpx.get(served.url("countdown"), params={"start": 2}, timeout=60)
            assert countdown.text == "data: 2\n\ndata: 1\n\n"

            # A client that leaves ends the story for which nobody listens any more.
            endless = {"prompt": "for ever", "count": 1_000_000}
            with client.stream("GET", "/story", params=endless) as response:
                lines = response.iter_lines()
                assert [next(lines) for _ in range(2)] == ["id: 1", 'data: {"token": "for"}']
            served.wait_for("a story of 'for ever' has ended")

        async def many() -> list[str]:
            async with httpx.AsyncClient(base_url=served.url("web"), timeout=60) as http:
                asked = (http.get("/story", params={"prompt": f"n{n}"}) for n in range(30))
                return [response.text for response in await asyncio.gather(*asked)]

        for number, text in enumerate(asyncio.run(many())):
            assert text.count(f'"n{number}"') == 5
            assert text.endswith("[DONE]\n\n")


def test_a_deployment_that_is_ended_finishes_the_stories_that_have_an_end(shell: Shell):
    with shell.serving("deploy", "story.py", "--port", "0", "--drain", "30") as served:
        asked = {"prompt": "the sea", "count": 40}
        url = served.url("web") + "/story"
        with httpx.stream("GET", url, params=asked, timeout=60) as response:
            lines = response.iter_lines()
            assert next(lines) == "id: 1"
            served.process.send_signal(signal.SIGTERM)
            served.wait_for("SIGTERM: finishing what was accepted")
            rest = list(lines)
        assert rest[-3:] == ["event: done", "data: [DONE]", ""]
        assert "id: 40" in rest
        served.ended(0)


def test_a_deployment_does_not_wait_for_a_story_without_an_end(shell: Shell):
    with shell.serving("deploy", "story.py", "--port", "0", "--drain", "3") as served:
        asked = {"prompt": "for ever", "count": 1_000_000}
        url = served.url("web") + "/story"
        with httpx.stream("GET", url, params=asked, timeout=60) as response:
            lines = response.iter_lines()
            assert next(lines) == "id: 1"
            served.process.send_signal(signal.SIGTERM)
            with pytest.raises(httpx.RemoteProtocolError):
                list(lines)
        served.ended(0, 143)  # 143 if the machine is too slow to end the story in the last second
    assert "a story of 'for ever' has ended" in served.stdout


def question(words: str, stream: bool) -> dict:
    return {"messages": [{"role": "user", "content": words}], "stream": stream}


def test_a_chat_server_and_its_client(shell: Shell):
    needs_mounts()
    shell.run("secret", "create", "chat-server-key", "API_KEY=cracker-1")
    client = ("run", "-q", "chat_server.py", "--api-key")
    assert shell.run(*client, "cracker-1").stdout == "POLLY WANTS A CRACKER \n"
    told = shell.run(*client, "cracker-1", "--no-stream", "--prompt", "hello")
    assert (told.stdout, told.stderr) == ("HELLO\n", "")
    wrong = shell.run(*client, "stolen", code=1)
    assert "HTTPStatusError: Client error '401 Unauthorized'" in wrong.stderr
    assert "cracker-1" not in wrong.stdout + wrong.stderr
    assert shell.run("run", "chat_server.py", code=2).stdout == ""

    with shell.serving("deploy", "chat_server.py", "--port", "0") as served:
        url = served.url("serve")
        key = {"Authorization": "Bearer cracker-1"}
        assert httpx.get(f"{url}/health", timeout=60).status_code == 200
        assert httpx.get(f"{url}/v1/models").status_code in (401, 403)
        assert httpx.get(f"{url}/v1/models", headers=key).json()["data"][0]["id"] == "parrot-7b"
        assert httpx.get(f"{url}/openapi.json").json()["info"]["title"].startswith("OpenAI")

        async def ask(http: httpx.AsyncClient, number: int) -> str:
            said = f"say number {number}"
            if number % 2:
                answer = await http.post("/v1/chat/completions", json=question(said, False))
                return answer.json()["choices"][0]["message"]["content"]
            parts = []
            body = question(said, True)
            async with http.stream("POST", "/v1/chat/completions", json=body) as response:
                async for line in response.aiter_lines():
                    if line.startswith("data: {"):
                        choice = json.loads(line.removeprefix("data: "))["choices"][0]
                        parts.append(choice["delta"]["content"])
            return "".join(parts).strip()

        async def many() -> list[str]:
            async with httpx.AsyncClient(base_url=url, headers=key, timeout=60) as http:
                return await asyncio.gather(*(ask(http, number) for number in range(40)))

        assert asyncio.run(many()) == [f"SAY NUMBER {number}" for number in range(40)]
        bad = httpx.post(f"{url}/v1/chat/completions", headers=key, json={"messages": "hello"})
        assert bad.status_code == 422
    loaded = shell.home / "main" / "volumes" / "parrot-cache" / "loaded.txt"
    assert set(loaded.read_text().splitlines()) == {"parrot-7b"}
